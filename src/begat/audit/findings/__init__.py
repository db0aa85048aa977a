"""From facts to findings: one file a question, each rule in words that draw no legal conclusion.

Enters: `Facts`.  Leaves: a `Conclusion`. `reuse.py`, `uncompared.py`, `notice.py`, `licence.py` and `disclosure.py` draw findings; `answers.py` sums up.
"""

from __future__ import annotations

from dataclasses import dataclass

from begat.audit.findings import disclosure, licence, notice, reuse, uncompared
from begat.audit.findings.answers import answers, headline
from begat.audit.findings.base import Facts
from begat.audit.types import ABOUTS, Ancestor, Answer, Finding, Uncompared

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
    uncompared: tuple[Uncompared, ...]


def conclude(facts: Facts) -> Conclusion:
    """Findings, contradictions first, then gravest first within what has to be decided; answers; ancestors.

    Raises:
        ValueError: a rule claims what `begat.audit.types.ABOUTS` does not list.
    """
    ancestors = reuse.ancestors(facts)
    found = _once(
        [
            *reuse.findings(facts),
            *uncompared.findings(facts),
            *notice.findings(facts),
            *licence.findings(facts, ancestors),
            *disclosure.findings(facts, ancestors),
        ]
    )
    found = tuple(sorted(found, key=_rank))
    for f in found:
        if f.value not in ABOUTS.get(f.about, ()):
            raise ValueError(f"finding {f.id}: unknown claim {f.about}: {f.value}")
    missing = uncompared.uncompared(facts)
    return Conclusion(
        headline(facts, ancestors, found, missing), ancestors, answers(facts, ancestors, found, missing), found, _coverage(facts),
        tuple(_caveats(facts, found)), missing,
    )  # fmt: skip


def _rank(f: Finding) -> tuple[int, bool, int]:
    return _BEARING.index(f.bearing), not f.id.startswith(disclosure.CONTRADICTION), _SEVERITY.index(f.severity)


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
    """What was compared with how many references, question by question."""
    count = len(facts.references)
    if not count:
        if facts.searched:
            return f"Weights were compared by fingerprint with {facts.searched} known models; what is not among them cannot be found."
        return "Compared with no reference: only what the release says of itself was read."
    weights = len({(w.reference, w.version) for w in facts.weights if w.relation != "untested"})
    code = sum("code" in p.has for p in facts.references) if facts.code is not None else 0
    tokenizers = len({t.reference for t in facts.tokenizers if t.not_run is None})
    said = f"weights with {weights} of them, code with {code}, the tokenizer with {tokenizers}"
    return f"Compared with {count} {'reference' if count == 1 else 'references'}: {said}; what is not among them cannot be found."


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
