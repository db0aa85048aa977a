"""Verdicts "identical" and "re-encoded" under attack: they are said of the whole model, and an arrow only where it was earned."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import begat
from begat.types import Verdict
from builders import BF16, Tensors, llama, noisy, rounded, write

RNG = np.random.default_rng(23)
PARENT, CONFIG = llama(RNG, num_hidden_layers=12)  # more than fifty matrices: a share of odd ones must not pass
OTHER, _ = llama(RNG, num_hidden_layers=12)
UP = "model.layers.5.mlp.up_proj.weight"
COUNT = itertools.count()
RELATED = "derived-or-shared-initialisation"


@pytest.fixture
def compare(tmp_path: Path) -> Any:
    def run(a: Tensors, b: Tensors, dtype_a: Any = None, dtype_b: Any = None, config: dict[str, Any] | None = None, **kw: Any) -> Verdict:
        folder = tmp_path / str(next(COUNT))
        given = CONFIG if config is None else config
        return begat.compare(write(folder / "a", a, given, dtype_a), write(folder / "b", b, given, dtype_b), **kw)

    return run


def trained(names: str, share: float) -> Tensors:
    return {n: noisy({n: w}, RNG, share)[n] if names in n else w for n, w in PARENT.items()}


def fewer() -> Tensors:
    return {n: w for n, w in PARENT.items() if ".11." not in n}


def extended() -> Tensors:
    return {n: np.concatenate([w, 0.9 * w[:8]]) if len(w) == 200 else w for n, w in PARENT.items()}


@pytest.mark.parametrize(
    "child",
    [
        PARENT | {"lm_head.weight": OTHER["lm_head.weight"]},
        trained(UP, 0.1),
        fewer(),
        PARENT | {n.replace(".11.", ".12."): w for n, w in OTHER.items() if ".11." in n},
        extended(),
        {n: w for n, w in PARENT.items() if n != "lm_head.weight"},
        PARENT | {"odd.thing": OTHER["lm_head.weight"]},
        {n: w * np.float32(1.003) if n == "model.norm.weight" else w for n, w in PARENT.items()},
        {n: (w * (1 + 0.003 * RNG.standard_normal(w.shape))).astype(np.float32) if w.ndim == 1 else w for n, w in PARENT.items()},
    ],
    ids=["head", "one matrix", "fewer layers", "more layers", "vocabulary", "no head", "unmapped", "one gain scaled", "gains trained"],
)
@pytest.mark.parametrize("mode", ["sampled", "full"])
def test_a_re_encoding_with_one_thing_changed_is_none(compare: Any, child: Tensors, mode: str) -> None:
    assert compare(PARENT, child, dtype_b=BF16, map=mode).verdict == RELATED


def test_unmapped_weights_count_across_types(compare: Any) -> None:
    a, b = (PARENT | {"odd.thing": x["lm_head.weight"]} for x in (PARENT, OTHER))
    assert compare(a, b, dtype_b=BF16).verdict == RELATED
    assert compare(a, a, dtype_b=BF16).verdict == "re-encoded"


@pytest.mark.parametrize("dtype", [None, BF16])
def test_fused_weights_that_could_not_be_cut_count(compare: Any, dtype: Any) -> None:
    """GPT-NeoX without a config: the fused qkv cannot be split. Another attention is another model."""

    def neox(x: Tensors) -> Tensors:
        out = {"gpt_neox.embed_in.weight": x["model.embed_tokens.weight"], "embed_out.weight": x["lm_head.weight"]}
        for i in range(12):
            p, q = f"gpt_neox.layers.{i}.", f"model.layers.{i}."
            out[p + "mlp.dense_h_to_4h.weight"] = x[q + "mlp.up_proj.weight"]
            out[p + "mlp.dense_4h_to_h.weight"] = x[q + "mlp.down_proj.weight"]
            out[p + "attention.dense.weight"] = x[q + "self_attn.o_proj.weight"]
            out[p + "input_layernorm.weight"] = x[q + "input_layernorm.weight"]
            out[p + "post_attention_layernorm.weight"] = x[q + "post_attention_layernorm.weight"]
            out[p + "attention.query_key_value.weight"] = np.concatenate([x[q + "self_attn.q_proj.weight"]] * 3)
        return out

    a, other = neox(PARENT), neox(OTHER)
    b = {n: other[n] if "query_key_value" in n else w for n, w in a.items()}
    v = compare(a, b, dtype_b=dtype, config={})
    assert v.verdict == RELATED
    assert v.equality is not None and any("query_key_value" in e for e in v.equality.exceptions)
    assert compare(a, dict(a), config={}).verdict == "identical"


def test_a_head_equal_to_the_embedding_only_at_first_is_not_tied(compare: Any) -> None:
    a, config = llama(RNG, tie_word_embeddings=True, vocab_size=400)
    head = a["model.embed_tokens.weight"].copy()
    assert compare(a, a | {"lm_head.weight": head.copy()}, config=config).verdict == "identical"
    head[300:] += 1
    assert compare(a, a | {"lm_head.weight": head}, config=config).verdict == RELATED


def test_doubles_that_differ_below_float32_are_not_identical(compare: Any) -> None:
    a = {n: w.astype(np.float64) for n, w in PARENT.items()}
    assert compare(a, {n: w * (1 + 1e-12) for n, w in a.items()}).verdict == RELATED


@pytest.mark.parametrize("bits", [4, 5, 8])
def test_a_light_fine_tune_is_no_re_encoding_when_quantised(compare: Any, bits: int) -> None:
    """One per cent of the weights' size, the change of an ordinary fine-tune; gains untouched, as by LoRA."""
    child = {n: noisy({n: w}, RNG, 0.01)[n] if w.ndim == 2 else w for n, w in PARENT.items()}
    assert compare(PARENT, rounded(child, bits, 32)).verdict == RELATED
    assert compare(PARENT, rounded(PARENT, bits, 32)).verdict == "re-encoded"


