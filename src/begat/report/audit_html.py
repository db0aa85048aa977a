"""An audit as one self-contained HTML file, in the style of a verdict's: light and dark, no network, no script.

Enters: an `Audit`.  Leaves: the page. Environment, escaping and filters: `html.py`; the markup: `templates/audit.html.j2`.
"""

from __future__ import annotations

from typing import Any

from begat.audit.code.types import UnitMatch
from begat.audit.types import Audit, Finding
from begat.report import words
from begat.report.audit_text import LEVELS, QUESTIONS, declared_lines, measured, place
from begat.report.html import environment

_LISTED = 200
_SIDES = 12  # units shown side by side
_LINES = 40  # lines of a unit that are shown
#: section → title and what stands under it
_GROUPS = (
    ("decide", "To decide", "Findings against the release. Each is evidence; a person decides."),
    ("done", "Seen to be done", "Duties that the release is seen to keep. A kept notice is a sign of compliance, not of guilt."),
    ("facts", "Facts", "What is shared is by itself no breach, and what was not found is said too."),
)
#: status of an answer → colour: blue is shared, orange is apart, ink is for a person to decide
_STATUS_TONES = {
    "shared": "shared", "dependent": "shared", "indicated": "part", "not found": "apart", "kept": "part", "said": "part", "not all kept": "decide",
    "to decide": "decide", "not said": "decide", "contradicted": "decide", "not compared": "decide",
}  # fmt: skip
_TONES = {"established": "shared", "indicated": "part", "not-determinable": "open", "not-found": "apart"}


def render_audit_html(audit: Audit) -> str:
    """The page, as text to be written in UTF-8."""
    a = audit
    done = tuple(f for f in a.findings if f.bearing == "for")
    facts = tuple(f for f in a.findings if f not in a.to_decide() and f.bearing != "for")
    return environment().get_template("audit.html.j2").render(
        v=a,
        label=a.release.id,
        answers=[(QUESTIONS[x.question], x.sentence.split(": ", 1)[-1], x.status, _STATUS_TONES.get(x.status, "open")) for x in a.answers],
        groups=[(name, title, aside, [_finding(f) for f in found[:_LISTED]])
                for (name, title, aside), found in zip(_GROUPS, (a.to_decide(), done, facts), strict=True)],
        decide=len(a.to_decide()),
        missing=len(a.missing()),
        sides=_sides(a),
        declared=declared_lines(a),
        parties=[(p.id, p.version, ", ".join(p.has), p.licence, p.licence_source, p.sha256) for p in a.references],
        seconds=words.duration(a.seconds),
    )  # fmt: skip


def _finding(f: Finding) -> dict[str, Any]:
    return {
        "sentence": f.sentence, "level": LEVELS[f.level], "tone": _TONES[f.level] if f.bearing != "against" else "decide", "severity": f.severity,
        "place": place(f.subject), "measured": measured(f), "spans": [place(s) for s in f.evidence.spans[:12]], "clause": f.clause, "remedy": f.remedy,
        "reference": None if f.reference is None else f"{f.reference.id} {f.reference.version}".strip(), "axis": f.axis,
    }  # fmt: skip


def _sides(a: Audit) -> list[dict[str, Any]]:
    """Matched code beside its source, best first."""
    units = [
        u for u in (a.code.units if a.code is not None else ()) if u.spans and u.sources and u.status in ("established", "tie")
    ]
    units.sort(key=lambda u: (u.status != "established", -u.score))
    return [_side(u) for u in units[:_SIDES]]


def _side(u: UnitMatch) -> dict[str, Any]:
    source = u.sources[0]
    rows = [(s.text.split("\n")[:_LINES], s.source_text.split("\n")[:_LINES]) for s in u.spans[:6] if s.text or s.source_text]
    return {
        "unit": u.unit, "file": u.file, "status": u.status, "score": words.ratio(u.score), "threshold": words.ratio(u.threshold),
        "source": f"{source.reference} {source.version}, {source.file}, {source.unit}", "why": u.why,
        "rows": [("\n".join(x), "\n".join(y)) for x, y in rows],
    }  # fmt: skip
