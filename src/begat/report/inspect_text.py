"""An inspection as one page of text.

Enters: an `Inspection`, a width, whether colours are wanted.  Leaves: lines.  How lines are wrapped and tables set: `text.py`;
for browsers: `inspect_html.py`.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping

from begat.errors import printable
from begat.inspection import Finding, Inspection, TowerFacts, Value
from begat.report import words
from begat.report.text import _BLUE, _BOLD, _CYAN, _DIM, _YELLOW, _Page

#: items of a finding that are listed before "and N more"
LISTED = 12
#: basis → what it is worth
BASES = {
    "exact": "exact: a null with a proof",
    "counted": "counted from the stored numbers",
    "described": "described, without an error rate",
}


def print_inspection(inspection: Inspection) -> None:
    """Print to stdout, as `begat.report.text.print_text` does."""
    out = sys.stdout
    tty = out.isatty() and os.environ.get("TERM") != "dumb"
    width = max(72, min(100, shutil.get_terminal_size().columns - 1)) if tty else 80
    text = render_inspection(inspection, width=width, color=tty and not os.environ.get("NO_COLOR"))
    encoding = getattr(out, "encoding", None) or "utf-8"
    out.write(text.encode(encoding, "replace").decode(encoding))


def render_inspection(inspection: Inspection, width: int = 80, color: bool = False) -> str:
    """The page, ending in a newline; without `color` it holds no escape sequence."""
    page, i = _Page(width, color), inspection
    page.wrap(i.sentence, "", style=_BOLD)
    page.lines.append("")
    page.wrap(i.path)
    for tower in i.towers:
        page.wrap(tower_words(tower), hang="    ")
    page.wrap("stored as " + ", ".join(f"{t} ({words.plural(n, 'tensor')}, {v:,} values)" for t, n, v in i.types), hang="    ")
    for finding in i.findings:
        _finding(page, finding)
    page.heading("Read")
    page.wrap(f"{words.size(i.bytes_read)} {words.of_total(i.bytes_read, i.bytes_total)} in {words.duration(i.seconds)}")
    a = i.accounting
    page.wrap(
        f"{a.format}, {a.family or 'unknown family'}, {a.parameters:,} parameters; {words.plural(a.stored, 'tensor')}: "
        f"{a.mapped:,} mapped, {len(a.dropped):,} dropped, {len(a.unmapped):,} unmapped",
        hang="    ",
    )
    if a.unmapped:
        page.wrap(
            "unmapped: " + ", ".join(printable(n, 60) for n in a.unmapped[:3]) + (" …" if len(a.unmapped) > 3 else ""),
            "    ",
            style=_DIM,
        )
    page.heading("Caveats")
    for caveat in i.caveats:
        page.wrap(caveat, "  - ", "    ")
    page.heading("Replay")
    r = i.replay
    page.wrap(
        " · ".join([f"{r['tool']} {r['version']}", f"seed {r['seed']}", *([f"nonce {r['nonce']}"] if r["nonce"] else [])]),
        style=_DIM,
    )
    return "\n".join(line.rstrip() for line in page.lines) + "\n"


def _finding(page: _Page, f: Finding) -> None:
    found = f.found
    page.heading(printable(f.title), BASES[f.basis])
    tone = _BLUE if found.descent else _YELLOW if found.status == "found" else _CYAN if found.status == "not-run" else ""
    numbers = ""
    if found.log10_e is not None:
        numbers = f"   e-value ≥ {words.e_value(found.log10_e)}   p ≤ {words.p_bound(found.log10_p)}"
    page.lines.append("  " + page.paint(found.status, tone) + numbers)
    page.wrap(found.sentence, hang="    ")
    for item in found.items[:LISTED]:
        page.wrap(f"{item.where}: {item.what}" + (f" ({number_words(item.numbers)})" if item.numbers else ""), "  - ", "    ")
    if len(found.items) > LISTED:
        page.wrap(f"and {len(found.items) - LISTED} more, listed by --json", "    ")
    if found.looked_at:
        page.wrap(f"looked at: {found.looked_at}", "  ", "    ", _DIM)
    if found.status == "found" or found.log10_e is not None:
        page.wrap(f"assumed: {f.null}", "  ", "    ", _DIM)
    if found.status == "found":
        page.wrap(f"not said: {f.says_not}", "  ", "    ", _DIM)


def tower_words(t: TowerFacts) -> str:
    """One tower in a line."""
    parts = [words.plural(t.layers, "layer")] if t.layers else []
    parts += [f"width {t.width:,}"] if t.width else []
    parts += [f"{t.units:,} MLP units"] if t.units else []
    parts += [f"{t.experts} experts"] if t.experts else []
    parts += [f"{t.heads} heads, {t.kv_heads} for keys and values"] if t.heads and t.kv_heads else []
    parts += [f"{t.vocabulary:,} tokens"] if t.vocabulary else []
    return f"{'language model' if t.tower == 'text' else t.tower}: " + (", ".join(parts) or "no known geometry")


def number_words(numbers: Mapping[str, Value]) -> str:
    """An item's numbers on one line, as they come; "of" joins the one before it."""
    out: list[str] = []
    for name, v in numbers.items():
        if name == "of" and out:
            out[-1] += f" of {_value(name, v)}"
        elif v is not None:
            out.append(f"{name.replace('_', ' ')} {_value(name, v)}")
    return ", ".join(out)


def _value(name: str, v: Value) -> str:
    if isinstance(v, bool):
        return "yes" if v else "no"
    if isinstance(v, float):
        if name in ("share", "zeros"):
            return words.percent(v)
        if name.startswith("log10"):
            return words.log10_words(v)
        return words.ratio(v) if abs(v) <= 1 else f"{v:g}"
    return f"{v:,}" if isinstance(v, int) else str(v)
