"""Where everything lies in the picture of a family tree, and in which order a list tells it.

Enters: a `Tree`.  Leaves: an `Outline` (who hangs below whom, for text and Newick) and a `Picture` (places in px, for SVG and HTML).  Nothing is
inferred here. Neither left and right nor above and below say who came first: the outline starts at the node with most neighbours, and only
arrows carry direction.

An open node is not drawn as a node: the edge from its anchor to what joins there becomes one dotted edge that lists the alternatives.
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass

from begat.errors import printable
from begat.tree.types import Tree

_ROW, _BOX, _GAP, _PAD, _LEFT, _TOP = 34, 24, 64, 10, 24, 24
#: px of one narrow character at 12 px, and characters of a name that are shown
_CHAR, SHOWN = 6.7, 30


@dataclass(frozen=True, slots=True)
class Drawn:
    """An edge between two nodes that are drawn.

    Attributes:
        a, b: node numbers of the `Tree`; an arrow points at b.
        style: "arrow", "line", "same", "open" or "descent" (one-way evidence between models that are no neighbours, or whose place is open).
        mixture: b was mixed from a and others.
        label: coefficient of a mixture, "" otherwise.
        title: everything there is to say, one line; why: the same without names.
        distance: radians, None where not measured.
        among_a, among_b: for an open edge, the nodes at or between which that end lies; empty for an end that is known.
    """

    a: int
    b: int
    style: str
    mixture: bool
    label: str
    title: str
    why: str
    distance: float | None
    among_a: tuple[int, ...] = ()
    among_b: tuple[int, ...] = ()

    @property
    def among(self) -> tuple[int, ...]:
        """All alternatives of both ends."""
        return tuple(sorted({*self.among_a, *self.among_b}))


@dataclass(frozen=True, slots=True)
class Outline:
    """A tree as a list: `roots` in order; `below`: node → its (edge, node) in order; `also`: edges that are left over (further parents)."""

    roots: tuple[int, ...]
    below: dict[int, tuple[tuple[Drawn, int], ...]]
    also: tuple[Drawn, ...]


@dataclass(frozen=True, slots=True)
class Box:
    """A node: left, top, width and height in px; `kind` as in `TreeNode`, "mixture" for a given model with several parents; `group`: its component."""

    node: int
    kind: str
    text: str
    title: str
    x: float
    y: float
    width: float
    height: float
    group: int


@dataclass(frozen=True, slots=True)
class Curve:
    """An edge: an SVG path, its class, where its label stands, and the ends for highlighting."""

    path: str
    style: str
    label: str
    title: str
    x: float
    y: float
    a: int
    b: int


@dataclass(frozen=True, slots=True)
class Picture:
    """All boxes and curves, and the size in px."""

    boxes: tuple[Box, ...]
    curves: tuple[Curve, ...]
    width: float
    height: float
    styles: frozenset[str]


def name(tree: Tree, node: int) -> str:
    """What a node is called, on one line and safe to show."""
    return printable(tree.nodes[node].name, 200) or "(no name)"


def shorten(text: str, limit: int = SHOWN) -> str:
    """`text` cut in the middle: names of relatives differ at their ends."""
    if len(text) <= limit:
        return text
    head = (limit - 1) // 2
    return text[:head] + "…" + text[len(text) - (limit - 1 - head) :]


def names(tree: Tree, nodes: Iterable[int], most: int = 8) -> str:
    """Several names; others are counted."""
    listed = [name(tree, n) for n in nodes]
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more


def drawn(tree: Tree) -> list[Drawn]:
    """The edges as they are shown: open nodes folded into dotted edges."""
    anchor = {e.b: e.a for e in tree.edges if e.kind == "open"}
    out = []
    for e in tree.edges:
        if e.kind == "open":
            continue
        a, b = anchor.get(e.a, e.a), anchor.get(e.b, e.b)
        if a == b:
            continue
        among_a, among_b = (tree.nodes[x].among if x in anchor else () for x in (e.a, e.b))
        is_open = bool(among_a or among_b)
        label = f"{e.weight:.2f}" if e.mixture and e.weight is not None else ""
        why = printable("; ".join(x for x in (f"{label} of a mixture" if label else "", e.why) if x), 600)
        title = _title(tree, a, b, e.kind, e.distance, why, among_a, among_b)
        out.append(Drawn(a, b, "open" if is_open else e.kind, e.mixture, label, title, why, e.distance, among_a, among_b))
    return _with_claims(tree, out)


def _with_claims(tree: Tree, edges: list[Drawn]) -> list[Drawn]:
    """Claims that stand, as edges; one between two models with a dotted edge takes its place."""
    out = list(edges)
    for c in tree.claims:
        if not c.stands:
            continue
        why = printable(f"{c.why}; models may stand between", 600)
        title = f"{name(tree, c.a)} → {name(tree, c.b)}: {why}"
        same = next((i for i, e in enumerate(out) if {e.a, e.b} == {c.a, c.b} and e.style == "open" and not e.mixture), None)
        if same is None:
            out.append(Drawn(c.a, c.b, "descent", False, "", title, why, None))
        else:
            e = out[same]
            among = (e.among_a, e.among_b) if e.a == c.a else (e.among_b, e.among_a)
            out[same] = Drawn(c.a, c.b, "descent", False, "", f"{title}; {e.title}", f"{why}; {e.why}", None, *among)
    return out


def _title(tree: Tree, a: int, b: int, kind: str, distance: float | None, why: str, among_a: tuple[int, ...], among_b: tuple[int, ...]) -> str:
    start, end = (f"one of or between ({names(tree, among)})" if among else name(tree, x) for x, among in ((a, among_a), (b, among_b)))
    sign = {"arrow": "→", "same": "="}.get(kind, "–")
    facts = [f"{distance:.3f} rad" if distance is not None else "", why]
    return printable(f"{start} {sign} {end}: " + "; ".join(f for f in facts if f), 1200)


# --- who hangs below whom -------------------------------------------------------------------------------------------


def outline(tree: Tree) -> Outline:
    """Spanning trees of all components, the node with most neighbours first; arrows point down wherever they can."""
    edges = drawn(tree)
    plain: dict[int, list[tuple[Drawn, int]]] = defaultdict(list)
    into: dict[int, list[Drawn]] = defaultdict(list)
    for e in edges:
        if e.mixture:
            into[e.b].append(e)
        elif e.style != "descent" or e.among:
            plain[e.a].append((e, e.b))
            plain[e.b].append((e, e.a))
    below: dict[int, list[tuple[Drawn, int]]] = defaultdict(list)
    used: set[int] = set()
    seen: set[int] = set()
    roots: list[int] = []
    for part in tree.components:
        shown = [n for n in part if tree.nodes[n].kind != "open"]
        groups = _groups(shown, plain)
        # groups without parents first; a mixture's group follows below one of its parents
        for group in sorted(groups, key=lambda g: (any(into[n] for n in g), g[0])):
            heads = [n for n in group if into[n]]
            if any(n in seen for n in group):
                continue
            if not heads:
                root = _root(group, plain)
                roots.append(root)
                _spread(root, plain, below, seen, used)
        pending = [n for g in groups for n in g if into[n]]
        while pending:
            ready = [n for n in pending if n in seen or any(e.a in seen for e in into[n])]
            n = ready[0] if ready else pending[0]
            pending.remove(n)
            if n in seen:
                continue
            hook = next((e for e in into[n] if e.a in seen), None)
            if hook is None:
                roots.append(n)
            else:
                below[hook.a].append((hook, n))
                used.add(id(hook))
            _spread(n, plain, below, seen, used)
    return Outline(tuple(roots), {n: tuple(v) for n, v in below.items()}, tuple(e for e in edges if id(e) not in used))


def _groups(nodes: list[int], plain: dict[int, list[tuple[Drawn, int]]]) -> list[list[int]]:
    """Nodes connected by edges that are no mixture's."""
    out, seen = [], set[int]()
    for start in nodes:
        if start in seen:
            continue
        part, queue = [], deque([start])
        seen.add(start)
        while queue:
            here = queue.popleft()
            part.append(here)
            for _, other in plain[here]:
                if other not in seen:
                    seen.add(other)
                    queue.append(other)
        out.append(sorted(part))
    return out


