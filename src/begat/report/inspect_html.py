"""An inspection as one self-contained HTML file, in the style of a verdict's.

Enters: an `Inspection`.  Leaves: the page.  Environment, escaping and filters: `html.py`; the picture: `heatmap.py`; the
markup: `templates/inspect.html.j2`.
"""

from __future__ import annotations

import re
from typing import Any

from begat.inspection import Finding, Inspection
from begat.report import words
from begat.report.gridmap import STEPS
from begat.report.heatmap import heat_maps
from begat.report.html import environment
from begat.report.inspect_text import BASES, number_words, tower_words

_LISTED = 60


def render_inspection_html(inspection: Inspection) -> str:
    """The page, as text to be written in UTF-8."""
    i = inspection
    pairs = [p for f in i.findings for p in f.found.pairs]
    return environment().get_template("inspect.html.j2").render(
        v=i,
        label=([part for part in re.split(r"[/\\]", i.path) if part] or [i.path])[-1],
        towers=[tower_words(t) for t in i.towers],
        findings=[_finding(f) for f in i.findings],
        heats=heat_maps(pairs),
        steps=STEPS,
        read=f"{words.size(i.bytes_read)} {words.of_total(i.bytes_read, i.bytes_total)}, in {words.duration(i.seconds)}",
        listed=_LISTED,
    )  # fmt: skip


def _finding(f: Finding) -> dict[str, Any]:
    found = f.found
    exact = found.log10_e is not None
    return {
        "name": f.name, "title": f.title, "status": found.status, "sentence": found.sentence, "looked_at": found.looked_at,
        "tone": "shared" if found.descent else "apart" if found.status == "found" else "open", "basis": BASES[f.basis],
        "null": f.null,
        "says_not": f.says_not, "e": words.e_value(found.log10_e) if exact else None, "p": words.p_bound(found.log10_p)
        if exact else None,
        "entries": [(x.where, x.what, number_words(x.numbers)) for x in found.items],
    }  # fmt: skip
