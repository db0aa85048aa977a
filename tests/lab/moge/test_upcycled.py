"""A mixture of grouped experts made from a dense model: the parent's function at first, and begat tells it from one made from scratch."""

import pytest

torch = pytest.importorskip("torch", reason="the lab needs torch: pip install begat[lab]")
pytest.importorskip("safetensors", reason="the lab needs safetensors: pip install begat[lab]")

import begat  # noqa: E402
from begat import InputError  # noqa: E402
from begat_lab.descent.upcycled_moge import GroupedExperts, grouped_mixture_of  # noqa: E402
from begat_lab.models import ARCHITECTURES, PanguProMoE  # noqa: E402
from begat_lab.models.huggingface import load_folder, pack, save_folder  # noqa: E402
from begat_lab.models.moge import MOGE  # noqa: E402

SHAPE = {"vocab_size": 97, "hidden_size": 48, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 6,
         "num_key_value_heads": 2, "head_dim": 8, "initializer_range": 0.3}  # fmt: skip
IDS_BT = (torch.arange(4 * 32) * 37 % 97).view(4, 32)


def chance(seed):
    return torch.Generator().manual_seed(seed)


def dense(seed=1, **more):
    return ARCHITECTURES["dense"].new(ARCHITECTURES["dense"].config(**{**SHAPE, **more}), chance(seed))


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("shared", [True, False])
def test_without_noise_and_with_an_even_router_the_function_is_the_parents(shared, tied):
    parent = dense(tie_word_embeddings=tied)
    child = grouped_mixture_of(parent, GroupedExperts(experts=6, groups=3, active=3, shared=shared, noise=0.0), chance(2))
    with torch.no_grad():
        for layer in child.model.layers:
            layer.mlp.gate.weight.zero_()
        torch.testing.assert_close(child(IDS_BT), parent(IDS_BT), atol=1e-4, rtol=1e-4)
        noisy = grouped_mixture_of(parent, GroupedExperts(experts=6, groups=3, active=3, shared=shared, noise=0.5), chance(2))
        assert (noisy(IDS_BT) - parent(IDS_BT)).abs().max() > 0.1


def test_the_folder_is_a_pangu_pro_moe(tmp_path):
    child = grouped_mixture_of(dense(), GroupedExperts(), chance(2))
    save_folder(pack(child, torch.float32), tmp_path)
    model = PanguProMoE.from_pretrained(tmp_path)
    assert (model.config.num_experts, model.config.num_groups, model.config.num_experts_per_tok) == (8, 4, 4)
    with torch.no_grad():
        torch.testing.assert_close(model(IDS_BT).logits, child(IDS_BT))
        torch.testing.assert_close(load_folder(tmp_path).model(IDS_BT), child(IDS_BT))


def test_begat_tells_upcycled_from_scratch(tmp_path):
    parent = dense()
    child = grouped_mixture_of(parent, GroupedExperts(noise=0.3), chance(2))
    stranger = MOGE.new(child.config, chance(3))
    for name, model in (("parent", parent), ("child", child), ("stranger", stranger)):
        save_folder(pack(model, torch.float32), tmp_path / name)
    assert begat.compare(tmp_path / "parent", tmp_path / "child").verdict == "derived-or-shared-initialisation"
    assert begat.compare(tmp_path / "parent", tmp_path / "stranger").verdict == "no-evidence"
    assert begat.compare(tmp_path / "child", tmp_path / "stranger").verdict == "no-evidence"


def test_parents_of_another_network_and_odd_numbers_are_errors():
    odd = dense()
    odd.model.layers[0].self_attn.q_norm = torch.nn.LayerNorm(8)
    with pytest.raises(InputError, match="no place for"):
        grouped_mixture_of(odd, GroupedExperts(), chance(1))
    for wrong in ({"active": 3}, {"experts": 7}, {"groups": 0}, {"experts": 4, "active": 8}):
        with pytest.raises(InputError):
            GroupedExperts(**wrong)
