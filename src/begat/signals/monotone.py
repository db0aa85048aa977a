"""The order of a subset: do the units of B follow the order in which their likes stand in A, where one has fewer units?

Enters: features of sampled units of B, in the order of their indices, and of all units of A.  Leaves: how many of B's units have a like of
their own in A, and the longest run of them, gaps allowed, whose likes stand in increasing order.  What that is worth under the null:
`begat.stats.monotone`.  Equal shapes: `begat.signals.order`.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

import numpy as np

from begat.types import F32, I64

#: similarities closer than this are equal (a float32 product may differ in the last digits with the position in the matrix)
_TIE = 1e-6

# Shape suffixes: M sampled units of B, F units of A, D features


@dataclass(frozen=True, slots=True)
class Run:
    """Of `m` sampled units `matched` have a like that no other unit has; `increasing` of those stand in one order with their likes.

    at: (index in B's sample, unit of A) of the matched, in B's order.
    """

    m: int
    matched: int
    increasing: int
    at: tuple[tuple[int, int], ...]


def order_of_subset(b_MD: F32, a_FD: F32, keep: float = 1.0) -> Run:
    """Match every sampled unit of B to its like in A and measure the longest increasing run.

    Args:
        b_MD, a_FD: unit rows (`begat.signals.order.unit_rows`) over the same features.
        keep: share of the matched units that is kept, those whose like is clearest, in (0, 1].

    A unit of A that is the like of several units of B is left to the most similar of them (to none where two are equally so), so the matching is one
    to one. It looks at no position, so given which units are matched with which the order of B's is uniform where B's units are exchangeable.
    """
    s_MF = b_MD @ a_FD.T
    like_M: I64 = s_MF.argmax(axis=1)
    best_M = s_MF[np.arange(len(s_MF)), like_M]
    s_MF[np.arange(len(s_MF)), like_M] = -np.inf
    margin_M = best_M - s_MF.max(axis=1) if s_MF.shape[1] > 1 else best_M
    claims: dict[int, list[int]] = {}
    for i in np.argsort(-best_M, kind="stable"):
        if best_M[i] > 0:
            claims.setdefault(int(like_M[i]), []).append(int(i))
    # where two units of B claim one of A equally well, who comes first would be decided by position: neither gets it
    pairs = sorted((i[0], u) for u, i in claims.items() if len(i) == 1 or best_M[i[0]] > best_M[i[1]] + _TIE)
    if keep < 1.0 and pairs:
        clear = sorted(pairs, key=lambda p: -margin_M[p[0]])[: max(1, round(keep * len(pairs)))]
        pairs = sorted(clear)
    return Run(len(b_MD), len(pairs), longest_increasing([u for _, u in pairs]), tuple(pairs))


def longest_increasing(values: list[int]) -> int:
    """Length of the longest strictly increasing subsequence (patience sorting, O(n log n))."""
    tops: list[int] = []
    for value in values:
        at = bisect_left(tops, value)
        tops[at : at + 1] = [value]
    return len(tops)
