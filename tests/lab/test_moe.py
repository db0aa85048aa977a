"""The mixture: transformers' Mixtral as an oracle, and upcycling that starts from the parent's function."""

import pytest

torch = pytest.importorskip("torch", reason="the lab needs torch: pip install begat[lab]")
pytest.importorskip("safetensors", reason="the lab needs safetensors: pip install begat[lab]")

from begat_lab.descent.disguised import probe  # noqa: E402
from begat_lab.descent.upcycled import Experts, mixture_of  # noqa: E402
from begat_lab.models.dense import DenseConfig, new_model  # noqa: E402
from begat_lab.models.moe import save_mixture  # noqa: E402


def parent(tied):
    shape = DenseConfig(vocab_size=97, hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=6,
                        num_key_value_heads=2, head_dim=8, tie_word_embeddings=tied, initializer_range=0.3)  # fmt: skip
    return new_model(shape, torch.Generator().manual_seed(1))


def chance():
    return torch.Generator().manual_seed(2)


def test_without_noise_the_function_is_the_parents():
    model = parent(True)
    child = mixture_of(model, Experts(experts=4, active=2, noise=0.0), chance())
    torch.testing.assert_close(probe(child), probe(model), atol=1e-4, rtol=1e-4)
    noisy = mixture_of(model, Experts(experts=4, active=2, noise=0.5), chance())
    assert (probe(noisy) - probe(model)).abs().max() > 0.1


@pytest.mark.parametrize("tied", [True, False])
def test_transformers_computes_the_same(tmp_path, tied):
    transformers = pytest.importorskip("transformers", reason="oracle only: pip install transformers to compare logits with it")
    child = mixture_of(parent(tied), Experts(experts=4, active=2, noise=1.0), chance())
    with torch.no_grad():
        for name, weight in child.named_parameters():
            if "norm" in name:
                weight.normal_(1.0, 0.3, generator=chance())
    stored = save_mixture(child, tmp_path, torch.float32)
    theirs = transformers.MixtralForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    with torch.no_grad():
        got = theirs((torch.arange(4 * 48) * 37 % 97).view(4, 48)).logits  # the tokens of `probe`
    torch.testing.assert_close(got, probe(stored), atol=1e-3, rtol=1e-3)
