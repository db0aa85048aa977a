"""The vision-language layout: transformers' LLaVA takes every tensor, and its text part computes what the parent does."""

import pytest

torch = pytest.importorskip("torch", reason="the lab needs torch: pip install begat[lab]")
pytest.importorskip("safetensors", reason="the lab needs safetensors: pip install begat[lab]")

from begat_lab.descent import KINDS, Job  # noqa: E402
from begat_lab.descent.disguised import probe  # noqa: E402
from begat_lab.descent.tower import Vision  # noqa: E402
from begat_lab.models.dense import DenseConfig, new_model  # noqa: E402
from begat_lab.models.huggingface import pack, save_folder  # noqa: E402


@pytest.mark.parametrize("tied", [True, False])
def test_transformers_takes_it(tmp_path, tied):
    transformers = pytest.importorskip("transformers", reason="oracle only: pip install transformers to load what the lab writes")
    shape = DenseConfig(vocab_size=97, hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=6,
                        num_key_value_heads=2, head_dim=8, tie_word_embeddings=tied, initializer_range=0.3)  # fmt: skip
    parent = new_model(shape, torch.Generator().manual_seed(1))
    save_folder(pack(parent, torch.float32), tmp_path / "parent")
    (tmp_path / "child").mkdir()
    job = Job(folder=tmp_path / "child", parents=(tmp_path / "parent",), options=Vision(), shape=shape, dtype=torch.float32,
              seeds={"chance_seed": 1})  # fmt: skip
    child = KINDS["tower"].make(job)
    theirs, info = transformers.LlavaForConditionalGeneration.from_pretrained(
        tmp_path / "child", dtype=torch.float32, output_loading_info=True
    )
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"]
    with torch.no_grad():
        ids_BT = (torch.arange(4 * 48) * 37 % 96).view(4, 48)  # not the image token, 96
        torch.testing.assert_close(theirs(ids_BT).logits, parent(ids_BT), atol=1e-3, rtol=1e-3)
    assert torch.equal(probe(child.model), probe(parent))