def _root(group: list[int], plain: dict[int, list[tuple[Drawn, int]]]) -> int:
    """The node from which fewest arrows point up, then the one with most neighbours, then the one in the middle."""
    if len(group) > 1500:
        return max(group, key=lambda n: (len(plain[n]), -n))

    def cost(root: int) -> tuple[int, int, int, int]:
        up, depth, seen, queue = 0, 0, {root}, deque([(root, 0)])
        while queue:
            here, level = queue.popleft()
            depth = max(depth, level)
            for e, other in plain[here]:
                if other not in seen:
                    seen.add(other)
                    up += e.style in ("arrow", "descent") and e.b == here
                    queue.append((other, level + 1))
        return up, -len(plain[root]), depth, root

    return min(group, key=cost)


def _spread(root: int, plain: dict[int, list[tuple[Drawn, int]]], below: dict[int, list[tuple[Drawn, int]]], seen: set[int], used: set[int]) -> None:
    """Hang everything reachable without mixtures below `root`."""
    seen.add(root)
    queue = deque([root])
    while queue:
        here = queue.popleft()
        for e, other in plain[here]:
            if other not in seen:
                seen.add(other)
                used.add(id(e))
                below[here].append((e, other))
                queue.append(other)


# --- places -----------------------------------------------------------------------------------------------------------


