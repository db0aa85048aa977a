"""The order test between every two of N places of one model.

Enters: features of the same m units of N places.  Leaves: hits and cosines of all pairs.  What they are worth:
`begat.stats.pairs`; the test between
two models: `begat.signals.order`.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

from begat.signals.order import unit_rows
from begat.stats.pairs import log10_sign_test
from begat.types import F32, F64, I64

#: features kept of each view: chance cosines of 1/sqrt(2048), and a product that stays cheap for a hundred layers
FEATURES = 2048
_TIE = 1e-5


def hits_of_pairs(places: Sequence[Sequence[F32]], rng: np.random.Generator) -> tuple[I64, F64, int]:
    """Order tests of all pairs.

    Args:
        places: N places, each its views' features of the same m units, [m, D_view]; equal shapes.
        rng: draws the features that are kept where there are more than `FEATURES`.

    Returns:
        hits [N, N] (i's units looked up in j), the mean cosine of units at one index [N, N], and the units that took part.

    As `order_hits`: features standardised over the units of their own place, a tie is no hit. Units that are constant in
    any place are left out of all:
    padding sits at chosen indices. Both the standardisation and the choice of features look at no position, so each test's
    null stands.
    """
    places = _some_features(places, rng)
    keep = np.all([_varies(p) for p in places], axis=0)
    m, n = int(keep.sum()), len(places)
    hits, cosine = np.zeros((n, n), dtype=np.int64), np.zeros((n, n))
    if m < 2:
        return hits, cosine, m
    units_NMD = np.stack([unit_rows([view[keep] for view in views]) for views in places])
    for i in range(n):
        s_NMM = units_NMD[i] @ units_NMD.transpose(0, 2, 1)
        own_NM = np.einsum("nmm->nm", s_NMM).copy()
        s_NMM[:, np.arange(m), np.arange(m)] = -np.inf
        hits[i] = (own_NM > s_NMM.max(axis=2) + _TIE).sum(axis=1)
        cosine[i] = own_NM.mean(axis=1)
    return hits, cosine, m


def _some_features(places: Sequence[Sequence[F32]], rng: np.random.Generator) -> list[list[F32]]:
    picks = [np.sort(rng.permutation(v.shape[1])[:FEATURES]) for v in places[0]]
    return [[v[:, p] if len(p) < v.shape[1] else v for v, p in zip(views, picks, strict=True)] for views in places]


def _varies(views: Sequence[F32]) -> np.ndarray:
    wide = [v for v in views if v.shape[1] > 1] or list(views)
    varies: np.ndarray = np.any([(v != (v[:, :1] if v.shape[1] > 1 else 0)).any(axis=1) for v in wide], axis=0)
    return varies


def groups(n: int, pairs: Sequence[tuple[int, int]]) -> list[int]:
    """For each of n things the smallest thing it is joined with by `pairs`, through any number of others."""
    root = list(range(n))
    for i, j in pairs:
        a, b = root[i], root[j]
        if a != b:
            root = [min(a, b) if r in (a, b) else r for r in root]
    return root


def members(root: Sequence[int]) -> list[list[int]]:
    """The groups of at least two, each in order."""
    out: dict[Hashable, list[int]] = {}
    for i, r in enumerate(root):
        out.setdefault(r, []).append(i)
    return [g for g in out.values() if len(g) > 1]


def sorted_units(rows_MD: F32) -> float:
    """log10 of the two-sided p-value that units in index order are not ordered by norm; constant ones (padding) are left out.

    Null: `begat.stats.pairs.log10_sign_test`. Units that were sorted after training have no order drawn by lottery.
    """
    rows_MD = rows_MD[_varies([rows_MD])]
    size = np.linalg.norm(rows_MD.astype(np.float64), axis=1)
    half = len(size) // 2
    first, second = size[:half], size[half : 2 * half]
    differs = first != second
    return log10_sign_test(int((second > first)[differs].sum()), int(differs.sum()))
