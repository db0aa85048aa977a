"""A search as one page of text.

Enters: a `SearchResult`, a width, whether colours are wanted.  Leaves: lines.  Words: `search_words.py`; for browsers:
`search_html.py`.
"""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING

from begat.report import search_words as say
from begat.report.text import _BOLD, _DIM, _Page

if TYPE_CHECKING:
    from begat.index.search import SearchResult

#: relatives and leads that are listed before "and N more"
LISTED = 15


def print_search(result: SearchResult, asked: str = "") -> None:
    """Print to stdout, as `begat.report.text.print_text` does. asked: path of the query."""
    out = sys.stdout
    tty = out.isatty() and os.environ.get("TERM") != "dumb"
    width = max(72, min(100, shutil.get_terminal_size().columns - 1)) if tty else 80
    text = render_search(result, asked, width=width, color=tty and not os.environ.get("NO_COLOR"))
    encoding = getattr(out, "encoding", None) or "utf-8"
    out.write(text.encode(encoding, "replace").decode(encoding))


def render_search(result: SearchResult, asked: str = "", width: int = 80, color: bool = False) -> str:
    """The page, ending in a newline; without `color` it holds no escape sequence."""
    page, r = _Page(width, color), result
    page.wrap(say.headline(r), "", style=_BOLD)
    page.wrap(say.price(r), "")
    if r.same:
        page.wrap(say.same(r), "")
    if r.relatives:
        _relatives(page, r)
    if r.leads:
        _leads(page, r, asked)
    page.heading("Searched")
    page.wrap(say.effort(r))
    for id, why in r.unreadable[:LISTED]:
        page.wrap(f"not read: {id[:12]} ({why})", "  ", "    ", _DIM)
    page.heading("Caveats")
    for caveat in (*r.notes, *say.CAVEATS):
        page.wrap(f"- {caveat}", "  ", "    ")
    return "\n".join(line.rstrip() for line in page.lines) + "\n"


def _relatives(page: _Page, r: SearchResult) -> None:
    page.heading("Relatives", "e-values are corrected for the search; angle between corresponding units, where found")
    rows = [say.row(x) for x in r.relatives[:LISTED]]
    page.table(("model", "log10 e", "p ≤", "angle", "cosine"), [(x.name, x.e, str(x.p), x.angle, x.cosine) for x in rows])
    _more(page, len(r.relatives))
    page.lines.append("")
    groups: dict[tuple[str, ...], list[str]] = {}
    for x in rows:
        groups.setdefault((x.relation, x.direction, x.why, x.parts), []).append(x.name)
    for (relation, direction, why, parts), names in groups.items():
        page.wrap(f"{', '.join(names)}: {relation}", "  ", "    ")
        page.wrap(f"direction: {direction} ({why})", "    ", "      ", _DIM)
        page.wrap(f"parts: {parts or 'none by name'}", "    ", "      ", _DIM)


def _leads(page: _Page, r: SearchResult, asked: str) -> None:
    page.heading("Leads", "no exact evidence; calibrated; compare the weights")
    for x in r.leads[:LISTED]:
        row = say.lead(x, asked)
        page.wrap(f"{row.name}: {row.agreeing}, {row.p}", "  ", "    ")
        page.wrap(row.command, "    ", "      ", _DIM)
    _more(page, len(r.leads))


def _more(page: _Page, total: int) -> None:
    if total > LISTED:
        page.wrap(f"and {total - LISTED:,} more, listed by --json and --html", style=_DIM)
