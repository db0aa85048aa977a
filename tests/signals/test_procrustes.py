"""The map of Procrustes against a singular value decomposition."""

from __future__ import annotations

import numpy as np
import pytest

from begat.signals.procrustes import rotation

RNG = np.random.default_rng(3)


def _cross(rows: int, d: int, e: int, spread: float) -> np.ndarray:
    return (RNG.standard_normal((rows, d)) * np.logspace(0, -spread, d)).T @ RNG.standard_normal((rows, e))


@pytest.mark.parametrize(("d", "e"), [(48, 48), (40, 64), (64, 40)])
@pytest.mark.parametrize("spread", [0.0, 2.0])
def test_it_is_the_polar_factor(d: int, e: int, spread: float) -> None:
    cross = _cross(400, d, e, spread)
    u, _, v = np.linalg.svd(cross, full_matrices=False)
    assert np.abs(rotation(cross) - u @ v).max() < 1e-4


@pytest.mark.parametrize(("rows", "d", "e", "spread"), [(10, 48, 48, 0.0), (5, 40, 64, 0.0), (5, 64, 40, 0.0), (300, 48, 48, 9.0), (1, 8, 8, 0.0)])
def test_directions_that_nothing_pulls_are_filled_up(rows: int, d: int, e: int, spread: float) -> None:
    cross = _cross(rows, d, e, spread)
    q = rotation(cross).astype(np.float64)
    inner = q @ q.T if d <= e else q.T @ q
    assert np.abs(inner - np.eye(len(inner))).max() < 1e-4
    assert float((q * cross).sum()) == pytest.approx(np.linalg.svd(cross, compute_uv=False).sum(), rel=1e-4)


@pytest.mark.parametrize(("d", "e"), [(6, 6), (6, 9), (9, 6)])
def test_nothing_at_all_gives_any_map(d: int, e: int) -> None:
    q = rotation(np.zeros((d, e)))
    assert q.shape == (d, e)
    assert np.abs((q @ q.T if d <= e else q.T @ q) - np.eye(min(d, e))).max() < 1e-6


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_scale_does_not_matter(scale: float) -> None:
    cross = _cross(100, 12, 12, 0.0)
    assert rotation(cross * scale) == pytest.approx(rotation(cross), abs=1e-5)
