"""Prefixes, towers, collisions, inconsistent layers, hostile names and configs: every tensor accounted for."""

from __future__ import annotations

import os
import string
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from begat.canon import resolve, unread_parameters
from begat.canon.check import MISFIT, VARIES
from begat.errors import InputError
from begat.types import TensorKey
from canon.canon_builders import header, resolved


def llama(
    prefix: str = "model.", d: int = 48, ff: int = 40, layers: int = 2, head: str = "lm_head.weight"
) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a small Llama under a prefix."""
    out: dict[str, tuple[int, ...]] = {prefix + "embed_tokens.weight": (23, d), prefix + "norm.weight": (d,)}
    if head:
        out[head] = (23, d)
    for i in range(layers):
        p = f"{prefix}layers.{i}."
        out |= {
            p + "input_layernorm.weight": (d,),
            p + "post_attention_layernorm.weight": (d,),
            p + "self_attn.q_proj.weight": (48, d),
            p + "self_attn.k_proj.weight": (16, d),
            p + "self_attn.v_proj.weight": (16, d),
            p + "self_attn.o_proj.weight": (d, 48),
            p + "mlp.gate_proj.weight": (ff, d),
            p + "mlp.up_proj.weight": (ff, d),
            p + "mlp.down_proj.weight": (d, ff),
        }
    return out


CONFIG = {"model_type": "llama", "num_attention_heads": 6, "num_key_value_heads": 2}
PLAIN = set(resolve(header(llama().items(), CONFIG)).tensors)


@pytest.mark.parametrize(
    "prefix",
    [
        "",
        "model.",
        "module.model.",
        "_orig_mod.model.",
        "base_model.model.model.",
        "language_model.model.",
        "model.language_model.",
        "thinker.model.",
        "llm.model.",
        "transformer.",
        "backbone.",
        "0.auto_model.",
        "my_wrapper.model.",
        "a.b.c.",
        "modèle.",
    ],
)
def test_wrappers_say_nothing(prefix: str) -> None:
    """A known wrapper, or an unknown one used throughout, is stripped."""
    c = resolved(llama(prefix, head=prefix + "lm_head.weight").items(), CONFIG)
    assert set(c.tensors) == PLAIN
    assert c.family == "llama"
    assert c.geometry["text"].heads == 6


def test_peft_base_layer_is_stripped() -> None:
    """PEFT wraps a module it adapts; the base weight is still the module's weight, the adapter's is not ours."""
    tensors = llama("base_model.model.model.")
    tensors["base_model.model.model.layers.0.self_attn.q_proj.base_layer.weight"] = tensors.pop(
        "base_model.model.model.layers.0.self_attn.q_proj.weight"
    )
    tensors["base_model.model.model.layers.0.self_attn.q_proj.lora_A.default.weight"] = (4, 48)
    c = resolved(tensors.items(), CONFIG)
    assert set(c.tensors) == PLAIN
    assert c.unmapped == ("base_model.model.model.layers.0.self_attn.q_proj.lora_A.default.weight",)


def test_towers_have_their_own_keys() -> None:
    """A thinker, its vision, its talker."""
    tensors = llama("thinker.model.", head="thinker.lm_head.weight") | llama(
        "talker.model.", d=32, head="talker.codec_head.weight"
    )
    tensors |= {
        "thinker.visual.blocks.0.attn.qkv.weight": (60, 20),
        "thinker.visual.blocks.0.attn.proj.weight": (20, 20),
        "thinker.visual.blocks.0.norm1.weight": (20,),
        "thinker.visual.blocks.0.mlp.up_proj.weight": (30, 20),
        "thinker.visual.blocks.0.mlp.gate_proj.weight": (30, 20),
        "thinker.visual.blocks.0.mlp.down_proj.weight": (20, 30),
        "thinker.visual.merger.mlp.0.weight": (24, 20),
        "thinker.visual.merger.mlp.2.weight": (48, 24),
        "thinker.audio_tower.layers.0.fc1.weight": (10, 12),
        "thinker.audio_tower.layers.0.fc2.weight": (12, 10),
    }
    config = {
        "thinker_config": {"text_config": CONFIG, "vision_config": {"num_heads": 5}},
        "talker_config": {"num_attention_heads": 3},
    }
    c = resolved(tensors.items(), config)
    assert set(c.geometry) == {"text", "talker", "vision", "audio", "thinker.visual.merger.mlp"}
    assert {k for k in c.tensors if k.tower == "text"} == PLAIN
    assert c.unmapped == ("talker.codec_head.weight",)
    assert c.geometry["vision"].heads == 5
    assert (c.geometry["talker"].width, c.geometry["talker"].heads) == (32, 3)
    assert TensorKey("vision", 0, "attn.k.weight") in c.tensors
    assert list(c.geometry["audio"].symmetric) == ["mlp-units"]


def test_two_models_under_unknown_prefixes_do_not_mix() -> None:
    """The larger keeps the plain keys; the other is a tower named after its prefix."""
    c = resolved((llama("query.", head="") | llama("document.", layers=3, head="")).items(), CONFIG)
    assert {k.tower for k in c.tensors} == {"text", "query"}
    assert {t.name.partition(".")[0] for k, t in c.tensors.items() if k.tower == "text"} == {"document"}
    assert {t.name.partition(".")[0] for k, t in c.tensors.items() if k.tower == "query"} == {"query"}


def test_a_second_claim_on_a_key_is_listed() -> None:
    """Two tensors never share a key silently."""
    c = resolved((llama() | {"embed_tokens.weight": (9, 48)}).items(), CONFIG)
    assert c.unmapped == ("embed_tokens.weight",)
    assert c.tensors[TensorKey("text", -1, "embed.tokens")].shape == (23, 48)


def test_unknown_names_are_listed_never_guessed() -> None:
    """Near misses of known names stay unmapped."""
    strange = {
        "model.layers.0.self_attn.q_projection.weight": (48, 48),
        "model.layers.0.mlp.gate_proj.weight_v": (3, 3),
        "model.layers.x.self_attn.q_proj.weight": (48, 48),
        "model.layers.0.self_attn.q_proj": (48, 48),
        "other.norm.weight": (48,),
        "model.layers.0.mamba.x": (3,),
    }
    c = resolved((llama() | strange).items(), CONFIG)
    assert set(c.unmapped) == set(strange)


def test_mtp_layer_of_deepseek() -> None:
    """The extra layer's own tensors get roles of their own beside the ordinary ones."""
    p = "model.layers.2."
    extra = {
        p + "eh_proj.weight": (48, 96),
        p + "enorm.weight": (48,),
        p + "hnorm.weight": (48,),
        p + "embed_tokens.weight": (23, 48),
        p + "shared_head.head.weight": (23, 48),
        p + "shared_head.norm.weight": (48,),
    }
    c = resolved((llama(layers=3) | extra).items(), CONFIG)
    assert not c.unmapped
    assert {k.role for k in c.tensors if k.layer == 2 and k.role.startswith("mtp")} == {
        "mtp.projection.weight",
        "mtp.embed_norm.gain",
        "mtp.hidden_norm.gain",
        "mtp.embed",
        "mtp.head.weight",
        "mtp.head_norm.gain",
    }


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("model.layers.1.mlp.up_proj.weight", (41, 48), "40 rows"),
        ("model.layers.1.mlp.gate_proj.weight", (40, 47), "48 columns"),
        ("model.layers.0.self_attn.o_proj.weight", (47, 48), "48 rows"),
        ("model.layers.0.input_layernorm.weight", (47,), "48 values"),
        ("model.layers.0.self_attn.q_proj.bias", (47,), "48 values"),
    ],
)
def test_layers_that_do_not_fit_are_refused(name: str, shape: tuple[int, ...], expected: str) -> None:
    """The error names file, tensor, expected, found and fix."""
    with pytest.raises(InputError) as caught:
        resolve(header((llama() | {name: shape}).items(), CONFIG))
    line = str(caught.value)
    assert caught.value.tensor == name
    assert caught.value.file == "model"
    assert expected in line
    assert "found 4" in line
    assert "fix:" in line


