"""Layers that stand elsewhere in models of equal depth: found, named, and never said to show nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import begat
from begat.canon.resolve import resolve
from begat.pipeline import rest
from begat.pipeline.align import align
from begat.pipeline.pose import Features
from begat.pipeline.resemblance import resemblance
from begat.types import Verdict
from builders import Tensors, llama, noisy, reordered_units, stitched, write
from disguises import all_disguised, new_embeddings, reordered_heads, rotation, some_layers, turned

SHAPE: dict[str, Any] = {"hidden_size": 64, "num_hidden_layers": 6, "intermediate_size": 96, "num_attention_heads": 4, "num_key_value_heads": 2,
                         "head_dim": 16, "vocab_size": 160}  # fmt: skip
PARENT, CONFIG = llama(np.random.default_rng(41), **SHAPE)
OTHER, _ = llama(np.random.default_rng(42), **SHAPE)
ORDERS = {"shifted": [None, 0, 1, 2, 3, 4], "swapped": [3, 1, 2, 0, 4, 5], "cycled": [2, 3, 4, 5, 0, 1], "reversed": [5, 4, 3, 2, 1, 0],
          "repeated": [0, 0, 1, 2, 3, 4], "shifted by two": [None, None, 0, 1, 2, 3]}  # fmt: skip


def _moved(base: Tensors, order: list[int | None], rng: np.random.Generator) -> Tensors:
    """Layers in another order; where none is named one that does nothing, with weights and gains of its own."""
    out = some_layers(base, [0 if x is None else x for x in order])
    for new in (i for i, x in enumerate(order) if x is None):
        for name in (n for n in out if f".layers.{new}." in n):
            shape = out[name].shape
            idle = name.endswith(("o_proj.weight", "down_proj.weight"))
            out[name] = np.zeros(shape, np.float32) if idle else (0.05 * rng.standard_normal(shape) + (len(shape) == 1)).astype(np.float32)
    return out


DISGUISES: dict[str, Any] = {
    "as it is": lambda w, rng: w,
    "new embeddings": new_embeddings,
    "rotated": lambda w, rng: turned(w, rotation(rng, 64)),
    "rotated, new embeddings": lambda w, rng: new_embeddings(turned(w, rotation(rng, 64)), rng),
    "units, heads and residual stream": lambda w, rng: turned(reordered_heads(reordered_units(w, rng), CONFIG, rng), rotation(rng, 64)),
    "everything": lambda w, rng: all_disguised(w, CONFIG, rng),
}


def _statuses(v: Verdict) -> dict[int, str]:
    return {p.layer: p.status for p in v.parts if p.layer >= 0}


@pytest.mark.parametrize("disguise", list(DISGUISES))
@pytest.mark.parametrize("order", list(ORDERS))
def test_every_layer_of_a_is_found_where_it_stands(tmp_path: Path, order: str, disguise: str) -> None:
    rng = np.random.default_rng(7)
    child = DISGUISES[disguise](_moved(noisy(PARENT, rng, 0.1), ORDERS[order], rng), rng)
    v = begat.compare(write(tmp_path / "a", PARENT, CONFIG), write(tmp_path / "b", child, CONFIG))
    assert v.verdict in ("derived-or-shared-initialisation", "partly-derived") and v.alignment is not None
    held = {i: x for i, x in enumerate(ORDERS[order]) if x is not None}
    assert {i for i, status in _statuses(v).items() if status == "dependent"} == set(held)
    assert {m.layer_b: m.layer_a for m in v.alignment.layers} == held
    moved = [p for p in v.parts if p.layer in held and held[p.layer] != p.layer]
    assert all(f"layer {held[p.layer]} of A" in p.why for p in moved)
    assert {(c.layer, c.source) for c in v.claims if c.about == "counterpart"} == set(held.items())


@pytest.mark.parametrize("disguise", list(DISGUISES))
def test_a_stranger_with_moved_layers_is_cleared(tmp_path: Path, disguise: str) -> None:
    rng = np.random.default_rng(8)
    other = DISGUISES[disguise](_moved(OTHER, ORDERS["shifted"], rng), rng)
    v = begat.compare(write(tmp_path / "a", PARENT, CONFIG), write(tmp_path / "b", other, CONFIG))
    assert v.verdict == "no-evidence" and v.log10_e is not None and v.log10_e < 2
    assert v.alignment is not None and not v.alignment.layers
    assert "dependent" not in _statuses(v).values()


def _some(w: Tensors, changed: Tensors, layers: set[int]) -> Tensors:
    return {n: changed[n] if ".layers." in n and int(n.split(".")[2]) in layers else x for n, x in w.items()}


def test_layers_reordered_inside_are_not_said_to_show_none(tmp_path: Path) -> None:
    """Units and heads of two layers stand in another order; the others stand as they were, one is new."""
    rng = np.random.default_rng(9)
    child = noisy(PARENT, rng, 0.1)
    child = _some(child, reordered_heads(reordered_units(child, rng), CONFIG, rng), {1, 4})
    child = _some(child, OTHER, {3})
    v = begat.compare(write(tmp_path / "a", PARENT, CONFIG), write(tmp_path / "b", child, CONFIG))
    assert v.verdict == "partly-derived"
    assert _statuses(v) == {0: "dependent", 1: "dependent", 2: "dependent", 3: "no-evidence", 4: "dependent", 5: "dependent"}
    found = next(p for p in v.parts if p.layer == 3)
    assert "all 6 layers of A" in found.why and "any order" in found.why


@pytest.mark.parametrize("disguise", ["as it is", "rotated", "units, heads and residual stream"])
def test_layers_of_another_model_show_none(tmp_path: Path, disguise: str) -> None:
    rng = np.random.default_rng(10)
    child = DISGUISES[disguise](stitched(noisy(PARENT, rng, 0.1), OTHER, range(3, 6)), rng)
    v = begat.compare(write(tmp_path / "a", PARENT, CONFIG), write(tmp_path / "b", child, CONFIG))
    assert _statuses(v) == dict.fromkeys(range(3), "dependent") | dict.fromkeys(range(3, 6), "no-evidence")


def test_attention_kept_in_another_order_forbids_none(tmp_path: Path) -> None:
    """MLPs are new, heads and their insides stand in another order: the units are not A's, the attention is."""
    rng = np.random.default_rng(11)
    child = {n: OTHER[n] if ".mlp." in n or "norm" in n else w for n, w in noisy(PARENT, rng, 0.1).items()}
    v = begat.compare(write(tmp_path / "a", PARENT, CONFIG), write(tmp_path / "b", reordered_heads(child, CONFIG, rng), CONFIG))
    assert set(_statuses(v).values()) <= {"undetermined", "dependent"}
    assert any("attention heads resemble" in p.why for p in v.parts)


