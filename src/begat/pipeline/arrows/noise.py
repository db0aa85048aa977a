"""White noise: a difference that looks drawn at random in every place alike, as when a copy is hidden, and not like training.

Numbers and their null: `begat.signals.whiteness`. Looked at over all changed matrices together, so that small ones count too: noise stands
at 1 in the pooled dispersion of rows and of columns, and at the edge in every largest singular value. Training passes none of
it in the lab, down to forty steps at width 64 (`tests/pipeline/test_noise.py`, docs/lab-log.md). Rounding does not count as
noise: nothing is said where either model lies on a grid, or where the difference is hardly more than its rounding.

Noise carries no arrow. It is uncorrelated with what it was added to, but so is the difference of a merge in equal shares and one of
its sources. Merges of models that are nearly white themselves are told from noise by size and slope: noise on one side or both leaves
the product of difference and parent between minus its square and zero, and is called so only up to half of the weights' deviation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import ml_dtypes
import numpy as np

from begat.canon.model import Canonical
from begat.canon.roles import ROLES
from begat.pipeline.arrows.base import ARROWS, Pair, Sign
from begat.pipeline.inherit import common_keys
from begat.pipeline.sampling import generator
from begat.pipeline.steps import steps
from begat.signals.grid import has_grid
from begat.signals.whiteness import Whiteness, whiteness
from begat.source.dtypes import DTYPES
from begat.types import F64, TensorKey

#: matrices looked at, and rows and columns of each; least side, matrices and rows (over all) to say anything
_MATRICES, _SIDE, _LEAST_SIDE, _LEAST, _LEAST_ROWS = 48, 384, 16, 4, 400
#: pooled dispersion: distance from 1, and standard errors; of a single matrix; largest singular value over the edge
_POOLED, _POOLED_SE, _SINGLE_SE, _TOP = 0.06, 4.0, 7.0, (0.8, 1.08)
#: mean square over rounding's, share of values that did not change, kurtosis of what is called noise
_BEYOND, _ZERO, _KURTOSIS = 4.0, 0.35, (1.5, 4.0)
BF16 = ml_dtypes.bfloat16
#: share of distinct values in bfloat16, over the other model's, below which values lie on a grid
_DISTINCT = 0.25
_RUNS = (16, 32, 64, 128)
#: standard errors that the slope may lie outside [-1, 0], and mean square of noise over that of the lesser model, at most
_BESIDE, _MOST = 4.0, 0.5


@dataclass(frozen=True, slots=True)
class _Matrix:
    """white: of the difference; to_parent: its product with the parent over its square, and the standard error of that; share: its
    square over the lesser model's.
    """

    white: Whiteness
    to_parent: float
    error: float
    share: float


@ARROWS.add("noise")
def noise(pair: Pair) -> Iterator[Sign]:
    """`child` is `parent` with white noise on its matrices."""
    keys = [k for k in common_keys(pair.parent, pair.child) if ROLES[k.role].kind in ("matrix", "table") and _fits(pair, k)]
    pick = generator(pair.seed, "noise").permutation(len(keys))[:_MATRICES]
    found: list[_Matrix] = []
    for key in (keys[i] for i in sorted(pick)):
        one = _matrix(pair, key)
        if one is None:
            return
        found += one
    if len(found) < _LEAST or not _white([m.white for m in found]):
        return
    weight = np.array([1 / m.error**2 for m in found])
    slope = float((weight * [m.to_parent for m in found]).sum() / weight.sum())
    error = float(1 / np.sqrt(weight.sum()))
    rows, top = _pooled([m.white for m in found], "rows"), max(m.white.top for m in found)
    words = (
        f"the differences of {len(found)} matrices look like white noise: rows vary {rows:.2f} times as chance has it, the largest "
        f"singular value is at most {top:.2f} of noise's"
    )
    if -1 - _BESIDE * error <= slope <= _BESIDE * error and np.median([m.share for m in found]) <= _MOST:
        yield Sign("white-noise", words)


def _fits(pair: Pair, key: TensorKey) -> bool:
    shape = pair.parent.tensors[key].shape
    return len(shape) == 2 and shape == pair.child.tensors[key].shape and min(shape) >= _LEAST_SIDE


def _matrix(pair: Pair, key: TensorKey) -> list[_Matrix] | None:
    """One changed matrix, [] for an equal one; None where a grid or rounding forbids to say anything of the pair."""
    rng = generator(pair.seed, "noise", str(key))
    rows, cols = (np.sort(rng.permutation(n)[:_SIDE]).astype(np.int64) for n in pair.parent.tensors[key].shape)
    x, y = pair.parent.read(key, rows), pair.child.read(key, rows)
    if np.array_equal(x, y):
        return []
    if any(_grid(m, key, values) for m, values in ((pair.parent, x), (pair.child, y))):
        return None
    theirs, own = steps(pair.parent, key, rows, x), steps(pair.child, key, rows, y)
    if theirs is None or own is None:
        return None
    distinct = [len(np.unique(v.astype(BF16))) for v in (x, y)]
    if min(distinct) < _DISTINCT * max(distinct):
        return None
    a_MN, d_MN = x[:, cols].astype(np.float64), (y.astype(np.float64) - x)[:, cols]
    white, square = whiteness(d_MN), float(np.square(d_MN).sum())
    rounding = float(np.square(np.maximum(theirs, own)[:, cols].astype(np.float64)).sum()) / 12
    if square < _BEYOND * rounding or white.zero > _ZERO:
        return None
    error = float(np.sqrt(np.square(a_MN).mean() / square))
    least = min(float(np.square(a_MN).sum()), float(np.square(a_MN + d_MN).sum()))
    return [_Matrix(white, float((a_MN * d_MN).sum()) / square, error, square / max(least, 1e-300))]


def _grid(model: Canonical, key: TensorKey, values: np.ndarray) -> bool:
    entry = model.checkpoint.entries[model.tensors[key].name]
    if entry.scaling is not None or DTYPES[entry.dtype].mantissa is None:
        return True
    return has_grid(values[:16], (*_RUNS, values.shape[1]))


def _pooled(found: list[Whiteness], side: str) -> float:
    """Mean dispersion of rows or columns over all matrices, by how many each has."""
    at = 0 if side == "rows" else 1
    weight: F64 = np.array([w.shape[at] - 1 for w in found], dtype=np.float64)
    return float((weight * [getattr(w, side) for w in found]).sum() / weight.sum())


def _white(found: list[Whiteness]) -> bool:
    for at, side in enumerate(("rows", "columns")):
        counts = np.array([w.shape[at] - 1 for w in found], dtype=np.float64)
        if counts.sum() < _LEAST_ROWS or abs(_pooled(found, side) - 1) > _POOLED + _POOLED_SE * np.sqrt(2 / counts.sum()):
            return False
        single = np.array([getattr(w, side) for w in found])
        if (single > 1 + _SINGLE_SE * np.sqrt(2 / counts)).any():
            return False
    return all(_TOP[0] <= w.top <= _TOP[1] and _KURTOSIS[0] <= w.kurtosis <= _KURTOSIS[1] for w in found)
