"""A family tree as one self-contained page: the picture with pan, zoom and search, and every edge with its evidence. No network, no library.

Enters: a `Tree`.  Leaves: the page. The one script is `templates/tree.js`, allowed by its hash alone, so that nothing a name holds can run; the
page shows all it has without it, too. Places: `tree_layout.py`.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass

from begat.errors import printable
from begat.report.html import environment
from begat.report.tree_layout import drawn, name, names, picture
from begat.report.tree_svg import legend
from begat.report.words import plural
from begat.tree.types import Tree

_SIGNS = {"arrow": "→", "descent": "⇢", "line": "–", "open": "⋯", "same": "="}


@dataclass(frozen=True, slots=True)
class Row:
    """One edge in words; `angle` in radians."""

    a: str
    sign: str
    b: str
    angle: str
    why: str


def render_html(tree: Tree) -> str:
    """The page, as text to be written in UTF-8."""
    p = picture(tree)
    script = environment().get_template("tree.js").render()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = environment().get_template("tree.html.j2")
    return page.render(
        picture=p, legend=legend(p), frame=round(max(260, p.height + 40)), given=sum(n.kind == "given" for n in tree.nodes), sentence=sentence(tree),
        threshold=f"{tree.threshold:.1f}", tested=f"{tree.tested:,}", edges=rows(tree), alone=alone(tree),
        contradictions=[printable(f"{name(tree, c.a)} → {name(tree, c.b)}: {c.why}", 1200) for c in tree.claims if not c.stands],
        caveats=(*untested(tree), *tree.caveats), script_hash=f"sha256-{digest}",
    )  # fmt: skip


def alone(tree: Tree) -> list[str]:
    """Models without kin."""
    return [name(tree, part[0]) for part in tree.components if len(part) == 1]


def untested(tree: Tree) -> list[str]:
    """Models of which nothing could be tested, each with the reason."""
    return [f"{printable(who, 200)} could not be tested and has no place in this tree: {printable(why, 600)}." for who, why in tree.untested]


def sentence(tree: Tree) -> str:
    """The tree in one line."""
    given = sum(n.kind == "given" for n in tree.nodes)
    families = sum(len(part) > 1 for part in tree.components)
    arrows = sum(e.kind == "arrow" for e in tree.edges)
    dotted = sum(bool(e.among) for e in drawn(tree))
    pairs = given * (given - 1) // 2
    if tree.untested and given < 2:
        return f"{plural(given + len(tree.untested), 'model')}: {len(tree.untested)} could not be tested, so that no two could be compared."
    if families:
        kin = f"{families} famil{'y' if families == 1 else 'ies'} of kin"
    else:
        kin = "no kin" if tree.tested or pairs == 0 else "no two have anything that could be compared"
    some = tree.tested < pairs and (families or tree.tested)
    parts = [f"{plural(given, 'model')}: {kin}", f"{tree.tested:,} of {pairs:,} pairs could be compared" if some else "",
             f"{plural(len(tree.untested), 'other model')} could not be tested" if tree.untested else "",
             f"{len(alone(tree))} without kin" if families and alone(tree) else "",
             f"{plural(arrows, 'edge') if arrows else 'no edge'} directed by one-way evidence" if families else "",
             f"{plural(dotted, 'place')} not resolved" if dotted else ""]  # fmt: skip
    return ", ".join(x for x in parts if x) + "."


def rows(tree: Tree) -> list[Row]:
    """Every edge as a line of the table."""
    out = []
    for e in drawn(tree):
        ends = [f"one of, or between: {names(tree, among)}" if among else name(tree, x) for x, among in ((e.a, e.among_a), (e.b, e.among_b))]
        out.append(Row(ends[0], _SIGNS[e.style], ends[1], f"{e.distance:.3f}" if e.distance is not None else "–", e.why))
    return out
