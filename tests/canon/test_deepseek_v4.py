"""DeepSeek-V4's names, the publisher's and those transformers saves and holds: all mapped, and what is no symmetry is said to be none."""

from __future__ import annotations

import pytest

from begat.canon import Canonical, resolve
from begat.types import TensorKey
from canon.canon_builders import header

D, F, E = 64, 48, 4
LAYER = {
    "attn.wq_a.weight": (32, D), "attn.q_norm.weight": (32,), "attn.wq_b.weight": (96, 32), "attn.wkv.weight": (24, D),
    "attn.kv_norm.weight": (24,), "attn.wo_a.weight": (40, 48), "attn.wo_b.weight": (D, 40), "attn.attn_sink": (4,),
    "attn.compressor.wkv.weight": (24, D), "attn.compressor.wgate.weight": (24, D), "attn.compressor.norm.weight": (24,),
    "attn.compressor.ape": (8, 24), "attn.indexer.wq_b.weight": (40, 32), "attn.indexer.weights_proj.weight": (4, D),
    "attn.indexer.compressor.wkv.weight": (20, D), "attn.indexer.compressor.wgate.weight": (20, D),
    "attn.indexer.compressor.norm.weight": (10,), "attn.indexer.compressor.ape": (4, 20), "attn_norm.weight": (D,), "ffn_norm.weight": (D,),
    "ffn.gate.weight": (E, D), "ffn.gate.bias": (E,), "hc_attn_fn": (24, 4 * D), "hc_attn_base": (24,), "hc_attn_scale": (3,),
    "hc_ffn_fn": (24, 4 * D), "hc_ffn_base": (24,), "hc_ffn_scale": (3,),
}  # fmt: skip
MLP = {"w1": (F, D), "w2": (D, F), "w3": (F, D)}


def v4(prefix: str, embed: str, hc_head: str) -> dict[str, tuple[int, ...]]:
    out: dict[str, tuple[int, ...]] = {
        f"{prefix}{embed}.weight": (100, D), "head.weight": (100, D), f"{prefix}norm.weight": (D,), f"{prefix}{hc_head}fn": (4, 4 * D),
        f"{prefix}{hc_head}base": (4,), f"{prefix}{hc_head}scale": (1,),
    }  # fmt: skip
    for i in range(3):
        p = f"{prefix}layers.{i}."
        out |= {p + n: s for n, s in LAYER.items()}
        out |= {f"{p}ffn.{m}.{n}.weight": s for m in (*(f"experts.{e}" for e in range(E)), "shared_experts") for n, s in MLP.items()}
    out[f"{prefix}layers.0.ffn.gate.tid2eid"] = (100, 2)
    return out


def resolved(names: dict[str, tuple[int, ...]]) -> Canonical:
    return resolve(header(names.items(), {"model_type": "deepseek_v4", "num_attention_heads": 4, "n_routed_experts": E}))


@pytest.mark.parametrize(("prefix", "embed", "hc_head"), [("", "embed", "hc_head_"), ("model.", "embed_tokens", "hc_head.hc_")])
def test_both_layouts_are_mapped_whole(prefix: str, embed: str, hc_head: str) -> None:
    c = resolved(v4(prefix, embed, hc_head))
    assert c.family == "deepseek_v4"
    assert not c.unmapped
    assert [n for n, _ in c.dropped] == [f"{prefix}layers.0.ffn.gate.tid2eid"]
    assert c.tensors[TensorKey("text", 1, "attn.q_a_norm.gain")].name == f"{prefix}layers.1.attn.q_norm.weight"
    assert c.tensors[TensorKey("text", 2, "expert.down.weight", 3)].shape == (D, F)
    assert c.tensors[TensorKey("text", 0, "shared.up.weight")].shape == (F, D)


def test_what_is_no_symmetry() -> None:
    """Experts of the hash layers are told apart by a table that independent models share, and values are keys."""
    geometry = resolved(v4("", "embed", "hc_head_")).geometry["text"]
    assert geometry.width == D
    assert {"mlp-units", "expert-units", "residual", "latent-dims"} <= set(geometry.symmetric)
    assert "table of tokens" in geometry.asymmetric["experts"]
    assert not {"kv-heads", "value-dims", "experts"} & set(geometry.symmetric)


def test_names_that_transformers_holds_in_memory() -> None:
    names = {
        "model.embed_tokens.weight": (100, D), "lm_head.weight": (100, D), "model.norm.weight": (D,), "model.hc_head.hc_fn": (4, 4 * D),
    }  # fmt: skip
    for i in range(2):
        p = f"model.layers.{i}."
        names |= {
            p + "self_attn.q_a_proj.weight": (32, D), p + "self_attn.q_a_norm.weight": (32,), p + "self_attn.q_b_proj.weight": (96, 32),
            p + "self_attn.kv_proj.weight": (24, D), p + "self_attn.kv_norm.weight": (24,), p + "self_attn.o_a_proj.weight": (40, 48),
            p + "self_attn.o_b_proj.weight": (D, 40), p + "self_attn.sinks": (4,), p + "self_attn.compressor.kv_proj.weight": (24, D),
            p + "self_attn.compressor.indexer.q_b_proj.weight": (40, 32), p + "input_layernorm.weight": (D,),
            p + "post_attention_layernorm.weight": (D,), p + "mlp.gate.weight": (E, D), p + "mlp.gate.e_score_correction_bias": (E,),
            p + "mlp.experts.gate_up_proj": (E, 2 * F, D), p + "mlp.experts.down_proj": (E, D, F), p + "attn_hc.fn": (24, 4 * D),
            p + "ffn_hc.base": (24,), p + "mlp.shared_experts.gate_proj.weight": (F, D),
        }  # fmt: skip
    c = resolved(names)
    assert not c.unmapped and not c.dropped
    assert c.family == "deepseek_v4"