def test_a_layout_that_fits_in_no_layer_is_left_out_and_is_no_damage() -> None:
    """Three layers whose down projection has another size: the units cannot be tested, everything else can."""
    wide = {f"model.layers.{i}.mlp.up_proj.weight": (41, 48) for i in range(3)}
    c = resolved((llama(layers=3) | wide).items(), CONFIG)
    assert dict(c.dropped) == dict.fromkeys(wide, MISFIT)
    assert not any(k.role == "mlp.up.weight" for k in c.tensors)
    assert unread_parameters(c) == {MISFIT: 3 * 41 * 48}


@pytest.mark.parametrize("stages", [(48, 96, 96), (48, 48, 96, 192), (48, 96, 192, 192, 192)])
def test_a_width_that_changes_by_layer_is_no_damage(stages: tuple[int, ...]) -> None:
    """Hierarchical vision models: each stage has its own width, so no residual stream runs through all."""
    shapes: dict[str, tuple[int, ...]] = {}
    for i, width in enumerate(stages):
        one = {n: s for n, s in llama(layers=1).items() if ".layers.0." in n}
        shapes |= {
            n.replace(".layers.0.", f".layers.{i}."): tuple(width if d == 48 else d for d in s) for n, s in one.items()
        }
    c = resolved(shapes.items(), CONFIG)
    assert {k.layer for k in c.tensors} == set(range(len(stages)))
    geometry = c.geometry["text"]
    assert geometry.width is None and "residual" not in geometry.symmetric
    assert geometry.asymmetric["residual"] == VARIES
    assert "mlp-units" in geometry.symmetric


