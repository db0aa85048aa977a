"""Whole state dicts: of tiny models of transformers 4 and 5 (names and shapes in data/), and of Pangu at full size."""

from __future__ import annotations

import gzip
import json
import time
from typing import Any

import pytest

from begat.canon import resolve
from begat.types import TensorKey
from canon.canon_builders import DATA, header, resolved


def _load(name: str) -> Any:
    return json.loads(gzip.decompress((DATA / name).read_bytes()))


VERSIONS = _load("state_dicts.json.gz")["versions"]
MODELS = [(v, m) for v, models in VERSIONS.items() for m in models]
#: stored on purpose twice, or no weights
DROPS = {
    "a second name of cls.predictions.bias",
    "a second name of lm_head.bias",
    "a second name of decoder.embed_tokens.weight",
    "a second name of model.decoder.embed_tokens.weight",
    "a scalar temperature",
    "a buffer: the causal mask",
}
#: model → (family, heads, key-value heads, head size, value size, symmetric axes by first letter; E = experts, e = expert-units)
EXPECTED = {
    "llama": ("llama", 6, 2, 8, 8, "kmrv"),
    "mistral": ("llama", 6, 2, 8, 8, "kmrv"),
    "qwen2": ("llama", 6, 2, 8, 8, "kmrv"),
    "qwen3": ("llama", 6, 2, 10, 10, "kmrv"),
    "gemma": ("llama", 6, 2, 10, 10, "kmrv"),
    "gemma2": ("gemma2", 6, 2, 10, 10, "kmrv"),
    "gemma3": ("gemma2", 6, 2, 10, 10, "kmrv"),
    "phi3": ("phi3", 6, 2, 8, 8, "kmrv"),
    "olmo2": ("olmo2", 6, 2, 8, 8, "kmrv"),
    "gpt2": ("gpt2", 6, 6, 8, 8, "kmrv"),
    "gpt_bigcode": ("gpt2", 6, 1, 8, 8, "kmrv"),
    "gpt_neox": ("gpt_neox", 6, 6, 8, 8, "kmrv"),
    "falcon7b": ("falcon", 6, 1, 8, 8, "mrv"),
    "falcon40b": ("falcon", 6, 2, 8, 8, "mrv"),
    "falconrw": ("falcon", 6, 6, 8, 8, "mrv"),
    "bert": ("bert", 6, 6, 8, 8, "kmrv"),
    "roberta": ("bert", 6, 6, 8, 8, "kmrv"),
    "distilbert": ("distilbert", 6, 6, 8, 8, "kmv"),
    "opt": ("opt", 6, 6, 8, 8, "kmrv"),
    "bloom": ("bloom", 6, 6, 8, 8, "mrv"),
    "mpt": ("mpt", 6, 6, 8, 8, "mrv"),
    "stablelm": ("llama", 6, 2, 8, 8, "kmrv"),
    "mixtral": (None, 6, 2, 8, 8, "Eekrv"),
    "qwen2_moe": ("qwen_moe", 6, 2, 8, 8, "Eekmrv"),
    "qwen3_moe": ("qwen_moe", 6, 2, 10, 10, "Eekrv"),
    "olmoe": ("qwen_moe", 6, 2, 8, 8, "Eekrv"),
    "gpt_oss": ("gpt_oss", 6, 2, 10, 10, "Eekrv"),
    "llama4": ("llama4", 6, 2, 8, 8, "Eekmrv"),
    "deepseek_v2": ("deepseek_v2", 6, 6, 12, 6, "Eelmrv"),
    "deepseek_v3": ("deepseek_v2", 6, 6, 12, 6, "Eelmrv"),
    "dbrx": ("dbrx", 6, 2, 8, 8, "Eekrv"),
    "clip": ("vit", 6, 6, 8, 8, "kmrv"),
    "siglip": ("vit", 6, 6, 8, 8, "kmrv"),
    "qwen2_vl": ("llama", 6, 2, 8, 8, "kmrv"),
    "bart": ("seq2seq", 6, 6, 8, 8, "kmv"),
    "t5": ("t5", 6, 6, 8, 8, "mrv"),
    "whisper": ("seq2seq", 6, 6, 8, 8, "kmv"),
    "modernbert": ("modernbert", 6, 6, 8, 8, "kmrv"),
}
LETTER = {"experts": "E"}


