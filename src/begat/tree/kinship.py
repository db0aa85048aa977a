"""Which models are kin at all.

Enters: relations with e-values.  Leaves: a matrix of kin pairs and the components that they connect. Distances play no part here.

Null of every e-value: the two models were trained independently; under it log10_e >= k has probability at most 10^-k (Markov). With N pairs
tested, kinship needs log10_e >= 6 + log10 N: by a union bound, whatever the dependence between pairs, the probability that *any* pair of
independent models is called kin is at most 10^-6.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from begat.tree.types import Policy, Relation


def kinship(n: int, relations: Iterable[Relation], policy: Policy) -> tuple[NDArray[np.bool_], int, float]:
    """(kin, tested, threshold): kin pairs as a symmetric n × n matrix, how many pairs have an e-value, and the log10_e needed."""
    tested = [r for r in relations if r.log10_e is not None]
    threshold = policy.family_log10_e + math.log10(max(len(tested), 1))
    kin = np.zeros((n, n), dtype=bool)
    for r in tested:
        assert r.log10_e is not None
        kin[r.a, r.b] = kin[r.b, r.a] = r.log10_e >= threshold
    return kin, len(tested), threshold


def components(kin_NN: NDArray[np.bool_]) -> list[list[int]]:
    """Connected components, largest first, then by their first member."""
    seen: set[int] = set()
    out = []
    for start in range(len(kin_NN)):
        if start in seen:
            continue
        part, stack = {start}, [start]
        while stack:
            for other in np.flatnonzero(kin_NN[stack.pop()]):
                if int(other) not in part:
                    part.add(int(other))
                    stack.append(int(other))
        seen |= part
        out.append(sorted(part))
    return sorted(out, key=lambda c: (-len(c), c[0]))