@pytest.mark.parametrize(("routed", "shared"), [(8, 2), (4, 1), (16, 4)])
def test_routers_with_rows_for_shared_experts_are_cut(routed: int, shared: int) -> None:
    shapes = dict(llama(layers=2))
    for i in range(2):
        p = f"model.layers.{i}.mlp."
        shapes |= {p + "gate.weight": (routed + shared, 48), p + "gate.e_score_correction_bias": (routed,)}
        for e in range(routed):
            shapes |= {f"{p}experts.{e}.{n}_proj.weight": s for n, s in (("gate", (24, 48)), ("up", (24, 48)), ("down", (48, 24)))}
    c = resolved(shapes.items(), CONFIG | {"n_routed_experts": routed})
    assert c.tensors[TensorKey("text", 1, "moe.router.weight")].shape == (routed, 48)
    rest = c.tensors[TensorKey("text", 1, "shared.router.weight")]
    assert rest.shape == (shared, 48) and list(rest.rows) == list(range(routed, routed + shared))
    wrong = shapes | {"model.layers.1.mlp.gate.e_score_correction_bias": (routed - 1,)}
    with pytest.raises(InputError, match="does not fit its layer"):
        resolved(wrong.items(), CONFIG)


def test_layers_may_differ_in_size() -> None:
    """A pruned model has feed-forward layers of unequal width."""
    p = "model.layers.1.mlp."
    c = resolved(
        (llama() | {p + "gate_proj.weight": (33, 48), p + "up_proj.weight": (33, 48), p + "down_proj.weight": (48, 33)}).items()
    )
    assert c.tensors[TensorKey("text", 1, "mlp.up.weight")].shape == (33, 48)


@pytest.mark.parametrize(
    "config",
    [
        {"num_attention_heads": 7},
        {"num_attention_heads": -6},
        {"num_attention_heads": 10**30},
        {"num_attention_heads": [6, 5]},
        {"num_attention_heads": None},
        {"text_config": 3},
        {"text_config": {"num_attention_heads": "six"}},
        {"attn_config": []},
        {"num_attention_heads": 6, "num_key_value_heads": 5},
        {"num_attention_heads": 6, "head_dim": 9},
        {"model_type": 7},
        {"general.architecture": "llama"},
        {"general.architecture": 5},
        {"thinker_config": {"text_config": []}},
    ],
)
def test_a_config_that_does_not_fit_is_not_used(config: dict[str, Any]) -> None:
    """Wrong numbers make the geometry unknown; they never change what is mapped and never raise."""
    c = resolved(llama().items(), config)
    assert set(c.tensors) == PLAIN
    assert c.geometry["text"].heads is None


def test_alibi_in_the_config_makes_heads_asymmetric() -> None:
    """A config may take a test away."""
    assert "kv-heads" in resolved(llama().items(), CONFIG).geometry["text"].symmetric
    for more in ({"alibi": True}, {"position_embedding_type": "alibi"}, {"attn_config": {"alibi": True}}):
        g = resolved(llama().items(), CONFIG | more).geometry["text"]
        assert "kv-heads" not in g.symmetric
        assert "ALiBi" in g.asymmetric["kv-heads"]


def test_unknown_family_tests_only_units() -> None:
    """A model with layers we can name and a family we cannot: only units of feed-forward layers are symmetric."""
    tensors = {n: s for n, s in llama().items() if "self_attn" not in n}
    g = resolved(tensors.items(), CONFIG).geometry["text"]
    assert list(g.symmetric) == ["mlp-units"]
    assert "unknown" in g.asymmetric["residual"]


@pytest.mark.parametrize(("config", "groups"), [({}, None), ({"n_group": 4}, 4), ({"n_group": 3}, None), ({"n_group": 1}, 1)])
def test_group_limited_routing(config: dict[str, Any], groups: int | None) -> None:
    """DeepSeek's expert groups come from the config or are unknown, and then experts are not tested."""
    p = "model.layers.0."
    tensors: dict[str, tuple[int, ...]] = {
        p + "self_attn.kv_a_proj_with_mqa.weight": (18, 48),
        p + "self_attn.kv_b_proj.weight": (84, 14),
        p + "input_layernorm.weight": (48,),
        p + "self_attn.q_proj.weight": (72, 48),
        p + "self_attn.o_proj.weight": (48, 36),
        p + "mlp.gate.weight": (8, 48),
    }
    for e in range(8):
        m = f"{p}mlp.experts.{e}."
        tensors |= {m + "gate_proj.weight": (10, 48), m + "up_proj.weight": (10, 48), m + "down_proj.weight": (48, 10)}
    g = resolved(tensors.items(), {"model_type": "deepseek_v2", **config}).geometry["text"]
    assert g.expert_groups == groups
    assert ("experts" in g.symmetric) == (groups is not None)
    assert "expert-units" in g.symmetric