@pytest.mark.parametrize(("version", "model"), MODELS, ids=[f"{m}-{v}" for v, m in MODELS])
def test_state_dict_is_fully_understood(version: str, model: str) -> None:
    """Nothing unmapped, nothing dropped without being expected, every layer whole, the family and its geometry right."""
    case = VERSIONS[version][model]
    c = resolved(case["tensors"], case["config"])
    assert not c.unmapped
    assert {r for _, r in c.dropped} <= DROPS
    layers = {(k.tower, k.layer) for k in c.tensors if k.layer >= 0 and not k.role.startswith("chain")}
    for tower, layer in layers:
        roles = {k.role for k in c.tensors if (k.tower, k.layer) == (tower, layer)}
        attention = {f"attn.{x}.weight" for x in ("q", "k", "v", "o")} <= roles or "attn.kv_b.weight" in roles
        assert attention, sorted(roles)
        assert {"mlp.up.weight", "mlp.down.weight"} <= roles or {"expert.up.weight", "expert.down.weight"} <= roles, sorted(roles)
    assert len({layer for tower, layer in layers if tower == "text"}) in (2, 3)
    if model in EXPECTED:
        family, *sizes, axes = EXPECTED[model]
        g = c.geometry["text"]
        assert family in (None, c.family)
        assert [g.heads, g.kv_heads, g.head_dim, g.value_dim] == sizes
        assert "".join(sorted(LETTER.get(a, a[0]) for a in g.symmetric)) == axes
        assert not set(g.symmetric) & set(g.asymmetric)


def test_families_named_in_the_table_are_met() -> None:
    """The fixture holds what EXPECTED speaks of."""
    assert set(EXPECTED) <= {m for _, m in MODELS}


def _pangu(name: str) -> tuple[list[tuple[str, list[int]]], dict[str, Any]]:
    data = _load(name)
    return data["tensors"], data["config"]


def test_pangu_pro_moe_at_full_size() -> None:
    """9,939 tensors, no config needed to know the family; 8 groups of 8 experts; well under half a second."""
    tensors, config = _pangu("pangu_pro_moe_keys.json.gz")
    assert len(tensors) == 9939
    start = time.perf_counter()
    c = resolved(tensors, config)
    seconds = time.perf_counter() - start
    assert not c.unmapped
    assert not c.dropped
    assert c.family == "pangu_pro_moe"
    g = c.geometry["text"]
    assert (g.width, g.heads, g.kv_heads, g.head_dim, g.expert_groups) == (5120, 40, 8, 128, 8)
    assert c.tensors[TensorKey("text", 47, "expert.down.weight", 63)].shape == (5120, 1344)
    assert c.tensors[TensorKey("text", 3, "moe.router_scale")].shape == (64,)
    assert c.tensors[TensorKey("text", 3, "attn.o.bias")].shape == (5120,)
    assert seconds < 2.0  # 0.2 s on an idle core


def test_pangu_dense_at_full_size() -> None:
    """The published files also hold inv_freq; it is dropped with the reason."""
    tensors, config = _pangu("pangu_dense_keys.json.gz")
    stored = [*tensors, *((f"model.layers.{n}.self_attn.rotary_emb.inv_freq", [64]) for n in range(34))]
    c = resolved(stored, config)
    assert not c.unmapped
    assert len(c.dropped) == 34
    assert {r for _, r in c.dropped} == {"rotary frequencies: computed from the config, not trained"}
    assert "kv-heads" in c.geometry["text"].symmetric


def test_without_a_config_names_and_shapes_still_resolve() -> None:
    """Roles never depend on a config; head counts do."""
    tensors, _ = _pangu("pangu_dense_keys.json.gz")
    c = resolved(tensors)
    assert len(c.mapped) == 445
    assert c.geometry["text"].heads is None
    assert c.geometry["text"].width == 4096


