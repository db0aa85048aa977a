"""An audit as one page of text.

Enters: an `Audit`, a width, whether colours are wanted.  Leaves: lines. How lines are wrapped: `text.py`; for browsers: `audit_html.py`.
"""

from __future__ import annotations

import os
import shutil
import sys

from begat.audit.types import Audit, Finding, Span
from begat.errors import printable
from begat.report import words
from begat.report.text import _BLUE, _BOLD, _CYAN, _DIM, _YELLOW, _Page

#: question → how it is asked
QUESTIONS = {
    "weights": "Weights reused?", "code": "Code reused?", "tokenizer": "Tokenizer reused?", "notices": "Notices kept?",
    "licences": "Licences allow it?", "disclosure": "Disclosed?",
}  # fmt: skip
#: level → how it is said
LEVELS = {"established": "established", "indicated": "indicated", "not-determinable": "cannot be said", "not-found": "not found"}
_LISTED = 40


def print_audit(audit: Audit) -> None:
    """Print to stdout, as `begat.report.text.print_text` does."""
    out = sys.stdout
    tty = out.isatty() and os.environ.get("TERM") != "dumb"
    width = max(72, min(100, shutil.get_terminal_size().columns - 1)) if tty else 80
    text = render_audit(audit, width=width, color=tty and not os.environ.get("NO_COLOR"))
    encoding = getattr(out, "encoding", None) or "utf-8"
    out.write(text.encode(encoding, "replace").decode(encoding))


def render_audit(audit: Audit, width: int = 80, color: bool = False) -> str:
    """The page, ending in a newline; without `color` it holds no escape sequence."""
    page, a = _Page(width, color), audit
    page.wrap(a.sentence, "", style=_BOLD)
    page.lines.append("")
    page.wrap(f"release  {a.release.path}  ({', '.join(a.release.has) or 'nothing that is audited'})", "", "         ")
    for party in a.references:
        licence = f"; licence {party.licence}, from {party.licence_source}" if party.licence else "; licence not known"
        page.wrap(f"against  {party.id} {party.version}  ({', '.join(party.has)}{licence})", "", "         ", style=_DIM)
    page.heading("Answers", "each question on its own; none follows from another")
    for answer in a.answers:
        said = answer.sentence.split(": ", 1)[-1]
        page.wrap(f"{QUESTIONS[answer.question]:<19} {said if said.startswith(answer.status) else f'{answer.status}; {said}'}", "  ", " " * 22)
    page.heading("To decide", "findings against the release; a person decides")
    _findings(page, a.to_decide(), _YELLOW)
    page.heading("Seen to be done")
    _findings(page, tuple(f for f in a.findings if f.bearing == "for"), _BLUE)
    page.heading("Facts")
    _findings(page, tuple(f for f in a.findings if f not in a.to_decide() and f.bearing != "for"), _CYAN)
    page.heading("Declared by the release", "shown beside what was measured")
    for line in declared_lines(a):
        page.wrap(line)
    page.heading("Not asked", "no folder can show it")
    for line in a.not_asked:
        page.wrap(line, "  - ", "    ")
    page.heading("Caveats")
    for line in (a.coverage, *a.caveats):
        page.wrap(line, "  - ", "    ")
    page.heading("Replay")
    page.wrap(f"{a.replay['tool']} {a.replay['version']} · references {a.references_digest[:16]} · release {a.release.sha256[:16]} · "
              f"{words.duration(a.seconds)}", style=_DIM)  # fmt: skip
    return "\n".join(line.rstrip() for line in page.lines) + "\n"


def declared_lines(a: Audit) -> list[str]:
    """What the card and config say, and the signature, in lines."""
    d = a.declared
    licence = ", ".join(d.licence) + (f" ({d.licence_name})" if d.licence_name else "")
    return [
        f"licence: {licence or 'none'}" + (f", known as {d.licence_id}" if d.licence_id else ""),
        f"base models: {', '.join(d.base_models) or 'none'}" + (f" ({d.relation})" if d.relation else ""),
        *([f"config.json names {d.config_base}"] if d.config_base else []),
        f"signature: {a.signature.status}; {a.signature.why}",
    ]


def place(span: Span) -> str:
    """A place in words: "modeling.py:3-40"."""
    if not span.start:
        return span.file
    return f"{span.file}:{span.start}" + (f"-{span.end}" if span.end > span.start else "")


def measured(f: Finding) -> str:
    """The evidence in one line."""
    e = f.evidence
    value = "–" if e.value is None else f"{e.value:.4g}" if isinstance(e.value, float) else str(e.value)
    return (
        f"{e.measure}: {value}"
        + (f" (threshold {e.threshold:.4g})" if e.threshold is not None else "")
        + (f"; null: {e.null}" if e.null else "")
    )


def _findings(page: _Page, found: tuple[Finding, ...], tone: str) -> None:
    if not found:
        page.wrap("none", style=_DIM)
    for f in found[:_LISTED]:
        mark = f"[{LEVELS[f.level]}{', ' + f.severity if f.severity != 'none' else ''}]"
        page.wrap(f"{mark} {f.sentence}", "  ", "    ", style=tone if f.bearing == "against" else "")
        page.wrap(f"{place(f.subject)} · {measured(f)}", "    ", "      ", style=_DIM)
        if f.clause is not None:
            quote = f"“{f.clause.text}”" if f.clause.quoted else f"(paraphrased) {f.clause.text}"
            page.wrap(f"{f.clause.licence}, {f.clause.clause}: {quote}", "    ", "      ", style=_DIM)
        if f.remedy:
            page.wrap(f"would settle it: {printable(f.remedy)}", "    ", "      ", style=_DIM)
    if len(found) > _LISTED:
        page.wrap(f"and {len(found) - _LISTED:,} more, listed by --json", style=_DIM)
