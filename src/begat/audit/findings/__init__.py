"""From facts to findings: one file a question, each rule in words that draw no legal conclusion.

Enters: `Facts`.  Leaves: a `Conclusion`. `reuse.py`, `notice.py`, `licence.py` and `disclosure.py` draw findings; `answers.py` sums them up by question.
"""

from __future__ import annotations

from dataclasses import dataclass

from begat.audit.findings import disclosure, licence, notice, reuse
from begat.audit.findings.answers import answers, headline
from begat.audit.findings.base import Facts
from begat.audit.types import Ancestor, Answer, Finding

__all__ = ["Conclusion", "Facts", "conclude"]

_SEVERITY = ("high", "medium", "low", "none")
_BEARING = ("against", "fact", "for")


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What the rules say together."""

    sentence: str
    ancestors: tuple[Ancestor, ...]
    answers: tuple[Answer, ...]
    findings: tuple[Finding, ...]
    coverage: str
    caveats: tuple[str, ...]


def conclude(facts: Facts) -> Conclusion:
    """Findings, gravest first within what has to be decided; answers; ancestors."""
    ancestors = reuse.ancestors(facts)
    found = _once(
        [
            *reuse.findings(facts),
            *notice.findings(facts),
            *licence.findings(facts, ancestors),
            *disclosure.findings(facts, ancestors),
        ]
    )
    found = tuple(sorted(found, key=lambda f: (_BEARING.index(f.bearing), _SEVERITY.index(f.severity))))
    return Conclusion(
        headline(facts, ancestors, found), ancestors, answers(facts, ancestors, found), found, _coverage(facts), tuple(_caveats(facts, found)),
    )  # fmt: skip


def _once(found: list[Finding]) -> tuple[Finding, ...]:
    """Ids are unique: a later finding of one id gets a number."""
    seen: dict[str, int] = {}
    out = []
    for f in found:
        seen[f.id] = seen.get(f.id, 0) + 1
        if seen[f.id] > 1:
            f = Finding(**{k: getattr(f, k) for k in Finding.__slots__} | {"id": f"{f.id}#{seen[f.id]}"})
        out.append(f)
    return tuple(out)


def _coverage(facts: Facts) -> str:
    count = len(facts.references)
    if not count:
        return "Compared with no reference: only what the release says of itself was read."
    return f"Compared with {count} {'reference' if count == 1 else 'references'}; what is not among them cannot be found."


def _caveats(facts: Facts, found: tuple[Finding, ...]) -> list[str]:
    out = ["Findings are evidence for a person; none is a legal conclusion."]
    if facts.release.skipped:
        out.append(
            f"{len(facts.release.skipped)} files of the release were not read: {'; '.join(f'{n}: {why}' for n, why in facts.release.skipped[:3])}"
        )
    if facts.code is not None:
        out.append(f"Code: {facts.code.calibration}")
        out += [f"Code: {note}" for note in facts.code.notes[:3]]
    if any(f.axis == "reuse" and f.level in ("established", "indicated") for f in found):
        out.append(
            "What two releases share does not by itself show which came first; duties are listed as they would be if the reference did."
        )
    if any(t.level == "established" for t in facts.tokenizers):
        out.append("A shared tokenizer is common and allowed by many licences; it is no evidence about weights.")
    if any(f.clause is not None and not f.clause.quoted for f in found):
        out.append("Clauses marked as paraphrased are not the licence's own words.")
    return out