def test_without_a_search_a_layer_is_undetermined(tmp_path: Path) -> None:
    rng = np.random.default_rng(12)
    a = write(tmp_path / "a", PARENT, CONFIG)
    b = write(tmp_path / "b", some_layers(noisy(PARENT, rng, 0.1), [3, 1, 2, 0, 4, 5]), CONFIG)
    for options in ({"align": False}, {"map": "none"}):
        v = begat.compare(a, b, **options)  # type: ignore[arg-type]
        assert _statuses(v) == {0: "undetermined", 1: "dependent", 2: "dependent", 3: "undetermined", 4: "dependent", 5: "dependent"}
        assert "own index" in next(p.why for p in v.parts if p.layer == 0)


def test_layers_that_cannot_all_be_looked_at_are_not_tested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest, "_MOST_WORK", 1.0)
    rng = np.random.default_rng(13)
    child = stitched(noisy(PARENT, rng, 0.1), OTHER, range(3, 6))
    v = begat.compare(write(tmp_path / "a", PARENT, CONFIG), write(tmp_path / "b", child, CONFIG))
    assert [_statuses(v)[i] for i in (3, 4, 5)] == ["no-evidence", "not-tested", "not-tested"]


def _gpt2(rng: np.random.Generator, layers: int = 4, width: int = 48, units: int = 96) -> tuple[Tensors, dict[str, Any]]:
    """A plain MLP without a gate, under GPT-2's names and in its layout."""
    config = {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_embd": width, "n_layer": layers, "n_head": 4, "vocab_size": 120}

    def drawn(*shape: int) -> np.ndarray:
        return (0.1 * rng.standard_normal(shape)).astype(np.float32)

    out: Tensors = {"transformer.wte.weight": drawn(120, width), "transformer.wpe.weight": drawn(32, width)}
    for i in range(layers):
        p = f"transformer.h.{i}."
        shapes = {"attn.c_attn": (width, 3 * width), "attn.c_proj": (width, width), "mlp.c_fc": (width, units), "mlp.c_proj": (units, width)}
        for name, shape in shapes.items():
            out |= {f"{p}{name}.weight": drawn(*shape), f"{p}{name}.bias": drawn(shape[1])}
        out |= {f"{p}{n}.{part}": 1 + drawn(width) for n in ("ln_1", "ln_2") for part in ("weight", "bias")}
    return out, config


def _gpt2_moved(w: Tensors, order: list[int], rng: np.random.Generator | None = None) -> Tensors:
    """Layers in another order, their units as well where a generator is given."""
    out = {n: x for n, x in w.items() if ".h." not in n}
    for new, old in enumerate(order):
        out |= {n.replace(f".h.{old}.", f".h.{new}."): x for n, x in w.items() if f".h.{old}." in n}
        if rng is not None:
            p, at = f"transformer.h.{new}.mlp.", rng.permutation(len(w[f"transformer.h.{old}.mlp.c_fc.bias"]))
            out |= {f"{p}c_fc.weight": out[f"{p}c_fc.weight"][:, at], f"{p}c_fc.bias": out[f"{p}c_fc.bias"][at],
                f"{p}c_proj.weight": out[f"{p}c_proj.weight"][at]}
    return out


@pytest.mark.parametrize("reordered", [False, True])
@pytest.mark.parametrize("order", [[3, 1, 2, 0], [2, 3, 0, 1], [0, 0, 1, 2]])
def test_plain_mlps_under_other_names(tmp_path: Path, order: list[int], reordered: bool) -> None:
    rng = np.random.default_rng(14)
    parent, config = _gpt2(rng)
    child = _gpt2_moved(noisy(parent, rng, 0.1), order, rng if reordered else None)
    v = begat.compare(write(tmp_path / "a", parent, config), write(tmp_path / "b", child, config))
    assert set(_statuses(v).values()) == {"dependent"}
    assert v.alignment is not None and {m.layer_b: m.layer_a for m in v.alignment.layers} == dict(enumerate(order))
    stranger, _ = _gpt2(rng)
    apart = begat.compare(tmp_path / "a", write(tmp_path / "c", _gpt2_moved(stranger, order, rng), config))
    assert apart.verdict == "no-evidence" and "dependent" not in _statuses(apart).values()


def _with_vision(w: Tensors, vision: Tensors) -> Tensors:
    """Llama's layers twice: as the language model and under the names of a vision tower."""
    out = {f"language_model.{n}": x for n, x in w.items()}
    for name, x in vision.items():
        if ".layers." in name and "norm" not in name:
            name = name.replace("model.layers.", "vision_tower.vision_model.encoder.layers.")
            out[name.replace("mlp.up_proj", "mlp.fc1").replace("mlp.down_proj", "mlp.fc2")] = x
    return {n: x for n, x in out.items() if not (n.startswith("vision") and "gate_proj" in n)}


@pytest.mark.parametrize("order", [[1, 0, 2, 3, 4, 5], [5, 0, 1, 2, 3, 4]])
def test_layers_of_another_tower_are_searched_too(tmp_path: Path, order: list[int]) -> None:
    rng = np.random.default_rng(15)
    config = {"model_type": "llava", "architectures": ["LlavaForConditionalGeneration"], "text_config": CONFIG,
              "vision_config": {"hidden_size": 64, "num_hidden_layers": 6, "num_attention_heads": 4, "intermediate_size": 96}}  # fmt: skip
    eyes, _ = llama(rng, **SHAPE | {"num_key_value_heads": 4})
    a = write(tmp_path / "a", _with_vision(PARENT, eyes), config)
    seen = noisy(eyes, rng, 0.1)
    v = begat.compare(a, write(tmp_path / "b", _with_vision(noisy(PARENT, rng, 0.1), some_layers(seen, order)), config))
    parts = {p.layer: p for p in v.parts if p.tower == "vision" and p.layer >= 0}
    assert {p.status for p in parts.values()} == {"dependent"}
    assert all(f"layer {x} of A" in parts[i].why for i, x in enumerate(order) if i != x)
    half = _some(seen, llama(rng, **SHAPE | {"num_key_value_heads": 4})[0], {3, 4, 5})
    v = begat.compare(a, write(tmp_path / "c", _with_vision(OTHER, half), config))
    statuses = {(p.tower, p.layer): p.status for p in v.parts if p.layer >= 0}
    assert [statuses["vision", i] for i in range(6)] == ["dependent"] * 3 + ["no-evidence"] * 3
    assert {statuses["text", i] for i in range(6)} == {"no-evidence"}


def test_resemblance_says_why_there_is_none(tmp_path: Path) -> None:
    a, b = (resolve(begat.open_checkpoint(write(tmp_path / n, w, CONFIG))) for n, w in (("a", PARENT), ("b", OTHER)))
    found = resemblance(a, b, 1, Features())
    assert not isinstance(found, str) and found.apart.shape == (6, 6) and found.likest(2, 3)[0] in range(6)
    none = {n: w for n, w in OTHER.items() if "o_proj" not in n}
    c = resolve(begat.open_checkpoint(write(tmp_path / "c", none, CONFIG)))
    assert "attention heads" in str(resemblance(a, c, 1, Features()))


def test_a_search_over_moved_layers_pays_for_itself(tmp_path: Path) -> None:
    """Alignment as a whole, on models that share all features and no order, their layers moved: E[e] <= 1."""
    rng = np.random.default_rng(16)
    logs = []
    for draw in range(24):
        w, c = llama(rng, **SHAPE | {"hidden_size": 32, "head_dim": 8, "num_hidden_layers": 4})
        other = turned(reordered_heads(reordered_units(some_layers(w, [3, 0, 0, 2]), rng), c, rng), np.eye(32, dtype=np.float32)[:, rng.permutation(32)])
        models = [resolve(begat.open_checkpoint(write(tmp_path / n, x, c))) for n, x in (("a", w), ("b", other))]
        found = align(*models, draw, "", None)
        assert found.log10_e is not None
        logs.append(found.log10_e)
    assert max(logs) < 3 and np.mean([10**x for x in logs]) < 2.5
