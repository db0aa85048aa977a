"""Trained-state agreement: how much of what training added to one model is found in the other.

Enters: pairs of norm gains, and of rows of matrices, at the same indices of A and B.  Leaves: `Agreement`.
Who reads them: `begat.pipeline.trained`.  Who decides: `begat.verdict.trained`, against the bank (`begat.stats.twins`).

Twins, two models trained apart from one draw of initial weights W, pass the order test in full: they share W. What they do not
share is training. Two numbers speak of training alone, and neither asks a config for W's deviation, which configs state wrongly:

- *Norm gains* all start from one constant, so their deviation from the mean of their tensor is training alone. Twins' gains
  correlate: nearly fully at first, since all see the same first gradients, ever less the further the gains have moved.
- *Share.* With mean squares x of the model X that changed less, y of the other, mean product p, and s² the variance of W,
  training added x - s² to X, of which p - s² is found in the other: the share (p - s²) / (x - s²), 1 for parent and child. s² is
  not known; but training moves some rows and columns less than others, so the mean square f of the quietest eighth is at least
  s² (decay aside, which shrinks W itself). (p - f) / (x - f) is at most the true share wherever that is below 1, since it falls
  as f grows; for parent and child it stays 1. What twins do not share they then pay for twice, and mostly fall below 0.

Neither has a null with a proof: twins see alike text and so learn in part alike. Both are calibrated on the lab's twins, and
never used to say that two models are dependent; that is the order test's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from begat.types import F32, F64

_VALUES = 2048  # fewer compared values of matrices say too little
_GAINS = 64  # fewer gains likewise
_QUIET = 8  # the quietest eighth of rows or columns, and at least 4 of them
#: the part of the mean square that must stand above the floor, else there is nothing to divide by
_ABOVE = 0.005


@dataclass(frozen=True, slots=True)
class Agreement:
    """Numbers of one pair, each None where it cannot be computed.

    Attributes:
        gains: correlation of norm gains about the mean of each tensor, in [-1, 1].
        ranks: the same of their ranks within each tensor, which single large gains do not carry.
        moved_a, moved_b: standard deviation of norm gains about the mean of each tensor, in the gains' own unit: how far training
            has moved them; 0 where there are none.
        share: of what training added to the model that changed less, the part found in the other; at most the true one.
        square_a, square_b: mean square of the weights of the matrices.
        quiet_a, quiet_b: the least floor of a matrix: mean square of its quietest eighth of rows or columns. Nearly the variance of
            the initial weights, however far the rest was trained.
        cells: gain vectors and matrices used.
    """

    gains: float | None
    ranks: float | None
    moved_a: float
    moved_b: float
    share: float | None
    square_a: float | None
    square_b: float | None
    quiet_a: float | None
    quiet_b: float | None
    cells: int

    @property
    def moved(self) -> float:
        """How far the less moved of the two has moved."""
        return min(self.moved_a, self.moved_b)


def trained_agreement(gains: Sequence[tuple[F32, F32]], matrices: Iterable[tuple[F32, F32]]) -> Agreement:
    """Agreement of A and B.

    Args:
        gains: (A's, B's) norm gains, a pair of vectors of one length for each norm.
        matrices: (A's, B's) rows of one matrix each, [rows, columns] at the same indices, of which no two share a matrix.
    """
    g = _centred([(a.astype(np.float64), b.astype(np.float64)) for a, b in gains])
    n = sum(a.size for a, _ in g)
    aa, bb, _ = _sums(g)
    moved_a, moved_b = (float(np.sqrt(x / n)) if n else 0.0 for x in (aa, bb))
    ranks = _centred([(_ranks(a), _ranks(b)) for a, b in g])
    several = [_Moments.of(a, b) for a, b in matrices]
    return Agreement(
        _correlation(g) if n >= _GAINS else None,
        _correlation(ranks) if n >= _GAINS else None,
        moved_a, moved_b, *_shared(several), len(g) + len(several),
    )  # fmt: skip


# --- gains ----------------------------------------------------------------------------------------------------


def _centred(pairs: Sequence[tuple[F64, F64]]) -> list[tuple[F64, F64]]:
    return [(a - a.mean(), b - b.mean()) for a, b in pairs if a.size]


def _sums(pairs: Sequence[tuple[F64, F64]]) -> tuple[float, float, float]:
    """Sums of squares of A and B, and of products."""
    return (
        float(sum(a @ a for a, _ in pairs)),
        float(sum(b @ b for _, b in pairs)),
        float(sum(a @ b for a, b in pairs)),
    )


def _correlation(pairs: Sequence[tuple[F64, F64]]) -> float | None:
    """One correlation over all pairs; None where either side does not vary."""
    aa, bb, ab = _sums(pairs)
    return max(-1.0, min(1.0, ab / float(np.sqrt(aa * bb)))) if aa > 0 and bb > 0 else None


def _ranks(x: F64) -> F64:
    """Ranks over the length, in (0, 1]; equal values share the mean of theirs (bfloat16 gains near 1 are often equal)."""
    _, at, counts = np.unique(x, return_inverse=True, return_counts=True)
    if counts.size == 1:
        return np.zeros(x.size)  # not a mean that rounding sets beside 0
    last = np.cumsum(counts)
    ranks: F64 = ((last - (counts - 1) / 2) / max(1, x.size))[at.ravel()]
    return ranks


# --- matrices -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Moments:
    """Of one matrix: values compared; mean squares of A and of B, mean product; the floors of A and of B."""

    n: int
    aa: float
    bb: float
    ab: float
    floor_a: float
    floor_b: float

    @classmethod
    def of(cls, a: F32, b: F32) -> _Moments:
        x_RC, y_RC = a.astype(np.float64), b.astype(np.float64)
        aa_RC, bb_RC = np.square(x_RC), np.square(y_RC)
        aa, bb, ab = (float(m.mean()) for m in (aa_RC, bb_RC, x_RC * y_RC))
        return cls(a.size, aa, bb, ab, _floor(aa_RC), _floor(bb_RC))


def _floor(square_RC: F64) -> float:
    """Mean square of the quietest eighth of columns, or of rows if that is less.

    Chosen by one half of their entries and measured on the other, both ways, so that chance picks no low ones: for a matrix whose
    entries are all drawn alike it is their variance.
    """
    return min(_quiet(square_RC), _quiet(square_RC.T))


def _quiet(square_RC: F64) -> float:
    if len(square_RC) < 2:
        return float(square_RC.mean())
    even_C, odd_C = square_RC[::2].mean(0), square_RC[1::2].mean(0)
    k = min(even_C.size, max(4, even_C.size // _QUIET))
    picked = odd_C[np.argpartition(even_C, k - 1)[:k]].mean(), even_C[np.argpartition(odd_C, k - 1)[:k]].mean()
    return float(sum(picked) / 2)


def _shared(several: Sequence[_Moments]) -> tuple[float | None, float | None, float | None, float | None, float | None]:
    """The share over all matrices, of the model with the lesser mean square; both mean squares; both least floors."""
    n = sum(m.n for m in several)
    if n < _VALUES:
        return None, None, None, None, None
    aa, bb, ab, floor_a, floor_b = (
        sum(m.n * float(getattr(m, name)) for m in several) / n for name in ("aa", "bb", "ab", "floor_a", "floor_b")
    )
    less, floor = min((aa, floor_a), (bb, floor_b))
    share = (ab - floor) / (less - floor) if less - floor > _ABOVE * less else None
    return share, aa, bb, min(m.floor_a for m in several), min(m.floor_b for m in several)
