"""Pairwise relations → a family tree.

Enters: `Node`s, `Relation`s (from any comparison: this module knows only their numbers), a `Policy`.  Leaves: a `Tree`.
Order of work: kin by e-values (`kinship.py`), corners from distances (`geometry.py`), models between others (`mixtures.py`), the tree of the rest
(`join.py`, `skeleton.py`), and here: input checked, copies set aside, arrows placed, everything put into one `Tree`.

What may be wrong in a tree is stated in docs/tree.md. Two rules keep it from accusing: an arrow needs one-way evidence about that very pair, or a
mixture; and no arrow is carried over from one edge to the next, because a model that nobody gave may stand close to any node.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from begat.errors import InputError
from begat.tree.geometry import Geometry, Matrix
from begat.tree.join import join
from begat.tree.kinship import components, kinship
from begat.tree.mixtures import Mixture, find_mixtures
from begat.tree.skeleton import Link, Skeleton
from begat.tree.types import Claim, Edge, Node, Policy, Relation, Tree, TreeNode

UNNAMED = "not given"
OPEN = "not resolved"
START = "common initial weights"
_CAVEATS = (
    "A line says that two models are nearest relatives among those given; models that were not given may stand between or beside them.",
    "Kinship rests on exact tests; shapes on angles between weights, and on the assumption that trainings made apart change weights at "
    "right angles (docs/tree.md).",
)


def infer(nodes: Sequence[Node], relations: Sequence[Relation], policy: Policy | None = None, *, shared_bits: bool = False) -> Tree:
    """The family tree of `nodes`.

    Args:
        relations: at most one per pair, in any order; pairs left out count as not tested.
        shared_bits: all distances come from sign bits along the same directions, as fingerprints' do; else their errors count as independent.

    Raises:
        InputError: an index, a number or a pair that cannot be.
    """
    policy = policy or Policy()
    _check(nodes, relations)
    kin, tested, threshold = kinship(len(nodes), relations, policy)
    return _Builder(nodes, relations, kin, policy, shared_bits).build(tested, threshold)


def _check(nodes: Sequence[Node], relations: Sequence[Relation]) -> None:
    if len({n.id for n in nodes}) != len(nodes):
        twice = next(n.id for i, n in enumerate(nodes) if n.id in {m.id for m in nodes[:i]})
        raise InputError("a model is given twice", found=twice, fix="give every model once")
    seen: set[tuple[int, int]] = set()
    for r in relations:
        pair = (min(r.a, r.b), max(r.a, r.b))
        if not 0 <= pair[0] < pair[1] < len(nodes):
            raise InputError("a relation names models that are not there", expected=f"two of 0 to {len(nodes) - 1}", found=pair)
        if pair in seen:
            raise InputError("two relations for one pair", found=pair)
        seen.add(pair)
        ok = r.distance is None or (0 <= r.distance <= math.pi and math.isfinite(r.distance_sd) and r.distance_sd >= 0)
        if not ok or (r.log10_e is not None and math.isnan(r.log10_e)):
            raise InputError("a relation with impossible numbers", expected="a distance of 0 to π, sd >= 0, no NaN", found=pair)


class _Builder:
    """Collects nodes and edges, component by component."""

    def __init__(self, nodes: Sequence[Node], relations: Sequence[Relation], kin_NN: NDArray[np.bool_], policy: Policy, shared_bits: bool) -> None:
        n = len(nodes)
        self.kin, self.policy, self.shared_bits = kin_NN, policy, shared_bits
        self.nodes = [TreeNode(node.name, "given") for node in nodes]
        self.edges: list[Edge] = []
        self.claims: list[Claim] = []
        self.d: Matrix = np.full((n, n), np.nan)
        self.sd: Matrix = np.full((n, n), np.nan)
        np.fill_diagonal(self.d, 0.0)
        np.fill_diagonal(self.sd, 0.0)
        self.twins = np.zeros((n, n), dtype=bool)
        self.evidence = np.zeros(n)
        self.arrows: dict[tuple[int, int], str] = {}
        for r in relations:
            if r.distance is not None:
                self.d[r.a, r.b] = self.d[r.b, r.a] = r.distance
                self.sd[r.a, r.b] = self.sd[r.b, r.a] = r.distance_sd
            self.evidence[[r.a, r.b]] += min(max(r.log10_e or 0.0, 0.0), 1e9)
            self.twins[r.a, r.b] = self.twins[r.b, r.a] = r.tie == "shared initialisation"
            if r.direction and kin_NN[r.a, r.b]:
                self.arrows[(r.a, r.b) if r.direction == "a → b" else (r.b, r.a)] = r.why

    def build(self, tested: int, threshold: float) -> Tree:
        parts = []
        for part in components(self.kin):
            first_node, first_edge = len(self.nodes), len(self.edges)
            self._component(part)
            self._place_arrows(first_edge)
            parts.append((*part, *range(first_node, len(self.nodes))))
        caveats = list(_CAVEATS) if self.edges else []
        return Tree(tuple(self.nodes), tuple(self.edges), tuple(parts), tuple(self.claims), tested, threshold, tuple(caveats), self.policy)

    # --- one component ---

    def _component(self, part: list[int]) -> None:
        """Add the nodes and edges of one component."""
        standing, copies = self._copies(part)
        for a, b in copies:
            self.edges.append(Edge(a, b, "same", distance=float(self.d[a, b]), why="the same weights wherever they correspond, up to rounding"))
        if len(standing) < 2:
            return
        ids = np.array(standing)
        grid = np.ix_(ids, ids)
        z = NormalDist().inv_cdf(1 - self.policy.alpha / (2 * 3 * max(1, math.comb(len(ids), 3))))
        geometry = Geometry(self.d[grid], self.sd[grid], z, self.shared_bits)
        mixtures = find_mixtures(geometry, self.kin[grid], self.policy)
        tree = join(geometry, self.kin[grid], self.twins[grid], mixtures, self.policy)
        self._links(tree, ids, [{slot[0] for slot in x.parents} for x in mixtures.found if x.named and not x.directed and len(x.parents) == 2])
        for mix in mixtures.found:
            self._mixture(mix, ids, geometry, {x.child for x in mixtures.found if not x.named})
        self._leftovers(tree, mixtures.found, ids)

    def _copies(self, part: list[int]) -> tuple[list[int], list[tuple[int, int]]]:
        """(models that stand for themselves, (stands, copy) pairs): copies are closer than `copy_distance`, beyond measurement. Of several, the one with
        most evidence stands, unless it descends from another.
        """
        standing: list[int] = []
        copies = []
        heads = {b for a, b in self.arrows if self._same(a, b)}
        for m in sorted(part, key=lambda i: (i in heads, -float(self.evidence[i]), i)):
            stands = next((s for s in standing if self._same(s, m)), None)
            if stands is None:
                standing.append(m)
            else:
                copies.append((stands, m))
        return sorted(standing), sorted(copies)

    def _same(self, a: int, b: int) -> bool:
        return bool(self.d[a, b] + 4 * self.sd[a, b] <= self.policy.copy_distance)

    def _add(self, node: TreeNode) -> int:
        self.nodes.append(node)
        return len(self.nodes) - 1

    def _links(self, tree: Skeleton, ids: NDArray[np.int64], parents: list[set[int]]) -> None:
        """The links of a skeleton as edges, its junctions as nodes. Two models get no line where a third lies between them."""
        names = {i: int(m) for i, m in enumerate(ids)}
        for j in range(tree.given, tree.given + tree.junctions):
            why = "its neighbours share a change that no given model explains: an ancestor not given, or the same treatment twice"
            names[j] = self._add(TreeNode(UNNAMED, "unnamed", why=why))
        links = sorted(tree.all_links(), key=lambda x: (float(x.length[1]), x.a, x.b))
        start: int | None = None
        for link in links:
            if {link.a, link.b} in parents:
                continue
            a = self._end(link.a, link.open_a, names)
            b = self._end(link.b, link.open_b, names)
            if link.start:
                if start is None:
                    start = self._add(TreeNode(START, "start", why="dependent, but no more alike than models trained apart from the same initial weights"))
                tied = {x for e in self.edges for x in (e.a, e.b) if start in (e.a, e.b)}
                for x in (a, b):
                    if x not in tied:
                        self.edges.append(Edge(start, x, "line", why="shared initialisation"))
                continue
            resolved = not link.open_a and not link.open_b
            self.edges.append(Edge(a, b, "line", distance=_radians(link, tree) if resolved else None, why=_why(link, tree)))

    def _end(self, node: int, among: tuple[int, ...], names: dict[int, int]) -> int:
        """The node number of a link's end; where it is open, that of a new open node tied to the nearest possibility."""
        if not among:
            return names[node]
        new = self._add(TreeNode(OPEN, "open", tuple(names[m] for m in among), "joins at or between these; distances do not tell which"))
        self.edges.append(Edge(names[node], new, "open", why="one of the places where it may join"))
        return new

    def _mixture(self, mix: Mixture, ids: NDArray[np.int64], g: Geometry, astray: set[int]) -> None:
        """The edges into one model that lies between others; `astray`: those without named parents, to which none is tied if it can be helped."""
        child = int(ids[mix.child])
        if not mix.named:
            among = tuple(sorted(int(ids[p[0]]) for p in mix.parents))
            new = self._add(TreeNode(OPEN, "open", among, mix.why))
            nearest = min(mix.parents, key=lambda slot: (slot[0] in astray, float(g.d[slot[0], mix.child])))
            self.edges.append(Edge(int(ids[nearest[0]]), new, "open", why="one of the models that it lies between"))
            self.edges.append(Edge(new, child, "line", why=mix.why))
            return
        kind = "arrow" if mix.directed else "line"
        if mix.like:
            same = (child, *sorted(int(ids[m]) for m in mix.like))
            head = self._add(TreeNode(OPEN, "open", same, "one of these is the mixture, the others are next to it; distances do not tell which"))
            self.edges.append(Edge(child, head, "open", why="one of the models that may be the mixture"))
            child = head
        for slot, weight in zip(mix.parents, mix.weights, strict=True):
            parent, why, length = int(ids[slot[0]]), mix.why, float(g.d[slot[0], mix.child])
            if len(slot) > 1:
                among = tuple(sorted(int(ids[s]) for s in slot))
                new = self._add(TreeNode(OPEN, "open", among, "one of these is the parent; distances do not tell which"))
                self.edges.append(Edge(parent, new, "open", why="one of the possible parents"))
                self.edges.append(Edge(new, child, "line", True, weight, None, why))
            else:
                self.edges.append(Edge(parent, child, kind, True, weight, length, why))  # type: ignore[arg-type]

    def _leftovers(self, tree: Skeleton, mixtures: Sequence[Mixture], ids: NDArray[np.int64]) -> None:
        """Tie parts of the component that nothing joined so far (no distance could be measured, or only other groups are kin)."""
        part = {m: m for m in ids.tolist()}

        def root(i: int) -> int:
            while part[i] != i:
                i = part[i]
            return i

        def unite(a: int, b: int) -> None:
            part[root(a)] = root(b)

        for link in tree.all_links():
            side_a = [m for m in tree.members(link.a) if m < tree.given]
            for m in side_a[1:]:
                unite(int(ids[side_a[0]]), int(ids[m]))
        for mix in mixtures:
            for p in mix.parents:
                unite(int(ids[mix.child]), int(ids[p[0]]))
        for a, b in itertools.combinations(ids.tolist(), 2):
            if self.kin[a, b] and root(a) != root(b):
                among = tuple(m for m in ids.tolist() if self.kin[b, m] and root(m) == root(a))
                if len(among) == 1:
                    self.edges.append(Edge(a, b, "line", why="kin; no distance could be measured"))
                else:
                    new = self._add(TreeNode(OPEN, "open", among, "kin to these; no distance tells to which it is next"))
                    self.edges += [Edge(a, new, "open", why="one of its kin"), Edge(new, b, "line", why="kin; place not resolved")]
                unite(a, b)

    # --- arrows ---

    def _place_arrows(self, first: int) -> None:
        """Turn lines into arrows where one-way evidence about the very pair exists; the rest becomes claims, once all edges of a component are there."""
        members = {x for e in self.edges[first:] for x in (e.a, e.b)}
        for (a, b), why in sorted(self.arrows.items()):
            if a not in members or b not in members:
                continue
            for i, e in enumerate(self.edges[first:], first):
                if {e.a, e.b} != {a, b}:
                    continue
                if e.kind in ("line", "same") and not self.twins[a, b]:
                    self.edges[i] = Edge(a, b, "arrow", e.mixture and e.a == a, e.weight, e.distance, why)
                    break
                if e.kind == "arrow" and (e.a, e.b) == (a, b):
                    self.edges[i] = Edge(a, b, "arrow", e.mixture, e.weight, e.distance, f"{why}; {e.why}")
                    break
                if e.kind == "arrow":
                    self.edges[i] = Edge(e.a, e.b, "line", e.mixture, e.weight, e.distance, f"evidence for both directions: {e.why}; {why}")
                    self.claims.append(Claim(a, b, f"contradicts the edge: {why}", False))
                    break
            else:
                self.claims.append(Claim(a, b, why, not self.twins[a, b] and (b, a) not in self.arrows))


def _radians(link: Link, tree: Skeleton) -> float:
    """A link's length as an angle: measured between given models, else from its additive length."""
    if max(link.a, link.b) < tree.given and not np.isnan(tree.geometry.d[link.a, link.b]):
        return float(tree.geometry.d[link.a, link.b])
    return float(np.arccos(np.exp(-link.length[1])))


def _why(link: Link, tree: Skeleton) -> str:
    if link.open_a or link.open_b:
        return "kin; where it joins is not resolved"
    if max(link.a, link.b) >= tree.given:
        return "kin through a model that was not given"
    return "kin; no one-way evidence"