def test_siblings_rounded_from_one_source_carry_no_arrow(compare: Any) -> None:
    pairs = [(rounded(PARENT, 8, 32), rounded(PARENT, 4, 32), None, None), (PARENT, PARENT, np.float16, BF16),
             (PARENT, PARENT, BF16, ml_dtypes.float8_e4m3fn)]  # fmt: skip
    for a, b, x, y in pairs:
        assert compare(a, b, x, y).direction == "undetermined"
    assert compare(rounded(PARENT, 8, 32), rounded(rounded(PARENT, 8, 32), 4, 32)).direction == "A → B"
    half = {n: w.astype(np.float16) for n, w in PARENT.items()}
    assert compare(half, {n: w.astype(BF16) for n, w in half.items()}).direction == "A → B"


def test_bf16_converted_to_f16_lost_its_smallest_values(compare: Any) -> None:
    """Float16 has more bits than bfloat16, but none below 2^-24: a few values of a converted copy are rounded, all others equal."""
    parent = {n: w.astype(BF16).astype(np.float32) for n, w in PARENT.items()}
    for name, w in parent.items():
        if w.ndim == 2:
            parent[name] = np.where(np.arange(w.size).reshape(w.shape) % 97 == 0, w * 1e-5, w).astype(BF16).astype(np.float32)
    found = compare(parent, parent, BF16, np.float16)
    assert (found.verdict, found.direction) == ("re-encoded", "A → B")
    assert compare(parent, parent, np.float16, BF16).direction == "B → A"


def test_only_the_gains_narrowed_is_a_re_encoding_and_trained_is_none(compare: Any) -> None:
    narrow = {n: w.astype(BF16) if w.ndim == 1 else w for n, w in PARENT.items()}
    assert compare(PARENT, narrow).verdict == "re-encoded"
    moved = {n: (w * (1 + 1e-5 * RNG.standard_normal(w.shape))).astype(np.float32) if w.ndim == 1 else w for n, w in PARENT.items()}
    assert compare(PARENT, moved).verdict == RELATED


def test_scaled_fp8_is_measured_in_stored_units(compare: Any) -> None:
    """Block scales are no powers of two, so the grid is not that of the values' own exponents."""

    def fp8(x: Tensors, block: int = 32) -> Tensors:
        out: Tensors = {}
        for name, w in x.items():
            if "proj" not in name:
                out[name] = w
                continue
            rows, cols = w.shape[0] // block, w.shape[1] // block
            tiles = w.reshape(rows, block, cols, block)
            scale = np.abs(tiles).max(axis=(1, 3)) / np.float32(448)
            out[name] = (tiles / scale[:, None, :, None]).reshape(w.shape).astype(ml_dtypes.float8_e4m3fn)
            out[name + "_scale_inv"] = scale
        return out

    v = compare(PARENT, fp8(PARENT))
    assert (v.verdict, v.direction) == ("re-encoded", "A → B")
    child = {n: noisy({n: w}, RNG, 0.01)[n] if "proj" in n else w for n, w in PARENT.items()}
    assert compare(PARENT, fp8(child)).verdict == RELATED


@pytest.mark.parametrize("mode", ["sampled", "full"])
def test_one_trained_expert_of_many_is_seen(compare: Any, mode: str) -> None:
    config = CONFIG | {"model_type": "qwen3_moe", "num_experts": 16, "num_experts_per_tok": 2, "moe_intermediate_size": 48, "num_hidden_layers": 2}
    base, _ = llama(RNG, num_hidden_layers=2)
    a = {n: w for n, w in base.items() if ".mlp." not in n}
    for i, e in itertools.product(range(2), range(16)):
        for name, shape in (("gate_proj", (48, 96)), ("up_proj", (48, 96)), ("down_proj", (96, 48))):
            a[f"model.layers.{i}.mlp.experts.{e}.{name}.weight"] = (0.1 * RNG.standard_normal(shape)).astype(np.float32)
        a[f"model.layers.{i}.mlp.gate.weight"] = (0.1 * RNG.standard_normal((16, 96))).astype(np.float32)
    b = {n: noisy({n: w}, RNG, 0.1)[n] if "layers.1.mlp.experts.7." in n else w for n, w in a.items()}
    assert compare(a, b, dtype_b=BF16, config=config, map=mode).verdict == RELATED
    assert compare(a, a, dtype_b=BF16, config=config, map=mode).verdict == "re-encoded"


def test_weights_that_were_not_read_are_not_identical_and_are_accounted_for(tmp_path: Path) -> None:
    """Two torch files equal in all but a tensor that begat skips."""
    torch = pytest.importorskip("torch")
    x, config = llama(np.random.default_rng(4))
    pair = []
    for side, value in (("a", 1.0), ("b", 2.0)):
        (tmp_path / side).mkdir()
        state = {n: torch.from_numpy(w) for n, w in x.items()} | {"adapter.phase": torch.full((3,), value, dtype=torch.complex64)}
        torch.save(state, tmp_path / side / "pytorch_model.bin")
        (tmp_path / side / "config.json").write_text(json.dumps(config))
        pair.append(tmp_path / side)
    v = begat.compare(*pair)
    assert v.verdict == "derived-or-shared-initialisation"
    assert v.equality is not None and v.equality.exceptions == ("not read: adapter.phase",)
    assert v.accounting is not None
    assert v.accounting[0].stored == len(x) + 1
    assert ("adapter.phase", "numbers of type complex64") in v.accounting[0].dropped
