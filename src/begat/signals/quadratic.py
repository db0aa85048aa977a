"""Which unit of one model is which of another, by numbers that no change of basis, order or scale alters.

Enters: the three views of a layer's units (gate rows, up rows, down columns, gains folded).  Leaves: signatures, and pairs of units.  Where the residual
stream then lies: `begat.signals.procrustes`; who conducts: `begat.pipeline.invariants`.

Turn the residual stream by any orthogonal Q: a unit's view x becomes xQ and the Gram G of a layer's views Q^T G Q, so the quadratic form x G y^T stays.
Rows are scaled to length 1, so that a unit may be rescaled (T6); forms that flip with a unit's sign enter as absolute values. Each is
ranked over the units of its layer. No position is read: any order of units, heads, value dims and of the residual stream is as good (T1 to T6
of statistics.md §3). Forms are taken inside the span of the leading eigenvectors of all Grams together, which turns with Q as well and costs less.

A match is no evidence: strangers' units are matched too. Evidence, calibrated, is what layers agree on that had no part in it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from begat.types import F32, F64, I64

# Shape suffixes: F units of A, M units of B, D residual width, R dims of the span, K forms

#: pairs of views (0 gate, 1 up, 2 down), and whether their form flips with the sign of a unit's up row and down column
_PAIRS = ((0, 0, False), (1, 1, False), (2, 2, False), (0, 1, True), (0, 2, True), (1, 2, False))
#: squared lengths between which float32 holds them well, and under which a row is one of zeros
_SMALL, _LARGE, _NOTHING = 1e-25, 1e37, 1e-74
Pairs = tuple[I64, I64, F32]


def gram(x_ND: F32) -> F32:
    """Sum of the outer products of the rows, scaled to Frobenius norm 1: [D, D]."""
    g_DD: F32 = x_ND.T @ x_ND
    out: F32 = g_DD / np.float32(max(float(np.linalg.norm(g_DD)), 1e-30))
    return out


def span(grams: Sequence[F32], rank: int) -> F32:
    """The `rank` leading eigenvectors of the sum of the Grams, [D, R]."""
    _, vectors_DD = np.linalg.eigh(np.sum(grams, axis=0))
    return np.ascontiguousarray(vectors_DD[:, ::-1][:, :rank], dtype=np.float32)


def signatures(views: Sequence[F32], grams: Sequence[F32]) -> F32:
    """One row of length 1 per unit: its ranked quadratic forms, [F, K].

    Args:
        views: gate rows, up rows, down columns, each row of length 1 before it was brought into the span, each [F, R].
        grams: in the span, each [R, R].
    """
    columns = []
    for g_RR in grams:
        mapped = [x_FR @ g_RR for x_FR in views]
        for i, j, flips in _PAIRS:
            value_F = np.einsum("fr,fr->f", mapped[i], views[j])
            columns.append(np.abs(value_F) if flips else value_F)
    return unit(ranked(np.stack(columns, axis=1)))


def ranked(x_FK: F32) -> F32:
    """Every column's ranks as normal scores."""
    from scipy.special import ndtri

    scores_F = ndtri((np.arange(len(x_FK)) + 0.5) / len(x_FK)).astype(np.float32)
    out = np.empty(x_FK.shape, dtype=np.float32)
    np.put_along_axis(out, x_FK.argsort(axis=0, kind="stable"), scores_F[:, None], axis=0)
    return out


def assigned(similarity_FM: F32, share: float) -> Pairs:
    """(units of A, units of B, similarity): of the one-to-one match of the greatest sum (linear assignment) the best `share`."""
    from scipy.optimize import linear_sum_assignment

    a, b = linear_sum_assignment(similarity_FM, maximize=True)
    return _best(a.astype(np.int64), b.astype(np.int64), similarity_FM[a, b], share)


def _best(a: I64, b: I64, similarity: F32, share: float) -> Pairs:
    keep = similarity >= np.quantile(similarity, 1 - share)
    return a[keep], b[keep], similarity[keep]


def mutual(similarity_FM: F32) -> Pairs:
    """Pairs that are each other's best, with their similarity."""
    b = np.arange(similarity_FM.shape[1])
    a = similarity_FM.argmax(axis=0)
    both = similarity_FM.argmax(axis=1)[a] == b
    a, b = a[both].astype(np.int64), b[both].astype(np.int64)
    return a, b, similarity_FM[a, b]


def pulls(a_views: Sequence[F32], b_views: Sequence[F32], pairs: Pairs, signed_P: F32 | None) -> F64:
    """Σ over pairs of the outer products of their views, weighted by similarity: what `procrustes.rotation` is fitted on, [D, D].

    Args:
        a_views, b_views: gate rows, up rows, down columns, rows of length 1.
        signed_P: per pair +1 or -1, its up row's and down column's sign; None: unknown yet, and gate rows alone are used.
    """
    a, b, weight_P = pairs
    weight_P = np.maximum(weight_P, 0)
    total: F64 = ((a_views[0][a] * weight_P[:, None]).T @ b_views[0][b]).astype(np.float64)
    if signed_P is not None:
        for x_FD, y_MD in zip(a_views[1:], b_views[1:], strict=True):
            total += (x_FD[a] * (weight_P * signed_P)[:, None]).T @ y_MD[b]
    return total


def unit(x_ND: F32) -> F32:
    """Rows scaled to length 1; rows of zeros stay."""
    return np.asarray(x_ND * inverse_lengths(x_ND)[:, None], dtype=np.float32)


def inverse_lengths(x_ND: F32) -> F32:
    """1 over the length of every row, [N]; 0 for rows of zeros."""
    square_N = np.einsum("nd,nd->n", x_ND, x_ND).astype(np.float64)
    far = ~((square_N > _SMALL) & (square_N < _LARGE))  # a unit can be rescaled at will until squares leave float32
    if far.any():
        square_N[far] = np.square(x_ND[far], dtype=np.float64).sum(axis=1)
    inverse_N = np.divide(1, np.sqrt(square_N), out=np.zeros_like(square_N), where=square_N > _NOTHING)
    return np.asarray(inverse_N, dtype=np.float32)
