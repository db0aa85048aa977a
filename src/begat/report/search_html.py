"""A search as one self-contained HTML page: no network, no script, light and dark.

Enters: a `SearchResult`.  Leaves: the page.  Words: `search_words.py`; the pictures: `layermatch.py` and the tree's
presenter; markup in `templates/search.html.j2` and, shared with `begat serve`, `templates/_search.html.j2`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from begat.report import search_words as say
from begat.report import tree_layout, tree_svg, words
from begat.report.gridmap import STEPS
from begat.report.html import environment
from begat.report.layermatch import layer_picture

if TYPE_CHECKING:
    from begat.index.search import SearchResult


def render_html(result: SearchResult, asked: str = "") -> str:
    """The page, as text to be written in UTF-8. asked: path of the query, for the commands that the leads ask for."""
    return environment().get_template("search.html.j2").render(**context(result, asked))


def context(r: SearchResult, asked: str = "") -> dict[str, Any]:
    """What `_search.html.j2` shows."""
    return {
        "r": r, "headline": say.headline(r), "price": words.powers(say.price(r)), "effort": say.effort(r), "same": say.same(r), "steps": STEPS,
        "rows": [say.row(x) for x in r.relatives], "leads": [say.lead(x, asked) for x in r.leads],
        "picture": layer_picture(r.layers, [(x.entry.name, x.match) for x in r.relatives]), **_tree(r),
        "caveats": (*r.notes, *say.CAVEATS), "badge": _badge(r), "tone": "shared" if r.relatives else "part" if r.leads else "open",
    }  # fmt: skip


def _tree(r: SearchResult) -> dict[str, Any]:
    """The tree's picture, whose first node is the query, and its legend."""
    if r.tree is None:
        return {"tree": None, "keys": ()}
    p = tree_layout.picture(r.tree)
    return {"tree": p, "keys": tree_svg.legend(p)}


def _badge(r: SearchResult) -> str:
    if r.relatives:
        return words.plural(len(r.relatives), "relative")
    return "leads only" if r.leads else "could not be tested" if r.untestable else "nothing found"
