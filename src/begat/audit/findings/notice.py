"""Notices: what became of the headers of matched upstream files. A kept notice is a sign of compliance, not of guilt.

Enters: `Facts`.  Leaves: findings of axis "notice", each with the duty of the licence of the *upstream file*.
"""

from __future__ import annotations

from collections.abc import Iterator

from begat.audit.findings.base import Facts, clause, duty_of
from begat.audit.licences.table import TABLE, Obligation
from begat.audit.notices import read_header
from begat.audit.types import Clause, Evidence, Finding, NoticeResult, Span

_SEVERITY = {"removed": "high", "replaced": "high", "partial": "medium"}


def licence_of(facts: Facts, n: NoticeResult) -> str:
    """Licence of the matched upstream file: what its own header names (licences are per file), else that of the reference."""
    party, tree = facts.party(n.reference, n.version), facts.tree_of(n.reference, n.version)
    text = tree.text(n.upstream_file) if tree is not None and n.upstream_file in tree.sizes else None
    named = [x for x in (read_header(text).licences if text is not None else ()) if x in TABLE.licences]
    return named[0] if len(named) == 1 else party.code_licence


def findings(facts: Facts) -> Iterator[Finding]:
    """One finding for each matched upstream file, and one about changes where the licence asks for a statement."""
    for n in facts.notices:
        licence = licence_of(facts, n)
        yield _fate(facts, n, licence)
        duty = duty_of(licence, "change-notice")
        if duty is not None and n.changed and n.label != "not-determinable":
            yield _change(facts, n, clause(licence, duty), duty)


def _fate(facts: Facts, n: NoticeResult, licence: str) -> Finding:
    duty = duty_of(licence, "keep-notices")
    against = n.label in _SEVERITY
    moved = n.label == "kept" and n.place != n.file
    return Finding(
        id=f"notice.{n.label}:{n.file}:{n.reference}:{n.upstream_file}",
        axis="notice",
        about="notice",
        value=n.label,
        level="not-determinable"
        if n.label == "not-determinable"
        else "not-found"
        if n.label == "upstream-had-none"
        else "established",
        bearing="against" if against else "for" if n.label == "kept" and not moved else "fact",
        severity=_SEVERITY.get(n.label, "low" if moved else "none"),
        sentence=_sentence(n, moved),
        subject=Span(n.file, 1, max(1, n.lines[0] - 1) if n.lines[0] > 1 else 1),
        reference=facts.reference(n.reference, n.version),
        evidence=Evidence(
            "elements of the upstream header", f"{len(n.upstream)} upstream, {len(n.missing)} not found", None, "", _spans(n)
        ),
        clause=clause(licence, duty) if duty is not None and n.label != "upstream-had-none" else None,
        remedy=(duty.remedy if duty is not None else "restore the upstream header") if against else "",
    )


def _sentence(n: NoticeResult, moved: bool) -> str:
    upstream = " or ".join(n.candidates[:3]) + (f" or {len(n.candidates) - 3} more" if len(n.candidates) > 3 else "")
    if n.label == "not-determinable":
        return f"{n.file}: whether a notice was kept cannot be said; {n.why}."
    if n.label == "upstream-had-none":
        return f"{n.file}: the matched upstream file ({upstream}) has no notice to keep."
    if moved:
        return (
            f"{n.file}: the upstream notice ({upstream}) was moved to {n.place}; whether that suffices is for a person to decide."
        )
    words = {
        "kept": "the upstream notice is kept, as the licence asks",
        "partial": f"the upstream notice is kept in part (not found: {', '.join(n.missing)})",
        "replaced": f"the upstream notice is not there, and another stands in its place ({'; '.join(n.own[:2])})" if n.own
        else "the upstream notice is not there, and another licence stands in its place",
        "removed": "the upstream notice was not found anywhere in the release",
    }  # fmt: skip
    return f"{n.file}: {words[n.label]}. Upstream: {upstream}."


def _spans(n: NoticeResult) -> tuple[Span, ...]:
    return (Span(n.place),) if n.place else ()


def _change(facts: Facts, n: NoticeResult, asked: Clause, duty: Obligation) -> Finding:
    return Finding(
        id=f"notice.change:{n.file}:{n.reference}:{n.upstream_file}", axis="notice", about="change-statement",
        value="found" if n.change_notice else "none", level="established" if n.change_notice else "not-found",
        bearing="for" if n.change_notice else "fact", severity="none" if n.change_notice else duty.severity,
        sentence=f"{n.file} differs from {n.upstream_file} of {n.reference}; "
        + ("it carries a statement of change." if n.change_notice else "no statement of change was found in it."),
        subject=Span(n.file), reference=facts.reference(n.reference, n.version),
        evidence=Evidence("statement of change", "found" if n.change_notice else "none"),
        clause=asked, remedy="" if n.change_notice else duty.remedy,
    )  # fmt: skip
