"""A tree under construction: given models and unnamed junctions, links with lengths, and where a newcomer joins.

Enters: `Geometry`, a `Policy`.  Leaves: links.  Who joins whom, and in which order: `join.py`.

A newcomer y (any model of the part that joins) is held against every link (x, x'): the corner at x between x' and y, and the corner
at x' between x and y. Near 0 at x and clearly larger at x': y joins on x's side. Clearly larger than two changes made apart can share
at both: y joins between them, at a model that was not given. Anything else leaves the link undecided. The links decided must point
to one place; the nodes that undecided links connect are what remains possible.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from begat.tree.geometry import Geometry, Matrix
from begat.tree.types import Policy

_TINY = 1e-12
#: models around a newcomer that are asked whether it joins where it seems to
_WITNESSES = 8
Bounds = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Link:
    """A link's length by form (0 flat, 1 spherical), its standard deviation, and what is not resolved at either end.

    `open_a`, `open_b`: nodes at or between which that end may lie; empty where resolved. `start`: the two sides are twins.
    """

    a: int
    b: int
    length: Matrix
    sd: Matrix
    open_a: tuple[int, ...] = ()
    open_b: tuple[int, ...] = ()
    start: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """Where a newcomer joins: at `node`; between the ends of `link`, `offset` from its end a; or somewhere among `among`."""

    node: int
    link: Link | None = None
    offset: Matrix | None = None
    offset_sd: Matrix | None = None
    among: tuple[int, ...] = ()


@dataclass(slots=True)
class Skeleton:
    """Nodes 0 … n−1 are given; junctions are numbered from n on. `doubt`: mixtures through which a model may join instead."""

    geometry: Geometry
    policy: Policy
    given: int
    doubt: dict[int, tuple[int, ...]] = field(default_factory=dict)
    links: dict[int, dict[int, Link]] = field(default_factory=dict)
    junctions: int = 0

    def all_links(self) -> Iterator[Link]:
        """Every link once."""
        return (link for a, others in self.links.items() for b, link in others.items() if a == link.a and b == link.b)

    def members(self, start: int, across: bool = True) -> list[int]:
        """The nodes connected with `start`, itself first; without `across`, not through links between twins."""
        seen, queue = {start}, deque([start])
        out = []
        while queue:
            node = queue.popleft()
            out.append(node)
            for other, link in self.links.get(node, {}).items():
                if other not in seen and (across or not link.start):
                    seen.add(other)
                    queue.append(other)
        return out

    def connect(self, link: Link) -> None:
        """Add a link."""
        self.links.setdefault(link.a, {})[link.b] = link
        self.links.setdefault(link.b, {})[link.a] = link

    def split(self, place: Place) -> int:
        """Put a junction into a link; returns its number."""
        link = place.link
        assert link is not None and place.offset is not None and place.offset_sd is not None
        new = self.given + self.junctions
        self.junctions += 1
        del self.links[link.a][link.b], self.links[link.b][link.a]
        first = np.clip(place.offset, _TINY, np.maximum(link.length - _TINY, _TINY))
        self.connect(replace(link, b=new, length=first, sd=place.offset_sd, open_b=(), start=False))
        self.connect(replace(link, a=new, length=np.maximum(link.length - first, _TINY), sd=place.offset_sd, open_a=()))
        return new

    def path(self, a: int, b: int) -> tuple[Matrix, Matrix]:
        """Length and variance along the links from a to b."""
        previous = {a: a}
        queue = deque([a])
        while queue and b not in previous:
            node = queue.popleft()
            for other in self.links.get(node, {}):
                if other not in previous:
                    previous[other] = node
                    queue.append(other)
        length, var = np.zeros(2), np.zeros(2)
        node = b
        while node != a:
            link = self.links[node][previous[node]]
            length, var = length + link.length, var + link.sd**2
            node = previous[node]
        return length, var

    def locate(self, near: int, y: int) -> Place:
        """Where y joins the part that holds `near`, y's nearest model there. The models around y have their say too."""
        place = self._agreed(self._among_links(near, y), y)
        here = {place.link.a, place.link.b} if place.link else {place.node, *place.among}
        given = [n for n in here if n < self.given] or [near]
        mixtures = {m for m in self.doubt.get(y, ()) if not all(self._past(m, n, y) for n in given)}
        if not mixtures:
            return place
        return Place(near if place.link else place.node, among=tuple(sorted(here | mixtures)))

    def _agreed(self, place: Place, y: int) -> Place:
        """`place`, or open where others of y's part contradict it: what joins at one node joins there as a whole."""
        if place.link is not None or place.among or place.node >= self.given:
            return place
        others = [n for n in self.members(y, across=False) if n < self.given and n != y][:_WITNESSES]
        against = {link.a + link.b - place.node for link in self.links.get(place.node, {}).values() if not link.start
                   for n in others if self._side(link, n)[0] not in ("", "a" if link.a == place.node else "b")}  # fmt: skip
        return Place(place.node, among=tuple(sorted({place.node, *against}))) if against else place

    def _past(self, m: int, n: int, y: int) -> bool:
        """Is m surely not between n and y?"""
        at_m = self.geometry.corner(m, n, y)
        return at_m[0] > self.policy.shared_change

    def _among_links(self, near: int, y: int) -> Place:
        """`locate` without mixtures. What are `near`'s twins is left out: y is not beyond them."""
        nodes = self.members(near, across=False)
        if len(nodes) == 1:
            return Place(near)
        possible = set(nodes)
        inside: list[tuple[Link, Matrix, Matrix]] = []
        for link in [x for n in nodes for x in self.links[n].values() if x.a == n and not x.start]:
            side, offset, sd = self._side(link, y)
            if side == "between":
                inside.append((link, offset, sd))
            elif side in ("a", "b"):
                possible &= self._beyond(link, side)
        if len(inside) == 1 and {inside[0][0].a, inside[0][0].b} <= possible:
            return Place(near, *inside[0])
        if not possible or inside:
            # the links contradict each other: distances fit no tree here
            ends = {n for link, _, _ in inside for n in (link.a, link.b)}
            return Place(near, among=tuple(sorted(ends | {near} if ends else nodes)))
        if len(possible) == 1:
            return Place(possible.pop())
        best = near if near in possible else min(possible, key=lambda n: float(self.path(near, n)[0][1]))
        return Place(best, among=tuple(sorted(possible)))

    def _beyond(self, link: Link, side: str) -> set[int]:
        """The nodes on one side of a link."""
        root, blocked = (link.a, link.b) if side == "a" else (link.b, link.a)
        seen, stack = {root, blocked}, [root]
        while stack:
            for other in self.links[stack.pop()]:
                if other not in seen:
                    seen.add(other)
                    stack.append(other)
        return seen - {blocked}

    def _nearest_given(self, node: int, blocked: int) -> tuple[int, Matrix, Matrix] | None:
        """The nearest given model on node's side of the link to `blocked`: (model, length, variance); None where there is none."""
        if node < self.given:
            return node, np.zeros(2), np.zeros(2)
        best: tuple[int, Matrix, Matrix] | None = None
        stack = [(node, blocked, np.zeros(2), np.zeros(2))]
        while stack:
            here, back, length, var = stack.pop()
            if here < self.given:
                if best is None or length[1] < best[1][1]:
                    best = here, length, var
                continue
            stack += [(o, here, length + x.length, var + x.sd**2) for o, x in self.links[here].items() if o != back]
        return best

    def _side(self, link: Link, y: int) -> tuple[str, Matrix, Matrix]:
        """On which side of a link y joins: "a", "b", "between" or "" (undecided); with the offset of the junction from a."""
        nothing = np.zeros(2), np.zeros(2)
        first, second = self._nearest_given(link.a, link.b), self._nearest_given(link.b, link.a)
        if first is None or second is None:
            return "", *nothing
        x, l1, v1 = first
        x2, l2, v2 = second
        g = self.geometry
        along, along_sd = g.projection(x, x2, y)
        if np.isnan(along).any():
            return "", *nothing
        offset, sd = along - l1, np.sqrt(along_sd**2 + v1)
        if x == link.a and x2 == link.b:
            at_a, at_b = g.corner(x, x2, y), g.corner(x2, x, y)
        else:
            at_a = self._corner(offset, sd, link, g.length[:, x, y] - l1)
            at_b = self._corner(link.length - offset, np.sqrt(along_sd**2 + v2), link, g.length[:, x2, y] - l2)
        p = self.policy
        if at_a[1] <= p.shared_change and at_b[0] > p.shared_change:
            return "a", *nothing
        if at_b[1] <= p.shared_change and at_a[0] > p.shared_change:
            return "b", *nothing
        if min(at_a[0], at_b[0], g.corner(y, x, x2)[0]) > p.shared_change:
            return "between", offset, sd
        return "", *nothing

    def _corner(self, offset: Matrix, sd: Matrix, link: Link, reach: Matrix) -> Bounds:
        """The corner at an end that may be a junction: shared length over the geometric mean of link and reach."""
        if (link.length <= self.geometry.z * link.sd).any() or (reach <= 0).any():
            return -np.inf, np.inf
        scale = np.sqrt(link.length * reach)
        return float(((offset - self.geometry.z * sd) / scale).min()), float(((offset + self.geometry.z * sd) / scale).max())
