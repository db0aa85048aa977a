"""The order test and the map under attack: fillings, scales, configs. What strangers share by construction is no evidence."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import begat
from begat.signals.kinship import independent, signs, sketch
from begat.signals.order import order_hits
from builders import Tensors, llama, noisy, write

RNG = np.random.default_rng(31)
PARENT, CONFIG = llama(RNG)
OTHER, _ = llama(RNG)
RELATED = "derived-or-shared-initialisation"


@pytest.mark.parametrize("filling", [0.0, 0.02, 1.0])
def test_units_filled_with_a_constant_are_padding(filling: float) -> None:
    """One filled unit at one place in both models would be a sure hit in every layer."""
    a, b = (RNG.standard_normal((64, 40)).astype(np.float32) for _ in range(2))
    a[63] = b[63] = filling
    found = order_hits([a], [b])
    assert (found.m, found.constant) == (63, 1)


def test_copies_of_two_units_are_copies_whatever_signs_were_drawn() -> None:
    """With two KV heads a sketch's own length varies by a quarter; one missed copy of 24 is a false alarm."""
    for seed in range(200):
        rng = np.random.default_rng(seed)
        drawn = signs(256, rng)
        x, y = (sketch([rng.standard_normal((2, 256)).astype(np.float32)], drawn) for _ in range(2))
        assert independent([x] * 4, [y] * 4) == [True, False, False, False]


def test_looped_strangers_do_not_accuse(tmp_path: Path) -> None:
    """One layer stored 24 times in both models: a universal transformer saved without ties."""
    for seed in range(8):
        rng = np.random.default_rng(seed)
        found = []
        for side in "ab":
            one, config = llama(
                rng,
                num_hidden_layers=1,
                hidden_size=64,
                num_attention_heads=8,
                num_key_value_heads=4,
                head_dim=8,
                intermediate_size=64,
            )
            looped = {n: w for n, w in one.items() if ".layers." not in n}
            looped |= {n.replace(".0.", f".{i}."): w for n, w in one.items() if ".layers." in n for i in range(24)}
            found.append(write(tmp_path / side, looped, config | {"num_hidden_layers": 24}))
        v = begat.compare(*found)
        assert v.verdict == "no-evidence"
        assert v.log10_e is not None and v.log10_e < 3


@pytest.mark.parametrize("scale", [1e-36, 1e-20, 1e20, 1e30])
def test_a_rescaled_pair_hides_nothing(tmp_path: Path, scale: float) -> None:
    """T6: up times s and down by s is one function; squares of such weights leave float32."""
    child = noisy(PARENT, RNG, 0.05)
    for name in child:
        if "up_proj" in name or "gate_proj" in name:
            child[name] = (child[name].astype(np.float64) * scale).astype(np.float32)
    for mode in ("sampled", "full"):
        v = begat.compare(write(tmp_path / "a", PARENT, CONFIG), write(tmp_path / "b", child, CONFIG), map=mode)
        units = next(x for x in v.axes if x.axis == "mlp-units")
        assert v.verdict == RELATED
        assert units.hits == units.sampled
        assert min(c.cosine for c in v.cells if "mlp.up" in c.role) > 0.99


def test_removed_layers_are_not_said_to_be_replaced(tmp_path: Path) -> None:
    """Layers behind a removed one sit at another index, where they are found."""
    child = {n: w for n, w in noisy(PARENT, RNG, 0.05).items() if ".1." not in n}
    for i in (2, 3, 4):
        child = {n.replace(f"layers.{i}.", f"layers.{i - 1}."): w for n, w in child.items()}
    v = begat.compare(write(tmp_path / "a", PARENT, CONFIG), write(tmp_path / "b", child, CONFIG | {"num_hidden_layers": 4}))
    assert v.verdict == RELATED
    assert {p.layer: p.status for p in v.parts if 0 <= p.layer < 4} == dict.fromkeys(range(4), "dependent")
    assert v.alignment is not None
    assert [(m.layer_b, m.layer_a) for m in v.alignment.layers] == [(0, 0), (1, 2), (2, 3), (3, 4)]


def test_constants_are_no_copy(tmp_path: Path) -> None:
    """Two untrained sets of gains are all ones."""
    gains: Tensors = {n: np.ones_like(w) for n, w in PARENT.items() if w.ndim == 1}
    v = begat.compare(write(tmp_path / "a", gains, CONFIG), write(tmp_path / "b", gains, CONFIG))
    assert v.verdict == "cannot-test"
    trained = {n: w for n, w in PARENT.items() if w.ndim == 1}
    assert begat.compare(write(tmp_path / "a", trained, CONFIG), write(tmp_path / "b", trained, CONFIG)).verdict == "identical"