HOSTILE = [
    "",
    ".",
    "..",
    "weight",
    ".weight",
    "model.layers.#.self_attn.q_proj.weight",
    "model.layers.0.mlp.experts.#.gate_proj.weight",
    "model.layers.99999999999999999999.self_attn.q_proj.weight",
    "model.layers.-1.self_attn.q_proj.weight",
    "../../etc/passwd",
    "model.layers.0.self_attn.q_proj.weight\x00",
    "model.layers.٣.self_attn.q_proj.weight",
    "layers." * 500 + "0.norm.weight",
    "\u202emodel.norm.weight",
    "model.layers.0.layers.1.self_attn.q_proj.weight",
    "0." * 300 + "weight",
    "a" * 100_000,
    "#",
    "model.layers.00.mlp.up_proj.weight",
    "block.0.layer.0.SelfAttention.q.weight",
    "v.v.v.blk.1.attn_q.weight",
    "text.2.norm.weight",
]


def test_hostile_names_are_accounted_for() -> None:
    """Nothing raises, nothing is lost, nothing is taken for what it is not."""
    c = resolved([*llama().items(), *((n, (48, 48)) for n in HOSTILE)], CONFIG)
    assert {k for k in c.tensors if k.tower == "text"} >= PLAIN
    assert {c.tensors[k].name for k in PLAIN} == set(llama())


_WORD = st.sampled_from(
    [
        "model",
        "layers",
        "0",
        "1",
        "7",
        "self_attn",
        "q_proj",
        "mlp",
        "experts",
        "gate_up_proj",
        "weight",
        "bias",
        "norm",
        "visual",
        "blocks",
        "h",
        "attn",
        "c_attn",
        "qkv",
        "foo",
        "encoder",
        "embed_tokens",
        "lm_head",
        "#",
        "",
        "inv_freq",
        "query_key_value",
        "down_proj",
        "router_scale",
    ]
)
_NAME = st.one_of(
    st.lists(_WORD, min_size=1, max_size=7).map(".".join),
    st.sampled_from(sorted(llama())),
    st.text(alphabet=string.ascii_letters + string.digits + "._", max_size=20),
)
_SHAPE = st.lists(st.sampled_from([0, 1, 2, 3, 8, 48]), max_size=4).map(tuple)


@settings(max_examples=int(os.environ.get("BEGAT_EXAMPLES", "300")), deadline=None)
@given(
    st.dictionaries(_NAME, _SHAPE, min_size=1, max_size=30),
    st.sampled_from([{}, CONFIG, {"num_attention_heads": 2}, {"general.architecture": "llama", "llama.attention.head_count": 2}]),
    st.sampled_from(["safetensors", "gguf"]),
)
def test_every_tensor_is_accounted_for(tensors: dict[str, tuple[int, ...]], config: dict[str, Any], kind: str) -> None:
    """Mapped + dropped + unmapped = stored, for any names and shapes; or an InputError that names a tensor."""
    try:
        c = resolved(tensors.items(), config, kind)
    except InputError as err:
        assert err.tensor in tensors  # noqa: PT017
        return
    for t in c.tensors.values():
        entry = c.checkpoint.entries[t.name]
        assert len(t.rows) == (t.shape[1] if t.transposed else t.shape[0])
        limit = entry.size if t.is_vector else entry.rows
        assert not len(t.rows) or (min(t.rows) >= 0 and max(t.rows) < limit)


def test_latent_attention_in_gguf() -> None:
    """llama.cpp writes DeepSeek's attention as one wide key-value head; the sizes of the model itself stand in the _mla keys."""
    shapes = {
        "blk.0.attn_norm.weight": (48,), "blk.0.attn_q.weight": (72, 48), "blk.0.attn_kv_a_mqa.weight": (18, 48),
        "blk.0.attn_kv_a_norm.weight": (14,), "blk.0.attn_k_b.weight": (6, 14, 8), "blk.0.attn_v_b.weight": (6, 6, 14),
        "blk.0.attn_output.weight": (48, 36),
    }  # fmt: skip
    said = {
        "head_count": 6,
        "head_count_kv": 1,
        "key_length": 18,
        "value_length": 14,
        "key_length_mla": 12,
        "value_length_mla": 6,
    }
    config = {"general.architecture": "deepseek2", **{f"deepseek2.attention.{k}": v for k, v in said.items()}}
    c = resolved(shapes.items(), config, "gguf")
    assert not c.unmapped
    g = c.geometry["text"]
    assert (g.heads, g.head_dim, g.value_dim) == (6, 12, 6)
    assert "latent-dims" in g.symmetric
