"""Signatures of units: what must not change them does not, and what tells units apart does."""

from __future__ import annotations

import numpy as np
import pytest

from begat.signals.procrustes import rotation
from begat.signals.quadratic import assigned, gram, mutual, pulls, signatures, span, unit

RNG = np.random.default_rng(5)
VIEWS = [unit(RNG.standard_normal((40, 16)).astype(np.float32)) for _ in range(3)]


def _signatures(views: list[np.ndarray], rank: int) -> np.ndarray:
    grams = [gram(x) for x in views]
    e_DR = span(grams, rank)
    return signatures([x @ e_DR for x in views], [e_DR.T @ g @ e_DR for g in grams])


@pytest.mark.parametrize("rank", [16, 8])
def test_signatures_see_no_basis_order_scale_or_sign(rank: int) -> None:
    q = np.linalg.qr(RNG.standard_normal((16, 16)))[0].astype(np.float32)
    order = RNG.permutation(40)
    scale = (RNG.choice([-1, 1], 40) * RNG.uniform(0.5, 2, 40)).astype(np.float32)[:, None]
    gate, up, down = VIEWS
    hidden = [unit((x @ q)[order]) for x in (gate, up * scale, down / scale)]
    mine, theirs = _signatures(VIEWS, rank), _signatures(hidden, rank)
    assert np.abs(theirs - mine[order]).max() < 0.1  # a rank may change where two values are equal but for rounding
    a, b, weight = assigned(mine @ theirs.T, 1.0)
    assert (a == order[b]).all() and weight.min() > 0.99
    other = [unit(RNG.standard_normal((40, 16)).astype(np.float32)) for _ in range(3)]
    assert (mine @ _signatures(other, rank).T).mean() < 0.2


def test_pairs_give_the_map() -> None:
    """Mutual pairs leave out those whose best has a better one; the map comes out of the pairs, up and down flipped together."""
    s = np.array([[0.9, 0.8, 0.1], [0.2, 0.3, 0.1]], dtype=np.float32)
    a, b, weight = mutual(s)
    assert a.tolist() == [0] and b.tolist() == [0] and weight.tolist() == pytest.approx([0.9])
    q = np.linalg.qr(RNG.standard_normal((16, 16)))[0].astype(np.float32)
    sign = RNG.choice([-1, 1], 40).astype(np.float32)
    turned = [x @ q * (sign[:, None] if i else 1) for i, x in enumerate(VIEWS)]
    every = np.arange(40)
    cross = pulls(VIEWS, turned, (every, every, np.ones(40, dtype=np.float32)), sign)
    assert np.abs(rotation(cross) - q).max() < 1e-4
    assert np.abs(rotation(pulls(VIEWS, turned, (every, every, np.ones(40, dtype=np.float32)), None)) - q).max() < 1e-4


def test_rows_of_any_size_get_length_one() -> None:
    """A unit's up row can be scaled by any number and its down column by the inverse (T6): squares of such rows leave float32."""
    x = RNG.standard_normal((6, 64)).astype(np.float32)
    scale = np.array([1, 1e-25, 1e25, 1e-34, 3e37, 0], dtype=np.float32)[:, None]
    with np.errstate(over="ignore"):
        assert np.linalg.norm(unit(x * scale), axis=1) == pytest.approx([1, 1, 1, 1, 1, 0], abs=1e-4)
