"""A verdict as one self-contained HTML file: no network, no script, light and dark, for screens, phones and paper.

Enters: a `Verdict`.  Leaves: the page.  Places and words come from `layout.py`, `gridmap.py` and `words.py`; the markup is in
`templates/`.  Autoescape is on, and every string, wherever it came from, passes `begat.errors.printable` first.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from begat.alignment import Alignment
from begat.errors import printable
from begat.report import alignment, words
from begat.report.gridmap import STEPS, grids
from begat.report.layout import CHANCE, not_run, part_rows, role_rows, strips
from begat.types import Verdict

_LIMIT = 4000
_UNIT = re.compile(r"(?<=\d) (?=[\w%])")
#: unmapped names, only-here names and the like that are listed before "and N more"
_LISTED = 500


def render_html(verdict: Verdict) -> str:
    """The page, as text to be written in UTF-8."""
    v = verdict
    label_a, label_b = words.labels(v.a, v.b)
    replay = {k: x for k, x in v.replay.items() if k not in ("a", "b")}
    page = environment().get_template("report.html.j2")
    return page.render(
        v=v,
        label_a=label_a,
        label_b=label_b,
        sentence=words.powers(v.sentence),
        badge=words.BADGES.get(v.verdict, v.verdict),
        tone=words.TONES.get(v.verdict, "shared"),
        e=words.e_value(v.log10_e),
        p=words.p_bound(v.log10_p),
        figures=_figures(v),
        strips=strips(v.axes),
        not_run=not_run(v.axes),
        chance=CHANCE,
        grids=grids(v.cells, v.parts, v.accounting),
        roles=role_rows(v.cells),
        steps=STEPS,
        parts=part_rows(v.parts),
        **_alignment(v.alignment),
        replay=replay,
        digests=[(name, v.replay[key]) for name, key in (("A", "a"), ("B", "b")) if key in v.replay],
        command=words.rerun(v.a, v.b, v.replay),
        listed=_LISTED,
    )


def _alignment(a: Alignment | None) -> dict[str, Any]:
    """What the section on alignment shows."""
    if a is None:
        return {}
    return {
        "ways": alignment.ways(a), "view_line": alignment.view_line(a), "layer_picture": alignment.layer_picture(a),
        "layer_words": alignment.layer_words(a), "map_picture": alignment.map_picture(a),
    }  # fmt: skip


def _figures(v: Verdict) -> dict[str, str]:
    """Sums over the axes and what was read, in words."""
    ran = [x for x in v.axes if x.tests]
    out = {
        "hits": words.count(sum(x.hits for x in ran)) if ran else "",
        "sampled": words.count(sum(x.sampled for x in ran)),
        "expected": words.count(sum(x.expected for x in ran)),
        "read": words.size(v.bytes_read),
        "total": words.of_total(v.bytes_read, v.bytes_total),
        "seconds": words.duration(v.seconds),
    }
    return {name: _UNIT.sub("\N{NO-BREAK SPACE}", text) for name, text in out.items()}


@cache
def environment() -> Environment:
    """The templates' environment, for every page."""
    env = Environment(
        loader=PackageLoader("begat.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_clean,
    )
    env.filters.update(ratio=words.ratio, count=words.count, size=words.size, minus=_minus, trained_lines=words.trained_lines)
    return env


def _clean(value: Any) -> Any:
    """Applied to every expression of the templates; markup made by macros was cleaned when it was made."""
    return printable(value, _LIMIT) if isinstance(value, str) and not isinstance(value, Markup) else value


def _minus(text: object) -> str:
    """A number with a typographic minus."""
    return str(text).replace("-", "−")
