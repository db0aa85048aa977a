"""Models that descend from one parent each → a tree, shortest links first.

Enters: `Geometry`, which pairs are kin, which are twins, groups that stay apart (`mixtures.py`).  Leaves: a `Skeleton`.

Kruskal's order (the minimum spanning tree is what is left of an additive tree when its unseen nodes are contracted: Choi et al., JMLR 2011,
section 5): parts join by their shortest kin pair. Where exactly is not taken from that pair but tested on both sides (`skeleton.py`), so a junction
away from all given models becomes an unnamed node and what cannot be told stays open.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from begat.tree.geometry import Geometry
from begat.tree.mixtures import Mixtures
from begat.tree.skeleton import Link, Place, Skeleton
from begat.tree.types import Policy

_TINY = 1e-12


def join(geometry: Geometry, kin_NN: NDArray[np.bool_], twins_NN: NDArray[np.bool_], mixtures: Mixtures, policy: Policy) -> Skeleton:
    """The forest over all models with group >= 0; models of different groups never join."""
    group_N = mixtures.group
    n = len(group_N)
    tree = Skeleton(geometry, policy, n, mixtures.doubt)
    part = list(range(n))

    def root(i: int) -> int:
        while part[i] != i:
            part[i] = part[part[i]]
            i = part[i]
        return i

    length = geometry.length[1]
    pairs = [(float(length[i, j]), i, j) for i in range(n) for j in range(i + 1, n)
             if kin_NN[i, j] and group_N[i] == group_N[j] >= 0 and not np.isnan(length[i, j])]  # fmt: skip
    for _, u, v in sorted(pairs):
        if root(u) != root(v):
            _join(tree, u, v, twins_NN)
            part[root(u)] = root(v)
    return tree


def _join(tree: Skeleton, u: int, v: int, twins_NN: NDArray[np.bool_]) -> None:
    """Join the parts that hold u and v."""
    at_u, at_v = tree.locate(u, v), tree.locate(v, u)
    s, t = _node(tree, at_u), _node(tree, at_v)
    if s == u and t == v:
        length, sd = tree.geometry.length[:, u, v], tree.geometry.length_sd[:, u, v]
    else:
        (before, var1), (after, var2) = tree.path(u, s), tree.path(v, t)
        length = np.maximum(tree.geometry.length[:, u, v] - before - after, _TINY)
        sd = np.sqrt(tree.geometry.length_sd[:, u, v] ** 2 + var1 + var2)
    start = bool(twins_NN[u, v]) or (max(s, t) < tree.given and bool(twins_NN[s, t]))
    tree.connect(Link(s, t, length, sd, at_u.among, at_v.among, start))


def _node(tree: Skeleton, place: Place) -> int:
    return tree.split(place) if place.link is not None else place.node