def test_untrained_constants_between_strangers_do_not_accuse(tmp_path: Path) -> None:
    """Gains of one and biases of zero in both, matrices apart; in one type or two."""
    a, b = ({n: np.ones_like(w) if w.ndim == 1 else w for n, w in x.items()} for x in (PARENT, OTHER))
    for dtype in (None, np.float16):
        v = begat.compare(write(tmp_path / "a", a, CONFIG), write(tmp_path / "b", b, CONFIG, dtype))
        assert v.verdict == "no-evidence"
        assert not any(p.status == "dependent" for p in v.parts)


def test_wild_configs_neither_crash_nor_accuse(tmp_path: Path) -> None:
    pick = random.Random(5)
    deep: Any = None
    for _ in range(200):
        deep = {"text_config": deep}
    keys = [
        "num_attention_heads", "num_key_value_heads", "head_dim", "n_head", "n_group", "num_experts", "hidden_size", "model_type", "v_head_dim",
        "kv_lora_rank", "qk_rope_head_dim", "text_config", "attn_config", "alibi", "position_embedding_type", "general.architecture", "thinker_config",
    ]  # fmt: skip
    values = [-1, 0, 1, 2, 16, 64, 2**70, "x", "", None, [], [1, 2], [4, 4], {}, {"model_type": 3},
              1.5, float("nan"), float("inf"), True, deep, "bloom", "gpt2"]  # fmt: skip
    a, b = write(tmp_path / "a", PARENT), write(tmp_path / "b", OTHER)
    for _ in range(40):
        config = CONFIG | {k: pick.choice(values) for k in pick.sample(keys, 4)}
        for folder in (a, b):
            (folder / "config.json").write_text(json.dumps(config))
        v = begat.compare(a, b)
        assert v.verdict in ("no-evidence", "cannot-test"), config
        assert v.log10_e is None or v.log10_e < 3


def _sinusoids(x: Tensors, rng: np.random.Generator) -> Tensors:
    at = np.arange(200)[:, None] / 10000.0 ** (np.arange(0, 96, 2) / 96)
    table = np.stack([np.sin(at), np.cos(at)], axis=2).reshape(200, 96) + 0.3 * rng.standard_normal((200, 96))
    return x | {"model.embed_tokens.weight": table.astype(np.float32)}


def _identities(x: Tensors, rng: np.random.Generator) -> Tensors:
    return {
        n: (np.eye(*w.shape) + 0.02 * rng.standard_normal(w.shape)).astype(np.float32) if w.ndim == 2 else w for n, w in x.items()
    }


def _banded(x: Tensors, rng: np.random.Generator) -> Tensors:
    def mask(w: np.ndarray) -> np.ndarray:
        i, j = np.indices(w.shape)
        return w * (np.abs(i * w.shape[1] / w.shape[0] - j) < 12)

    return {n: mask(w) if w.ndim == 2 else w for n, w in x.items()}


def _principal(x: Tensors, rng: np.random.Generator) -> Tensors:
    """A residual stream rotated into its principal components, the first of which all models share (token frequency)."""
    spectrum = np.arange(1, 97) ** -0.7
    shared = 3 * np.random.default_rng(5).standard_normal((200, 24))
    out = dict(x)
    for n in ("model.embed_tokens.weight", "lm_head.weight"):
        table = rng.standard_normal(x[n].shape)
        table[:, :24] += shared
        out[n] = (table * spectrum).astype(np.float32)
    return out


@pytest.mark.parametrize("change", [_sinusoids, _identities, _banded, _principal])
def test_orders_fixed_by_index_are_left_out(tmp_path: Path, change: Any) -> None:
    """Neither model drew its order, so strangers share it; both say so, each alone, and the report says what was left out."""
    rng = np.random.default_rng(8)
    pair = []
    for side in "ab":
        x, config = llama(rng)
        pair.append(write(tmp_path / side, change(x, rng), config))
    v = begat.compare(*pair)
    assert v.verdict in ("no-evidence", "cannot-test")
    assert v.log10_e is None or v.log10_e < 3
    assert any("left out" in c and "index fixes" in c for c in v.caveats)


def test_an_order_fixed_by_index_in_one_model_only_costs_nothing(tmp_path: Path) -> None:
    """One order drawn at random is all that the null asks for."""
    rng = np.random.default_rng(8)
    x, config = llama(rng)
    v = begat.compare(write(tmp_path / "a", _banded(x, rng), config), write(tmp_path / "b", llama(rng)[0], config))
    assert v.verdict == "no-evidence"
    assert not any("left out" in c for c in v.caveats)
