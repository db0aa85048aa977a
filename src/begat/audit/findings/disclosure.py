"""Disclosure: is what was measured also said? No licence answers this question, and silence is no breach by itself.

Enters: `Facts`, `Ancestor`s.  Leaves: findings of axis "disclosure".
"""

from __future__ import annotations

from collections.abc import Iterator

from begat.audit.findings.base import Facts, mentioned, same_model
from begat.audit.findings.reuse import code_tied
from begat.audit.types import Ancestor, Evidence, Finding, Span

_SEVERITY = {"weights": "medium", "code": "low", "tokenizer": "low"}


def findings(facts: Facts, ancestors: tuple[Ancestor, ...]) -> Iterator[Finding]:
    """Established reuse against what the card says, and declared bases against what was measured."""
    for a in ancestors:
        for part in a.established:
            yield _said(facts, a, part)
        if code_tied(facts, a.reference) and _attributed(facts, a, "code"):
            yield _said(facts, a, "code")
    for base in facts.declared.base_models:
        given = next((a for a in ancestors if same_model(a.reference, base)), None)
        if given is None:
            yield Finding(
                id=f"disclosure.declared:{base}", axis="disclosure", level="not-determinable", bearing="fact", severity="none",
                sentence=f"The card declares {base} as base; it was not among the references.", subject=Span("README.md"), reference=None,
                evidence=Evidence("base_model", base), remedy=f"give it as a reference: {base}=PATH",
            )  # fmt: skip
        elif "weights" not in (*given.established, *given.indicated):
            yield Finding(
                id=f"disclosure.declared:{base}", axis="disclosure", level="not-found", bearing="fact", severity="none",
                sentence=f"The card declares {base} as base; its weights were not found in the release.", subject=Span("README.md"),
                reference=facts.reference(given.reference), evidence=Evidence("base_model", base),
            )  # fmt: skip


def _said(facts: Facts, a: Ancestor, part: str) -> Finding:
    where = "README.md" if a.declared else _attributed(facts, a, part) or mentioned(facts, a.reference)
    serious = part == "weights" and not where
    return Finding(
        id=f"disclosure.{part}:{a.reference}", axis="disclosure", level="established", bearing="for" if where else "against" if serious else "fact",
        severity="none" if where else _SEVERITY[part],
        sentence=f"That {part} {_is(part)} shared with {a.reference} is disclosed in {where}." if where
        else f"That {part} {_is(part)} shared with {a.reference} is established, and the release does not mention it.",
        subject=Span(where or "README.md"), reference=facts.reference(a.reference, a.version),
        evidence=Evidence("declared as base" if a.declared else "mentioned", where or "nowhere"), remedy="" if where else "name it in the model card",
    )  # fmt: skip


def _is(part: str) -> str:
    return "are" if part == "weights" else "is"


def _attributed(facts: Facts, a: Ancestor, part: str) -> str:
    """The file whose kept notice discloses the reuse of code."""
    if part != "code":
        return ""
    return next((n.place for n in facts.notices if n.reference == a.reference and n.label in ("kept", "partial") and n.place), "")
