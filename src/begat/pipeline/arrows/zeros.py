"""Unstructured pruning: exact zeros in one model where the other has numbers.

Zeros alone are no arrow: a pruned model trained on without its mask fills them (dense-sparse-dense training). What is one: the rest is equal to the bit, and
the numbers behind the zeros are the other's smallest (pruning by size), or as large as its others (pruning by another score). Filling in zeros leaves
everything else equal only when nothing else was trained, and then the new numbers are neither below all old ones in every matrix nor as large as they.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from begat.canon.roles import ROLES
from begat.pipeline.arrows.base import ARROWS, Pair, Sign
from begat.pipeline.inherit import common_keys
from begat.pipeline.sampling import generator
from begat.signals.grid import has_grid
from begat.source.dtypes import DTYPES
from begat.types import TensorKey

#: rows of a matrix, and matrices, looked at
_ROWS, _MATRICES = 48, 64
#: share of zeros that is no accident; share of the other values that must be equal; of matrices that must say the same
_ZEROS, _EQUAL, _MOST = 0.02, 0.9999, 0.9
_RUNS = (16, 32, 64, 128)


@ARROWS.add("zeros")
def zeros(pair: Pair) -> Iterator[Sign]:
    """`child` is `parent` with weights set to zero."""
    keys = [
        k for k in common_keys(pair.parent, pair.child) if ROLES[k.role].kind == "matrix" and not pair.child.tensors[k].is_vector
    ]
    order = generator(pair.seed, "zeros").permutation(len(keys))[:_MATRICES]
    found = [m for i in sorted(order) if (m := _matrix(pair, i, keys)) is not None]
    if not found:
        return
    share, n = float(np.mean([f[0] for f in found])), len(found)
    equal = np.mean([f[1] >= _EQUAL for f in found])
    small, alike = np.mean([f[2] for f in found]), np.mean([f[3] for f in found])
    words = f"{share:.0%} of the values are exactly zero in {n} matrices, where the other model has numbers"
    if equal >= _MOST and small >= _MOST:
        yield Sign("zeros-smallest", f"{words}; these are its smallest, and all other values are equal")
    elif equal >= _MOST and alike >= _MOST:
        yield Sign("zeros-equal", f"{words} as large as its others; all other values are equal")
    else:
        yield Sign("zeros-changed", f"{words}; other values differ too")


def _matrix(pair: Pair, i: int, keys: list[TensorKey]) -> tuple[float, float, bool, bool] | None:
    """Share of new zeros; equal share elsewhere; are the other's numbers there its smallest; are they as large as its others? None without new zeros."""
    key = keys[i]
    entry = pair.child.checkpoint.entries[pair.child.tensors[key].name]
    if entry.scaling is not None or DTYPES[entry.dtype].mantissa is None:
        return None  # a quantisation grid has zeros of its own
    n = min(m.tensors[key].shape[0] for m in (pair.parent, pair.child))  # a vocabulary may have grown
    at = np.sort(generator(pair.seed, "zeros", str(key)).permutation(n)[:_ROWS]).astype(np.int64)
    x, y = pair.parent.read(key, at), pair.child.read(key, at)
    gone = (y == 0) & (x != 0)
    if gone.mean() < _ZEROS or ((x == 0) & (y != 0)).mean() > _ZEROS / 10:
        return None
    rest = ~gone & (y != 0)
    if not rest.any() or (gone.mean() < 0.5 and has_grid(y, (*_RUNS, y.shape[1]))):
        return None
    behind, beside = np.abs(x[gone]), np.abs(x[rest])
    ratio = float(np.median(behind) / max(float(np.median(beside)), 1e-30))
    return float(gone.mean()), float((x[rest] == y[rest]).mean()), bool(behind.max() <= 1.01 * beside.min()), 0.3 < ratio < 3
