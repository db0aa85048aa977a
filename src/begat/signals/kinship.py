"""Do two layers of *one* model share an order of units?

Enters: features of the same sampled units of several layers of one model.  Leaves: which pairs are alike unit by unit.  The pipeline uses it
to find layers and experts that are copies of each other (tied layers stored twice, up-scaled depth, experts grown from one dense MLP): their
lotteries are one lottery, and where both models have such copies their tests must not be multiplied.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from begat.signals.order import unit_rows
from begat.types import F32

#: random signs per unit: enough to tell copies from strangers, few enough to keep for thousands of tests
SIGNS = 32
#: mean unit cosine from which two layers count as alike, and how many standard deviations of chance it must exceed
_COSINE, _SIGMA = 0.12, 5.0


def signs(features: int, rng: np.random.Generator) -> F32:
    """Random signs [D, SIGNS], one set for all sketches that shall be compared."""
    return rng.choice(np.array([-1, 1], dtype=np.float32), size=(features, SIGNS))


def sketch(blocks: Sequence[F32], signs_DS: F32) -> F32:
    """Features of m units as m·SIGNS numbers whose inner product with another sketch is the mean unit cosine, give or take
    1/sqrt(m·SIGNS).

    Args:
        blocks: as in `order_hits`, [m, D_view] per view.
        signs_DS: from `signs`, D = all views' features together.
    """
    return sketch_of(unit_rows(blocks), signs_DS)


def sketch_of(rows_MD: F32, signs_DS: F32) -> F32:
    """`sketch` of units whose rows are standardised already (`order.unit_rows`)."""
    flat: F32 = (rows_MD @ signs_DS).ravel() / np.float32(np.sqrt(len(rows_MD) * SIGNS))
    return flat


def alike(sketches: Sequence[F32]) -> np.ndarray:
    """[T, T] booleans: which of T sketches of equal length come from units in one order."""
    v_TK = np.stack(sketches)
    # a copy is alike whatever signs were drawn: with two units a sketch's own length varies by a quarter
    v_TK = v_TK / np.maximum(np.linalg.norm(v_TK, axis=1, keepdims=True), 1e-12)
    return np.asarray(v_TK @ v_TK.T > max(_COSINE, _SIGMA / np.sqrt(v_TK.shape[1])))


def independent(a_sketches: Sequence[F32], b_sketches: Sequence[F32]) -> list[bool]:
    """Which of T tests to count: the first of every group that is alike in A *and* alike in B.

    Two tests are independent when either model drew its two orders apart, so only groups alike in both lose tests. The choice looks
    at each model alone, never at A against B.
    """
    both = alike(a_sketches) & alike(b_sketches)
    group = list(range(len(both)))
    for i in range(len(both)):
        for j in np.flatnonzero(both[i, :i]):
            old, new = group[i], group[int(j)]
            if old != new:
                group = [min(old, new) if g in (old, new) else g for g in group]
    return [g not in group[:i] for i, g in enumerate(group)]
