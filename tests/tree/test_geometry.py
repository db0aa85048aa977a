"""Corners: the formula against vectors, and its intervals against simulated measurement."""

from __future__ import annotations

import numpy as np
import pytest

from begat.tree.geometry import Geometry


def angles(v_NF: np.ndarray) -> np.ndarray:
    unit = v_NF / np.linalg.norm(v_NF, axis=1, keepdims=True)
    d = np.arccos(np.clip(unit @ unit.T, -1, 1))
    np.fill_diagonal(d, 0)
    return d


def test_the_corner_is_the_angle_between_tangents():
    """Spherical trigonometry from vectors: project p and q on what is at right angles to v."""
    v = np.random.default_rng(0).standard_normal((3, 40)) + 2.0
    unit = v / np.linalg.norm(v, axis=1, keepdims=True)
    tangents = [x - (x @ unit[0]) * unit[0] for x in unit[1:]]
    expected = tangents[0] @ tangents[1] / np.linalg.norm(tangents[0]) / np.linalg.norm(tangents[1])
    d = angles(v)
    low, high = Geometry(d, np.zeros((3, 3)), 3.0).corner(0, 1, 2)
    flat = (d[0, 1] ** 2 + d[0, 2] ** 2 - d[1, 2] ** 2) / (2 * d[0, 1] * d[0, 2])
    assert sorted((low, high)) == pytest.approx(sorted((expected, flat)))


def test_all_corners_at_once_agree_with_one():
    d = angles(np.random.default_rng(1).standard_normal((6, 30)) + 1.5)
    g = Geometry(d, d * 0.01, 3.0)
    for v in range(6):
        c = g.corners_at(v)
        for p in range(6):
            for q in range(6):
                if len({v, p, q}) == 3:
                    assert (c.low[p, q], c.high[p, q]) == pytest.approx(g.corner(v, p, q))


def test_intervals_cover():
    """Of measured triples, the true corner lies outside the interval no more often than z = 1 allows (31.7 %; both forms widen it)."""
    rng = np.random.default_rng(2)
    true = angles(rng.standard_normal((3, 50)) + 1.5)
    exact = Geometry(true, np.zeros((3, 3)), 0.0).corner(0, 1, 2)
    sd, out = 0.02, 0
    for _ in range(2000):
        noise = np.triu(rng.standard_normal((3, 3)) * sd, 1)
        low, high = Geometry(true + noise + noise.T, np.full((3, 3), sd), 1.0).corner(0, 1, 2)
        out += not (low <= exact[1] and exact[0] <= high)
    assert 0 < out <= 0.317 * 2000


def test_missing_and_blind_distances_say_nothing():
    d = np.array([[0, 0.2, np.nan], [0.2, 0, 0.3], [np.nan, 0.3, 0]])
    assert Geometry(d, d * 0.01, 3.0).corner(1, 0, 2) == (-np.inf, np.inf)
    d = np.array([[0, 0.001, 0.3], [0.001, 0, 0.3], [0.3, 0.3, 0]])
    assert Geometry(d, np.full((3, 3), 0.001), 3.0).corner(0, 1, 2) == (-np.inf, np.inf)


@pytest.mark.parametrize("angle", [0.05, 0.3, 1.0])
def test_shared_bits_have_the_variance_that_is_computed(angle):
    """Sign bits of three vectors along common random directions: the spread of the corner over repetitions is the one predicted, and far below that of
    independent errors where two models are close.
    """
    rng = np.random.default_rng(3)
    v = rng.standard_normal((3, 60))
    v[1] = v[0] + np.tan(angle) * np.linalg.norm(v[0]) * v[1] / np.linalg.norm(v[1])
    v[2] = v[0] + 0.6 * np.linalg.norm(v[0]) * v[2] / np.linalg.norm(v[2])
    bits, found = 4000, []
    root = np.linalg.cholesky(v @ v.T)
    for _ in range(400):
        sign = root @ rng.standard_normal((3, bits)) > 0
        d = np.array([[np.pi * (sign[i] != sign[j]).mean() for j in range(3)] for i in range(3)])
        found.append((np.cos(d[1, 2]) - np.cos(d[0, 1]) * np.cos(d[0, 2])) / (np.sin(d[0, 1]) * np.sin(d[0, 2])))
    true = angles(v)
    sd = np.sqrt(true * (np.pi - true) / bits)
    width = {}
    for shared in (False, True):
        low, high = Geometry(true, sd, 1.0, shared).corner(0, 1, 2)
        exact = Geometry(true, sd * 0, 0.0, shared).corner(0, 1, 2)
        width[shared] = ((high - low) - (exact[1] - exact[0])) / 2
    assert width[True] == pytest.approx(np.std(found), rel=0.15)
    if angle == 0.05:
        assert width[True] < 0.6 * width[False]
