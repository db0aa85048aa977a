"""How alike the attention heads of two layers are, by numbers that no change of basis and no order alters.

Enters: the rows of a layer's heads (query and key, output and value), gains folded.  Leaves: spectra of each
head, and distances between layers.  Who asks: `begat.pipeline.resemblance`, to know which layer to hold against
which before anything is tested.

For the rows X of one head in one matrix and Y of its partner, X_CD and Y_CD, the eigenvalues of
(X Xᵀ)(Y Yᵀ) stay when the residual stream turns (XQ (XQ)ᵀ = X Xᵀ), and when the inside of the head is written in
another basis (X → A X, Y → A⁻ᵀ Y, disguise T4 of statistics.md §3). Heads form a set, so their order is not
looked at either, nor is any order of MLP units, which have no part in it.

A resemblance is no evidence: strangers' layers resemble each other by depth. It is a choice of what to test, and
costs a test nothing, because no order that is tested can change it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from begat.types import F32, F64

# Shape suffixes: H heads, C dims of a head, D residual width, K numbers of a head

#: eigenvalues below this share of the greatest are rounding (squares of float32 products)
_FLOOR = 1e-6
#: standard deviations beyond which a number says no more; rounds in which the move is estimated
_CUT, _ROUNDS = 4.0, 3


def spectra(x_HCD: F32, y_HCD: F32) -> F64 | None:
    """Logarithms of the eigenvalues of (X Xᵀ)(Y Yᵀ) of every head, ascending, [H, C]; None where a matrix is all zeros.

    Args:
        x_HCD: rows of one matrix (queries; columns of the output matrix). y_HCD: rows of its partner (keys; values).
    """
    xx_HCC, yy_HCC = ((m @ m.transpose(0, 2, 1)).astype(np.float64) for m in (x_HCD, y_HCD))
    values_HC, vectors_HCC = np.linalg.eigh(xx_HCC)
    root_HCC = (vectors_HCC * np.sqrt(np.maximum(values_HC, 0))[:, None, :]) @ vectors_HCC.transpose(0, 2, 1)
    found_HC = np.linalg.eigvalsh(root_HCC @ yy_HCC @ root_HCC)
    greatest = float(found_HC.max(initial=0))
    if greatest <= 0:
        return None
    out: F64 = np.log(np.maximum(found_HC, _FLOOR**2 * greatest))
    return out


def shapes_of(numbers_HK: F64, kinds: int) -> F64:
    """The numbers of a layer's heads without the size of each head's matrices, which strangers' layers share by depth: each of the `kinds` runs of
    logarithms less its mean.
    """
    runs = [run - run.mean(axis=1, keepdims=True) for run in np.split(numbers_HK, kinds, axis=1)]
    return np.concatenate(runs, axis=1)


def layer_distances(a: Sequence[F64], b: Sequence[F64]) -> F64:
    """Distances [layers of B, layers of A]: how far, on average, a head of B's layer is from the nearest of A's, in standard deviations.

    Args:
        a, b: per layer the numbers of its heads, [H, K] with one K throughout.

    Noise added to all weights moves the spectra of all heads alike, and would hide which is whose. So B's numbers are laid
    over A's in three ways, and the one counts in which B's layers end nearest: mean and deviation of all heads equal (right
    where B holds all of A's layers); or A's scale, and what B's heads are moved by from the nearest of A's taken off again
    and again, begun from no move or from the move of the means (right where layers were put in twice or left out).
    """
    ours, theirs = np.concatenate(list(a)), np.concatenate(list(b))
    mean, sd = ours.mean(axis=0), ours.std(axis=0)
    whole = _scaled(theirs, theirs.mean(axis=0), theirs.std(axis=0))
    ends = [whole] + [_moved(_scaled(ours, mean, sd), theirs, sd, move) for move in (mean, theirs.mean(axis=0))]
    found = [_by_layer(a, b, _scaled(ours, mean, sd), end) for end in ends]
    return min(found, key=lambda x: float(x.min(axis=1).mean()))


def _scaled(x_NK: F64, mean: F64, sd: F64) -> F64:
    out: F64 = np.divide(x_NK - mean, sd, out=np.zeros_like(x_NK), where=sd > 1e-9)
    return out


def _moved(ours_NK: F64, theirs_MK: F64, sd: F64, move: F64) -> F64:
    """B's numbers on A's scale, less their median move from the nearest of A's."""
    for _ in range(_ROUNDS):
        nearest_M = [int(_far(x, ours_NK).argmin()) for x in _scaled(theirs_MK, move, sd)]
        move = np.median(theirs_MK - ours_NK[nearest_M] * sd, axis=0)
    return _scaled(theirs_MK, move, sd)


def _by_layer(a: Sequence[F64], b: Sequence[F64], ours_NK: F64, theirs_MK: F64) -> F64:
    """Mean over a layer's heads of the distance to the nearest in each of A's layers, [layers of B, layers of A]."""
    ends = np.cumsum([len(x) for x in a])[:-1]
    out = np.empty((len(b), len(a)))
    for i, y_HK in enumerate(np.split(theirs_MK, np.cumsum([len(x) for x in b])[:-1])):
        out[i] = np.mean([[np.sqrt(part.min()) for part in np.split(_far(y, ours_NK), ends)] for y in y_HK], axis=0)
    return out


def _far(one: F64, all_NK: F64) -> F64:
    """Mean square distances of one head to all, each number cut at `_CUT`."""
    out: F64 = np.square(np.clip(all_NK - one, -_CUT, _CUT)).mean(axis=1)
    return out