def picture(tree: Tree) -> Picture:
    """Places of all nodes and edges, left to right, the roots at the left."""
    shape = outline(tree)
    rows, column = _places(tree, shape)
    mixtures = {e.b for e in drawn(tree) if e.mixture}
    texts = {n: shorten(name(tree, n)) for n in rows}
    wide = {n: _width(tree, n, texts[n]) for n in rows}
    left = _columns(column, wide)
    group = {n: i for i, part in enumerate(tree.components) for n in part}
    boxes = {
        n: Box(n, "mixture" if n in mixtures else tree.nodes[n].kind, texts[n], _node_title(tree, n), round(left[column[n]], 1),
               round(_TOP + rows[n] * _ROW, 1), wide[n], _BOX, group.get(n, 0))
        for n in sorted(rows)
    }  # fmt: skip
    curves = [_curve(e, boxes) for e in drawn(tree)]
    right = max((b.x + b.width for b in boxes.values()), default=200.0)
    bottom = max((b.y + b.height for b in boxes.values()), default=40.0)
    styles = {c.style.split()[0] for c in curves} | ({"mixture"} if mixtures else set()) | {b.kind for b in boxes.values()}
    return Picture(tuple(boxes.values()), tuple(curves), round(right + _LEFT, 1), round(bottom + _TOP, 1), frozenset(styles))


def _places(tree: Tree, shape: Outline) -> tuple[dict[int, float], dict[int, int]]:
    """Row and column of every node: leaves take a row each, others stand in the middle of what hangs below them."""
    rows: dict[int, float] = {}
    column: dict[int, int] = {}
    following = 0.0
    further: dict[int, list[int]] = defaultdict(list)
    for e in shape.also:
        if e.mixture:
            further[e.b].append(e.a)
    last: int | None = None
    group = {n: i for i, part in enumerate(tree.components) for n in part}
    for root in shape.roots:
        if last is not None and group.get(root) != last:
            following += 0.6
        last = group.get(root)
        column[root] = 0
        stack: list[tuple[int, int]] = [(root, 0)]
        while stack:
            node, step = stack.pop()
            children = [c for _, c in shape.below.get(node, ())]
            if step < len(children):
                stack.append((node, step + 1))
                column[children[step]] = column[node] + 1
                stack.append((children[step], 0))
            elif children:
                rows[node] = (rows[children[0]] + rows[children[-1]]) / 2
            else:
                rows[node] = following
                following += 1
    # a mixture stands right of all its parents, and what hangs below it moves along
    for _ in range(len(rows)):
        moved = False
        for node, parents in further.items():
            least = 1 + max((column[p] for p in parents if p in column), default=-1)
            if node in column and column[node] < least and not _hangs(parents, node, shape):
                moved = True
                shift = least - column[node]
                todo = [node]
                while todo:
                    n = todo.pop()
                    column[n] += shift
                    todo += [c for _, c in shape.below.get(n, ())]
        if not moved:
            break
    return rows, column