def test_a_small_checkpoint_resolves_in_milliseconds() -> None:
    """200 tensors: a compare of small models is not held up by names."""
    tensors = _pangu("pangu_dense_keys.json.gz")[0][:200]
    resolve(header(tensors))
    start = time.perf_counter()
    resolve(header(tensors))
    assert time.perf_counter() - start < 0.05


#: one name of each awkward kind → what it must become
ROLE_OF = {
    "gemma2": {
        "model.layers.0.input_layernorm.weight": "attn.norm.gain",
        "model.layers.0.post_attention_layernorm.weight": "attn.post_norm.gain",
        "model.layers.0.pre_feedforward_layernorm.weight": "mlp.norm.gain",
        "model.layers.0.post_feedforward_layernorm.weight": "mlp.post_norm.gain",
    },
    "olmo2": {
        "model.layers.1.post_attention_layernorm.weight": "attn.post_norm.gain",
        "model.layers.1.self_attn.q_norm.weight": "attn.q_norm.gain",
        "model.layers.1.post_feedforward_layernorm.weight": "mlp.post_norm.gain",
    },
    "glm4": {
        "model.layers.0.post_self_attn_layernorm.weight": "attn.post_norm.gain",
        "model.layers.0.post_attention_layernorm.weight": "mlp.norm.gain",
        "model.layers.0.post_mlp_layernorm.weight": "mlp.post_norm.gain",
    },
    "llama": {
        "model.layers.0.post_attention_layernorm.weight": "mlp.norm.gain",
        "model.norm.weight": "final.norm.gain",
        "lm_head.weight": "head.weight",
    },
    "falcon40b": {"transformer.h.0.ln_attn.weight": "attn.norm.gain", "transformer.h.0.ln_mlp.bias": "mlp.norm.bias"},
    "bert": {
        "bert.encoder.layer.1.attention.output.dense.weight": "attn.o.weight",
        "bert.encoder.layer.1.output.dense.bias": "mlp.down.bias",
        "bert.encoder.layer.1.attention.output.LayerNorm.weight": "attn.post_norm.gain",
        "cls.predictions.bias": "head.bias",
        "bert.encoder.layer.1.output.LayerNorm.bias": "mlp.post_norm.bias",
        "cls.predictions.transform.dense.weight": "head.transform.weight",
        "cls.seq_relationship.weight": "classifier.sequence.weight",
        "bert.pooler.dense.weight": "pooler.weight",
    },
    "opt": {
        "model.decoder.layers.0.final_layer_norm.weight": "mlp.norm.gain",
        "model.decoder.final_layer_norm.weight": "final.norm.gain",
        "model.decoder.layers.0.fc2.weight": "mlp.down.weight",
        "model.decoder.embed_positions.weight": "embed.positions",
    },
    "deepseek_v3": {
        "model.layers.1.mlp.gate.e_score_correction_bias": "moe.router.bias",
        "model.layers.1.self_attn.kv_a_proj_with_mqa.weight": "attn.kv_a.weight",
        "model.layers.0.mlp.gate_proj.weight": "mlp.gate.weight",
        "model.layers.1.mlp.shared_experts.up_proj.weight": "shared.up.weight",
    },
    "t5": {
        "decoder.block.0.layer.1.layer_norm.weight": "cross.norm.gain",
        "encoder.block.0.layer.1.layer_norm.weight": "mlp.norm.gain",
    },
}


@pytest.mark.parametrize("model", sorted(ROLE_OF))
def test_role_of_awkward_names(model: str) -> None:
    """Norms that change meaning with their neighbours, and names that look alike."""
    for models in VERSIONS.values():
        case = models[model]
        by_name = {t.name: k for k, t in resolved(case["tensors"], case["config"]).tensors.items()}
        for name, role in ROLE_OF[model].items():
            assert by_name[name].role == role, name
