"""The adapter's permutation test: its e-value under the null, and its power for factors as gradients leave them."""

from __future__ import annotations

import numpy as np

from begat.signals.adapter import lean, unit_parts, value_parts

UNITS, WIDTH, RANK = 32, 16, 2


def e_value(rng: np.random.Generator, related: bool) -> float:
    """One layer's: weights with a structure that all bases share (unit strengths), in an order of its own."""
    strength = np.exp(rng.standard_normal(UNITS))
    weights = tuple(strength[:, None] * rng.standard_normal((UNITS, WIDTH)) for _ in range(3))
    down_DM = weights[2].T
    source = down_DM if related else (np.exp(rng.standard_normal(UNITS))[:, None] * rng.standard_normal((UNITS, WIDTH))).T
    up = (source.T @ rng.standard_normal((WIDTH, RANK)), rng.standard_normal((RANK, WIDTH)))
    down = (rng.standard_normal((WIDTH, RANK)), rng.standard_normal((RANK, UNITS)))
    parts = unit_parts(None, up, down, (weights[0], weights[1], down_DM))
    return float(np.exp(lean(parts, [np.arange(UNITS), *(rng.permutation(UNITS) for _ in range(60))]).log_e))


def test_e_values_of_strangers_have_mean_at_most_one() -> None:
    rng = np.random.default_rng(1)
    es = np.array([e_value(rng, related=False) for _ in range(1500)])
    assert es.mean() <= 1 + 3 * es.std() / len(es) ** 0.5
    assert (es >= 20).mean() <= 1 / 20


def test_the_base_is_found() -> None:
    rng = np.random.default_rng(2)
    es = np.array([e_value(rng, related=True) for _ in range(50)])
    assert np.median(es) > 10


def test_value_dims_are_shuffled_inside_heads_only() -> None:
    """A statistic over value dims that the true order maximises."""
    rng = np.random.default_rng(3)
    out_NV = rng.standard_normal((24, 16))
    b_VR = out_NV.T @ rng.standard_normal((24, 2))
    orders = [np.arange(16), *(np.concatenate([rng.permutation(8), 8 + rng.permutation(8)]) for _ in range(99))]
    found = lean(value_parts(b_VR, out_NV), orders)
    assert found.z > 2 and found.log_e > 1
