"""Trained-state agreement on weights whose initial and learned parts are known."""

from __future__ import annotations

import numpy as np
import pytest

from begat.signals.agreement import Sums, cell
from begat.signals.trained import trained_agreement
from begat.types import MapCell, TensorKey

SD, SHAPE = 0.02, (128, 64)
LAYERS = {("text", i) for i in range(4)}


def cells(a: dict[TensorKey, np.ndarray], b: dict[TensorKey, np.ndarray]) -> list[MapCell]:
    out = []
    for key, x in a.items():
        sums, y = Sums(), b[key]
        (sums.add_vector if x.ndim == 1 else sums.add)(x.astype(np.float32), y.astype(np.float32))
        out.append(cell(key, sums, x.size, x.ndim == 1))
    return out


def draw(rng: np.random.Generator, matrix_sd: float, gain_sd: float) -> dict[TensorKey, np.ndarray]:
    out = {}
    for tower, layer in sorted(LAYERS):
        for role in ("attn.q.weight", "mlp.up.weight", "mlp.down.weight"):
            out[TensorKey(tower, layer, role)] = matrix_sd * rng.standard_normal(SHAPE)
        out[TensorKey(tower, layer, "mlp.norm.gain")] = gain_sd * rng.standard_normal(SHAPE[1])
    return out


def plus(*models: dict[TensorKey, np.ndarray]) -> dict[TensorKey, np.ndarray]:
    return {k: sum(m[k] for m in models) for k in models[0]}  # type: ignore[misc]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


@pytest.mark.parametrize("common", [0.0, 0.3, 0.7])
def test_share_of_twins_is_the_common_part_of_what_they_learned(rng: np.random.Generator, common: float) -> None:
    """Learned parts correlate at `common`; the share is that correlation, the gains' likewise."""
    start = plus(draw(rng, SD, 0), {k: np.ones(SHAPE[1]) * k.role.endswith("gain") for k in draw(rng, 1, 1)})
    both, mine, other = (draw(rng, 1.2 * SD, 0.1) for _ in range(3))
    a, b = (plus(start, {k: np.sqrt(common) * both[k] + np.sqrt(1 - common) * own[k] for k in own}) for own in (mine, other))
    found = trained_agreement(cells(a, b), LAYERS, SD)
    assert found.share == pytest.approx(common, abs=0.03)
    assert found.gains == pytest.approx(common, abs=0.15)
    assert found.energy_a == pytest.approx(1 + 1.2**2, rel=0.03)


def test_share_of_a_child_is_one_however_far_it_went(rng: np.random.Generator) -> None:
    parent = plus(draw(rng, SD, 0), draw(rng, SD, 0.1))
    for drift in (0.1, 1.0, 3.0):
        child = plus(parent, draw(rng, drift * SD, drift * 0.02))
        for pair in (cells(parent, child), cells(child, parent)):
            assert trained_agreement(pair, LAYERS, SD).share == pytest.approx(1, abs=0.1)


def test_what_cannot_be_computed_is_none(rng: np.random.Generator) -> None:
    start = draw(rng, SD, 0)
    same = cells(start, start)
    assert trained_agreement(same, LAYERS, None).share is None
    assert trained_agreement(same, set(), SD).energy_a is None
    assert trained_agreement(same, LAYERS, SD).gains is None  # all gains are constant
    decayed = {k: 0.5 * w for k, w in start.items()}
    assert trained_agreement(cells(start, decayed), LAYERS, SD).share is None  # less than the initial energy is left


def test_only_the_named_layers_and_roles_count(rng: np.random.Generator) -> None:
    a, b = plus(draw(rng, SD, 0), draw(rng, SD, 0.1)), plus(draw(rng, SD, 0), draw(rng, SD, 0.1))
    for key in a:
        if key.layer == 0 or "down" in key.role:
            b[key] = a[key]
    assert trained_agreement(cells(a, b), {("text", 0)}, SD).share == pytest.approx(1)
    assert abs(trained_agreement(cells(a, b), LAYERS - {("text", 0)}, SD).share or 9) < 1.2
    assert trained_agreement(cells(a, b), LAYERS - {("text", 0)}, SD).overlap == pytest.approx(0, abs=0.05)