def _hangs(nodes: list[int], above: int, shape: Outline) -> bool:
    """Does one of `nodes` hang below `above`?"""
    todo, found = [above], set[int]()
    while todo:
        n = todo.pop()
        found.add(n)
        todo += [c for _, c in shape.below.get(n, ()) if c not in found]
    return any(n in found for n in nodes)


def _columns(column: dict[int, int], wide: dict[int, float]) -> dict[int, float]:
    """Left edge of every column."""
    most: dict[int, float] = defaultdict(float)
    for n, c in column.items():
        most[c] = max(most[c], wide[n])
    out, x = {}, float(_LEFT)
    for c in range(max(column.values(), default=0) + 1):
        out[c] = x
        x += most[c] + _GAP
    return out


def _width(tree: Tree, node: int, text: str) -> float:
    cells = sum(2 if unicodedata.east_asian_width(ch) in "WF" else 0 if unicodedata.combining(ch) else 1 for ch in text)
    return round(2 * _PAD + cells * _CHAR + (14 if tree.nodes[node].kind != "given" else 0), 1)


def _node_title(tree: Tree, node: int) -> str:
    why = tree.nodes[node].why
    return name(tree, node) + (f": {printable(why, 400)}" if why else "")


def _curve(e: Drawn, boxes: dict[int, Box]) -> Curve:
    """From the right side of the left box to the left side of the right one; within one column, an arc at the right."""
    a, b = boxes[e.a], boxes[e.b]
    forth = a.x <= b.x
    first, second = (a, b) if forth else (b, a)
    y1, y2 = first.y + first.height / 2, second.y + second.height / 2
    x1 = first.x + first.width
    if first.x == second.x:
        x2 = second.x + second.width
        out = max(x1, x2) + _GAP * 0.45
        path, middle = (x1, y1, out, y1, out, y2, x2, y2), (out - 4, (y1 + y2) / 2)
    else:
        x2 = second.x
        bend = max(_GAP * 0.5, (x2 - x1) * 0.5) if x2 - x1 < 3 * _GAP else _GAP
        path, middle = (x1, y1, x1 + bend, y1, x2 - bend, y2, x2, y2), _along(x1, x1 + bend, x2 - bend, x2, y1, y2)
    if not forth:
        path = (*path[6:], *path[4:6], *path[2:4], *path[:2])
    text = "M{:.1f} {:.1f} C{:.1f} {:.1f} {:.1f} {:.1f} {:.1f} {:.1f}".format(*path)
    style = e.style + (" mixture" if e.mixture else "")
    return Curve(text, style, e.label, e.title, round(middle[0], 1), round(middle[1] + 3, 1), e.a, e.b)


def _along(x1: float, x2: float, x3: float, x4: float, y1: float, y2: float) -> tuple[float, float]:
    """A point of a Bézier curve with level ends, near its start."""
    t = 0.25
    while t > 0.02:
        s = 1 - t
        x = s**3 * x1 + 3 * s * s * t * x2 + 3 * s * t * t * x3 + t**3 * x4
        if x - x1 <= _GAP * 0.5:
            break
        t -= 0.02
    return x, (s**3 + 3 * s * s * t) * y1 + (3 * s * t * t + t**3) * y2
