"""A family tree as one SVG file: static, no script, light and dark, the same bytes for the same tree.

Enters: a `Tree`.  Leaves: the file's text.  Places come from `tree_layout.py`, markup from `templates/tree.svg.j2`; every name passes
`begat.errors.printable` (no control character is valid in XML) and autoescape.
"""

from __future__ import annotations

from dataclasses import dataclass

from begat.report.html import environment
from begat.report.tree_layout import Picture, picture
from begat.tree.types import Tree

_LINE, _NARROW, _CHAR = 22, 520, 6.3

#: style → (is an edge, words); the order is the legend's
LEGEND = {
    "arrow": (True, "made from, by one-way evidence; at its tail may stand a model close to the one drawn"),
    "descent": (True, "descends from, by one-way evidence; models may stand between"),
    "line": (True, "nearest relatives among the models given; direction undetermined"),
    "arrow mixture": (True, "mixed from several parents, with coefficients; a line without a tip where the direction is undetermined"),
    "open": (True, "kin; where it joins is not resolved (point at it for the alternatives)"),
    "same": (True, "the same weights wherever they correspond, up to rounding"),
    "unnamed": (False, "a change in common that no given model explains: an ancestor not given, or the same treatment twice"),
    "start": (False, "the same initial weights, trained apart"),
    "mixture": (False, "a model between others"),
}


@dataclass(frozen=True, slots=True)
class Item:
    """One line of the legend, at (x, y) px."""

    style: str
    edge: bool
    text: str
    x: float
    y: float


def legend(p: Picture) -> tuple[Item, ...]:
    """What the picture shows, and what its places do not mean."""
    mixed = any("mixture" in c.style for c in p.curves)
    shown = [k for k in LEGEND if (k in p.styles and k != "mixture") or (k == "arrow mixture" and mixed)]
    return tuple(Item(k, LEGEND[k][0], LEGEND[k][1], 0, 24 + i * _LINE) for i, k in enumerate(shown))


def render_svg(tree: Tree) -> str:
    """The file, to be written in UTF-8."""
    p = picture(tree)
    items = legend(p)
    note = Item("note", False, "Left and right do not say who came first: only arrows do.", 0, 24 + len(items) * _LINE)
    width = max(p.width, _NARROW, 48 + 44 + max((len(i.text) for i in (*items, note)), default=0) * _CHAR)
    height = p.height + 24 + (len(items) + 1) * _LINE
    page = environment().get_template("tree.svg.j2")
    given = sum(n.kind == "given" for n in tree.nodes)
    return page.render(picture=p, legend=(*items, note), width=round(width), height=round(height), given=given) + "\n"
