"""Coefficients: known merges over shapes, types and noise; coverage of the intervals; parents that cannot be told apart."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from begat.signals.merge import arc_point, fit, moments, pooled

TYPES = {"f32": np.float32, "f16": np.float16, "bf16": ml_dtypes.bfloat16}


def relatives(rng: np.random.Generator, count: int, shape: tuple[int, int], alike: float) -> list[np.ndarray]:
    """Matrices of one variance with correlation `alike`."""
    root = rng.standard_normal(shape)
    return [(0.05 * (alike**0.5 * root + (1 - alike) ** 0.5 * rng.standard_normal(shape))).astype(np.float32) for _ in range(count)]


def stored(values: np.ndarray, kind: str) -> np.ndarray:
    return values.astype(TYPES[kind]).astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32), count=st.integers(1, 5), rows=st.integers(16, 90), cols=st.integers(16, 90),
    kind=st.sampled_from(sorted(TYPES)), alike=st.sampled_from([0.0, 0.5, 0.9]),
)  # fmt: skip
def test_a_stored_merge_gives_its_coefficients_back(seed: int, count: int, rows: int, cols: int, kind: str, alike: float) -> None:
    rng = np.random.default_rng(seed)
    parents = [stored(p, kind) for p in relatives(rng, count, (rows, cols), alike)]
    truth = rng.dirichlet(np.ones(count)) * rng.uniform(0.5, 1.5)
    truth[rng.random(count) < 0.2] = 0
    child = stored(sum((c * p for c, p in zip(truth, parents, strict=True)), np.zeros((rows, cols))).astype(np.float32), kind)
    found = fit(moments(child, parents))
    assert np.abs(found.value_P - truth).max() < 0.05
    assert (found.low_P <= found.value_P + 1e-12).all() and (found.value_P <= found.high_P + 1e-12).all()
    assert found.residual < 1e-3


@pytest.mark.parametrize("uneven", [False, True])
@pytest.mark.parametrize("truth", [(0.5, 0.3, 0.2), (0.7, 0.3, 0.0)])
def test_95_percent_intervals_cover(truth: tuple[float, ...], uneven: bool) -> None:
    """Noise alike in all values, and noise whose size differs from row to row."""
    rng = np.random.default_rng(5)
    covered = np.zeros(3)
    trials = 400
    for _ in range(trials):
        parents = relatives(rng, 3, (40, 30), 0.6)
        rest = rng.standard_normal((40, 30)) * (np.exp(rng.standard_normal((40, 1))) if uneven else 1.0)
        child = (sum(c * p for c, p in zip(truth, parents, strict=True)) + 0.03 * rest).astype(np.float32)
        found = fit(moments(child, parents))
        covered += (found.low_P <= truth) & (np.array(truth) <= found.high_P)
    assert (covered / trials >= 0.93).all(), covered / trials


def test_95_percent_intervals_cover_coefficients_that_vary_from_tensor_to_tensor() -> None:
    """The mean coefficient over tensors, each of which has its own."""
    rng = np.random.default_rng(6)
    covered = np.zeros(2)
    trials = 300
    for _ in range(trials):
        parts = []
        for _ in range(24):
            parents = relatives(rng, 2, (20, 20), 0.3)
            own = np.array([0.6, 0.4]) + 0.1 * rng.standard_normal(2)
            parts.append(moments((own[0] * parents[0] + own[1] * parents[1]).astype(np.float32), parents))
        found = fit(pooled(parts, evenly=True))
        covered += (found.low_P <= (0.6, 0.4)) & (found.high_P >= (0.6, 0.4))
    assert (covered / trials >= 0.93).all(), covered / trials


def test_a_stranger_gets_nothing() -> None:
    rng = np.random.default_rng(7)
    parent, stranger = relatives(rng, 2, (64, 64), 0.0)
    found = fit(moments(parent + np.float32(0.01) * rng.standard_normal((64, 64)).astype(np.float32), [parent, stranger]))
    assert found.low_P[1] == 0 and found.high_P[1] < 0.02 and abs(found.value_P[0] - 1) < 0.02


def test_equal_parents_are_not_told_apart() -> None:
    rng = np.random.default_rng(8)
    first, other = relatives(rng, 2, (32, 32), 0.2)
    found = fit(moments(0.6 * first + 0.4 * other, [first, first.copy(), other]))
    assert found.identified_P.tolist() == [False, False, True]
    assert found.low_P[0] == 0 and abs(found.high_P[0] - 0.6) < 1e-6
    assert abs(found.value_P[2] - 0.4) < 1e-6


def test_scaled_differences_of_siblings_need_their_base() -> None:
    """base + 1.5 d1 + 0.8 d2 with siblings a hundredth apart: weights fit to the eye with other numbers, but not what sets the siblings apart."""
    rng = np.random.default_rng(9)
    base = relatives(rng, 1, (64, 64), 0.0)[0]
    deltas = [(1e-2 * 0.05 * rng.standard_normal((64, 64))).astype(np.float32) for _ in range(2)]
    child = base + np.float32(1.5) * deltas[0] + np.float32(0.8) * deltas[1]
    plain = fit(moments(child, [base + d for d in deltas]))
    task = fit(moments(child - base, deltas))
    assert plain.residual < 0.001 and plain.condition > 1e3 and plain.change > 0.1
    assert np.abs(plain.value_P - (1.5, 0.8)).max() > 0.3
    assert np.abs(task.value_P - (1.5, 0.8)).max() < 0.01 and task.change < 0.01


def test_zeros_are_no_child_and_no_parent() -> None:
    rng = np.random.default_rng(10)
    (parent,) = relatives(rng, 1, (8, 8), 0.0)
    nothing = np.zeros_like(parent)
    assert fit(moments(nothing, [parent])).value_P.tolist() == [0.0]
    found = fit(moments(parent, [nothing, parent]))
    assert np.allclose(found.value_P, (0, 1)) and np.isfinite([found.low_P, found.high_P]).all()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), t=st.floats(0.05, 0.95), alike=st.sampled_from([0.0, 0.4, 0.8]))
def test_a_point_on_an_arc_gives_its_t_back(seed: int, t: float, alike: float) -> None:
    rng = np.random.default_rng(seed)
    x, y = relatives(rng, 2, (40, 40), alike)
    angle = np.arccos((x * y).sum(dtype=np.float64) / np.linalg.norm(x) / np.linalg.norm(y))
    child = ((np.sin((1 - t) * angle) * x + np.sin(t * angle) * y) / np.sin(angle)).astype(np.float32)
    point = arc_point(moments(child, [x, y]))
    assert point is not None and abs(point.t - t) < 1e-3
    assert abs(point.excess - point.arc_excess) < 1e-3 * max(1, point.arc_excess)
    line = arc_point(moments((1 - np.float32(t)) * x + np.float32(t) * y, [x, y]))
    assert line is not None and abs(line.excess) < 1e-4
