"""Models whose units were split: what is served in place of them, where the units stand, and that such children are found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import begat
from begat.canon.model import Canonical
from begat.canon.resolve import resolve
from begat.pipeline import merged
from begat.pipeline.merged import merged_units
from begat.types import TensorKey
from builders import Tensors, llama, noisy, reordered_units, write
from disguises import new_embeddings, reordered_heads, rotation, turned

SHAPE: dict[str, Any] = {"hidden_size": 64, "num_hidden_layers": 4, "intermediate_size": 96, "num_attention_heads": 4, "num_key_value_heads": 2,
                         "head_dim": 16, "vocab_size": 160}  # fmt: skip
RNG = np.random.default_rng(51)
PARENT, CONFIG = llama(RNG, **SHAPE)
OTHER, _ = llama(RNG, **SHAPE)


def split(tensors: Tensors, by: str, rng: np.random.Generator, layers: range = range(4), ways: int = 2, appended: bool = False) -> Tensors:
    """Every unit of these layers in `ways` pieces side by side (or one lot of pieces after the other); other layers padded with idle units."""
    out = dict(tensors)
    for i in range(4):
        gate, up, down = (f"model.layers.{i}.mlp.{n}_proj.weight" for n in ("gate", "up", "down"))
        g, u, d = tensors[gate], tensors[up], tensors[down].T
        if i not in layers:
            more = np.zeros(((ways - 1) * len(g), g.shape[1]), dtype=np.float32)
            out |= {gate: np.concatenate([g, more]), up: np.concatenate([u, more]), down: np.concatenate([d, more]).T}
            continue
        r = 3 * (d if by == "down" else u).std() * rng.standard_normal((ways, *d.shape)).astype(np.float32)
        r -= r.mean(axis=0)
        downs, ups = [d / ways + (r[k] if by == "down" else 0) for k in range(ways)], [u + (r[k] if by == "up" else 0) for k in range(ways)]
        put = np.concatenate if appended else lambda x: np.stack(x, axis=1).reshape(-1, x[0].shape[1])
        out |= {gate: put([g] * ways), up: put(ups), down: put(downs).T}
    return {n: np.ascontiguousarray(w, dtype=np.float32) for n, w in out.items()}


def disguised(tensors: Tensors, rng: np.random.Generator) -> Tensors:
    return turned(reordered_heads(reordered_units(tensors, rng), CONFIG, rng), rotation(rng, SHAPE["hidden_size"]))


def _config(tensors: Tensors) -> dict[str, Any]:
    return CONFIG | {"intermediate_size": len(tensors["model.layers.0.mlp.up_proj.weight"])}


def _opened(folder: Path, tensors: Tensors, config: dict[str, Any] | None = None) -> Canonical:
    return resolve(begat.open_checkpoint(write(folder, tensors, config or _config(tensors))))


@pytest.mark.parametrize("by", ["up", "down"])
@pytest.mark.parametrize(("ways", "layers", "appended"), [(2, range(4), False), (3, range(4), True), (2, range(1, 3), False)])
def test_what_is_served_is_the_model_before_the_split(tmp_path: Path, by: str, ways: int, layers: range, appended: bool) -> None:
    a = _opened(tmp_path / "a", PARENT)
    b = _opened(tmp_path / "b", split(PARENT, by, np.random.default_rng(1), layers, ways, appended))
    (same, nothing), (whole, done) = merged_units(a, b, 5)
    assert same is a and nothing == "" and f"{96 * ways * 4:,} units of 4 MLPs" in done
    some = np.array([3, 90, 41])
    for key, t in a.tensors.items():
        found = whole.tensors[key]
        assert found.shape == t.shape
        x, y = whole.read(key), a.read(key)
        if "mlp" in key.role and not t.is_vector:
            units = [m.T if "down" in key.role else m for m in (x, y)]
            units = [m / np.linalg.norm(m, axis=1, keepdims=True) for m in units]  # up row and down column may trade a factor
            assert units[0] == pytest.approx(units[1], abs=1e-3)
            assert whole.read(key, some[:2] % t.shape[0]) == pytest.approx(x[some[:2] % t.shape[0]])
            assert whole.checkpoint.read(found.name, some % t.shape[0], slice(2, 9)) == pytest.approx(x[some % t.shape[0], 2:9])
            raw = whole.raw(key, some % t.shape[0])
            assert raw is None or raw.shape == (3, t.shape[1] * 4)
        else:
            assert np.array_equal(x, y)


def test_biases_and_transposed_matrices_go_with_their_units(tmp_path: Path) -> None:
    """GPT-2 stores matrices as [in, out] and has biases."""
    rng = np.random.default_rng(3)
    width, units = 32, 80
    config = {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_embd": width, "n_layer": 2, "n_head": 4, "vocab_size": 60}

    def drawn(*shape: int) -> np.ndarray:
        return (0.1 * rng.standard_normal(shape)).astype(np.float32)

    model: Tensors = {"transformer.wte.weight": drawn(60, width), "transformer.wpe.weight": drawn(16, width)}
    for i in range(2):
        p = f"transformer.h.{i}."
        shapes = {"attn.c_attn": (width, 3 * width), "attn.c_proj": (width, width), "mlp.c_fc": (width, units), "mlp.c_proj": (units, width)}
        for name, shape in shapes.items():
            model |= {f"{p}{name}.weight": drawn(*shape), f"{p}{name}.bias": drawn(shape[1])}
        model |= {f"{p}{n}.{part}": 1 + drawn(width) for n in ("ln_1", "ln_2") for part in ("weight", "bias")}
    cut = dict(model)
    for i in range(2):
        fc, proj = (f"transformer.h.{i}.mlp.{n}" for n in ("c_fc", "c_proj"))
        r = 2 * drawn(units, width)
        cut[f"{fc}.weight"] = np.repeat(model[f"{fc}.weight"], 2, axis=1)
        cut[f"{fc}.bias"] = np.repeat(model[f"{fc}.bias"], 2)
        cut[f"{proj}.weight"] = np.stack([0.3 * model[f"{proj}.weight"] + r, 0.7 * model[f"{proj}.weight"] - r], axis=1).reshape(-1, width)
    a, b = (_opened(tmp_path / n, w, config) for n, w in (("a", model), ("b", cut)))
    _, (whole, done) = merged_units(a, b, 1)
    assert done
    for key in a.tensors:
        if "mlp." in key.role:
            assert whole.read(key) == pytest.approx(a.read(key), abs=1e-5), key
    v = begat.compare(tmp_path / "a", tmp_path / "b")
    assert v.verdict in ("derived-or-shared-initialisation", "derived")
    assert {p.status for p in v.parts if p.layer >= 0} == {"dependent"}


def test_groups_of_unequal_size_stand_where_one_of_theirs_stood_by_chance(tmp_path: Path) -> None:
    """Where some units were split and their pieces put last, the first piece would put every split unit before its place by size alone."""
    i, key = 0, TensorKey("text", 0, "mlp.gate.weight")
    gate, up, down = (f"model.layers.{i}.mlp.{n}_proj.weight" for n in ("gate", "up", "down"))
    cut = dict(PARENT)
    for name in (gate, up):
        cut[name] = np.concatenate([PARENT[name], PARENT[name][:40]])
    halved = PARENT[down].copy()
    halved[:, :40] /= 2
    cut[down] = np.concatenate([halved, halved[:, :40]], axis=1)
    whole = {n: w for n, w in cut.items() if ".layers.0." in n or ".layers." not in n}
    model = _opened(tmp_path / "b", whole, CONFIG | {"num_hidden_layers": 1, "intermediate_size": 136})
    other = _opened(tmp_path / "a", {n: PARENT[n] for n in whole}, CONFIG | {"num_hidden_layers": 1})
    orders = []
    for seed in range(20):
        _, (made, done) = merged_units(other, model, seed)
        rows = made.read(key)
        orders.append([int(np.abs(PARENT[gate] - row).sum(axis=1).argmin()) for row in rows])
        assert done and sorted(orders[-1]) == list(range(96))
    first = np.array([[order.index(i) for i in range(40)] for order in orders])
    assert 0.3 < (first < 40).mean() < 0.7 and len({tuple(o) for o in orders}) == 20


@pytest.mark.parametrize("by", ["up", "down"])
@pytest.mark.parametrize("ways", [2, 4])
def test_a_split_and_wholly_disguised_child_is_found(tmp_path: Path, by: str, ways: int) -> None:
    rng = np.random.default_rng(ways)
    a = write(tmp_path / "a", PARENT, CONFIG)
    for name, change in (("tokens", lambda w: w), ("none", lambda w: new_embeddings(w, rng))):
        child = change(disguised(split(noisy(PARENT, rng, 0.1), by, rng, ways=ways), rng))
        v = begat.compare(a, write(tmp_path / name, child, _config(child)))
        assert v.verdict == "derived-or-shared-initialisation" and v.alignment is not None and v.alignment.views is not None
        assert v.alignment.views.share > 0.9 and [(m.layer_b, m.layer_a) for m in v.alignment.layers] == [(i, i) for i in range(4)]
        assert v.alignment.undone and v.alignment.undone[0].startswith("B: ")
    stranger = disguised(split(OTHER, by, rng, ways=ways), rng)
    apart = begat.compare(a, write(tmp_path / "stranger", stranger, _config(stranger)))
    assert apart.verdict == "no-evidence" and apart.alignment is not None and apart.alignment.undone


def test_units_split_in_place_keep_their_order(tmp_path: Path) -> None:
    """The exact ways gain as well: with attention and embeddings drawn anew only the units' order is left."""
    rng = np.random.default_rng(9)
    child = split(noisy(PARENT, rng, 0.2), "down", rng)
    child |= {n: w for n, w in llama(rng, **SHAPE)[0].items() if "self_attn" in n or ".layers." not in n}
    v = begat.compare(write(tmp_path / "a", PARENT, CONFIG), write(tmp_path / "b", child, _config(child)))
    assert v.verdict == "derived-or-shared-initialisation" and v.log10_e is not None and v.log10_e > 100


def test_equal_widths_are_looked_at_in_a_few_layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    has_twins = merged._has_twins
    monkeypatch.setattr(merged, "_has_twins", lambda model, block, seed: read.append(block.layer) or has_twins(model, block, seed))
    a, b = (_opened(tmp_path / n, w) for n, w in (("a", PARENT), ("b", OTHER)))
    assert merged_units(a, b, 1) == ((a, ""), (b, ""))
    assert sorted(set(read)) == [0, 2]
    both = [_opened(tmp_path / n, split(w, "down", RNG)) for n, w in (("c", PARENT), ("d", PARENT))]
    assert all("768 units of 4 MLPs" in words for _, words in merged_units(*both, 1))
