"""The answers to the questions that the audit keeps apart, and the sentence above them.

Enters: `Facts`, `Ancestor`s, findings.  Leaves: `Answer`s and words. Nothing is concluded across questions.
"""

from __future__ import annotations

from begat.audit.findings.base import Facts
from begat.audit.findings.reuse import code_tied
from begat.audit.types import Ancestor, Answer, Finding

QUESTIONS = ("weights", "code", "tokenizer", "notices", "licences", "disclosure")


def answers(facts: Facts, ancestors: tuple[Ancestor, ...], found: tuple[Finding, ...]) -> tuple[Answer, ...]:
    """One answer a question, in the order of `QUESTIONS`."""
    return (
        _part(facts, ancestors, found, "weights"), _part(facts, ancestors, found, "code"), _part(facts, ancestors, found, "tokenizer"),
        _notices(facts, found), _licences(found), _disclosure(found),
    )  # fmt: skip


def _part(facts: Facts, ancestors: tuple[Ancestor, ...], found: tuple[Finding, ...], part: str) -> Answer:
    sure = [a.reference for a in ancestors if part in a.established]
    maybe = [a.reference for a in ancestors if part in a.indicated]
    if sure or maybe:
        pieces = ([f"shared with {_names(sure)} (established)"] if sure else []) + (
            [f"{_maybe(facts, part)} {_names(maybe)}"] if maybe else []
        )
        said = f"{_PART[part]} {'; '.join(pieces)}."
        return Answer(part, "established" if sure else "indicated", "shared" if sure or _tied(facts, part) else "indicated", said)
    looked = [f for f in found if f.id.startswith(f"reuse.{part}") and f.level == "not-found"]
    if looked:
        return Answer(
            part, "not-found", "not found",
            f"{_PART[part]} not found to be shared with {_names([f.reference.id for f in looked if f.reference])}.",
        )
    return Answer(part, "not-determinable", "cannot be said", f"{_PART[part]} not compared: {_why_not(facts, part)}.")


def _maybe(facts: Facts, part: str) -> str:
    """How an indicated part is introduced: a tie between references is reuse whose source is open."""
    return "shared, the source being one of" if _tied(facts, part) else "indicated for"


def _tied(facts: Facts, part: str) -> bool:
    return part == "code" and any(code_tied(facts, p.id) for p in facts.references)


_PART = {"weights": "Weights:", "code": "Code:", "tokenizer": "Tokenizer:"}


def _why_not(facts: Facts, part: str) -> str:
    if not facts.references:
        return "no reference was given"
    if part == "code":
        return facts.code_not_run or "nothing to compare"
    if part == "weights":
        reasons = list(dict.fromkeys(w.not_run for w in facts.weights if w.not_run))
        return "; ".join(reasons[:2]) or "the comparison could not be made"
    reasons = list(dict.fromkeys(t.sentence.rstrip(".") for t in facts.tokenizers))
    return "; ".join(reasons[:2]) or "one side has no tokenizer"


def _names(names: list[str]) -> str:
    unique = list(dict.fromkeys(names))
    return ", ".join(unique[:4]) + (f" and {len(unique) - 4} more" if len(unique) > 4 else "")


def _notices(facts: Facts, found: tuple[Finding, ...]) -> Answer:
    if not facts.notices:
        return Answer(
            "notices", "not-determinable", "cannot be said",
            "Notices: no file of the release was matched to an upstream file, so none could be compared.",
        )
    counts: dict[str, int] = {}
    for n in facts.notices:
        label = "moved elsewhere" if n.label == "kept" and n.place != n.file else n.label.replace("-", " ")
        counts[label] = counts.get(label, 0) + 1
    said = ", ".join(f"{count} {label}" for label, count in sorted(counts.items()))
    against = [f for f in found if f.axis == "notice" and f.bearing == "against"]
    undetermined = counts.get("not determinable", 0)
    level = "established" if against else "not-determinable" if undetermined == len(facts.notices) else "not-found"
    status = (
        "not all kept" if against else "cannot be said" if level == "not-determinable"
        else "kept" if "kept" in counts else "kept elsewhere" if "moved elsewhere" in counts else "none to keep"
    )  # fmt: skip
    return Answer(
        "notices", level, status,
        f"Notices of {len(facts.notices)} matched upstream {'file' if len(facts.notices) == 1 else 'files'}: {said}.",
    )


def _licences(found: tuple[Finding, ...]) -> Answer:
    against = [f for f in found if f.axis == "licence" and f.bearing == "against"]
    if not against:
        return Answer("licences", "not-found", "nothing found", "Licences: nothing was found for a person to decide, within what was compared.")
    conflicts = sum(f.id.startswith("licence.conflict") for f in against)
    level = "established" if any(f.level == "established" for f in against) else "indicated"
    said = ([f"{conflicts} {'conflict' if conflicts == 1 else 'conflicts'} indicated"] if conflicts else []) + (
        [f"{len(against) - conflicts} {'duty or text' if len(against) - conflicts == 1 else 'duties or texts'} to look at"] if len(against) > conflicts else []
    )  # fmt: skip
    return Answer("licences", level, "to decide", f"Licences: {', '.join(said)}; a person decides.")


def _disclosure(found: tuple[Finding, ...]) -> Answer:
    silent = [f for f in found if f.axis == "disclosure" and f.level == "established" and f.bearing != "for"]
    said = [f for f in found if f.axis == "disclosure" and f.bearing == "for"]
    if silent:
        return Answer(
            "disclosure", "established", "not said",
            f"Disclosure: {len(silent)} established {'reuse is' if len(silent) == 1 else 'reuses are'} not mentioned in the release.",
        )
    if said:
        return Answer("disclosure", "not-found", "said", "Disclosure: every established reuse is mentioned.")
    return Answer("disclosure", "not-determinable", "nothing to say", "Disclosure: no reuse was established that could be mentioned.")


def headline(facts: Facts, ancestors: tuple[Ancestor, ...], found: tuple[Finding, ...]) -> str:
    """What a reader takes away: what is reused, and how much there is to decide."""
    reused = [f"{' and '.join(a.established)} with {a.reference}" for a in ancestors if a.established]
    tied = [a.reference for a in ancestors if code_tied(facts, a.reference)]
    if tied:
        reused.append(f"code with {' or '.join(tied[:3])}")
    acts = [f for f in found if f.bearing == "against" and f.level in ("established", "indicated")]
    start = f"The release shares {_names(reused)}." if reused else "No reuse was established."
    if not acts:
        return f"{start} Nothing was found for a person to act on."
    return f"{start} {len(acts)} {'finding is' if len(acts) == 1 else 'findings are'} for a person to decide."
