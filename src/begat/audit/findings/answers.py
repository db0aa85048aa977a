"""The answers to the questions that the audit keeps apart, and the sentence above them.

Enters: `Facts`, `Ancestor`s, findings.  Leaves: `Answer`s and words. Nothing is concluded across questions.
"""

from __future__ import annotations

from begat.audit.findings.base import Facts
from begat.audit.findings.disclosure import CONTRADICTION
from begat.audit.findings.reuse import code_tied
from begat.audit.findings.uncompared import sentence as not_compared
from begat.audit.types import Ancestor, Answer, Finding, Uncompared
from begat.pipeline.words import ranges


def answers(facts: Facts, ancestors: tuple[Ancestor, ...], found: tuple[Finding, ...], missing: tuple[Uncompared, ...]) -> tuple[Answer, ...]:
    """One answer a question, in the order of `begat.audit.types.QUESTIONS`; `missing`: what was not compared."""
    return (
        _weights(facts, ancestors, found, missing), _part(facts, ancestors, found, "code"), _part(facts, ancestors, found, "tokenizer"),
        _notices(facts, found), _licences(found), _disclosure(found),
    )  # fmt: skip


def _weights(facts: Facts, ancestors: tuple[Ancestor, ...], found: tuple[Finding, ...], missing: tuple[Uncompared, ...]) -> Answer:
    """The answer about weights, with what it does not speak of."""
    mine = tuple(u for u in missing if u.question == "weights")
    left = f" {not_compared(mine)}" if mine else ""
    open_kind = [_depends(a) for a in ancestors if "weights" in a.established and a.relation == "open"]
    shared = [a.reference for a in ancestors if "weights" in a.established and a.relation != "open"]
    maybe = [a.reference for a in ancestors if "weights" in a.indicated]
    pieces = [f"{words} {_names(names)}{level}" for words, names, level in (
        ("shared with", shared, " (established)"), ("not made independently of those of", open_kind, " (established; of which kind is open)"),
        ("indicated for", maybe, ""),
    ) if names]  # fmt: skip
    twins = [a.reference for a in ancestors if a.relation == "initial"]
    if twins:
        pieces.append(f"equal initial weights with {_names(twins)}, which is no reuse of trained weights")
    if shared or open_kind:
        return Answer("weights", "established", "shared" if shared else "dependent", f"Weights: {'; '.join(pieces)}.{left}")
    if maybe:
        return Answer("weights", "indicated", "indicated", f"Weights: {'; '.join(pieces)}.{left}")
    looked = [f.reference.id for f in found if f.about == "weights" and f.level == "not-found" and f.reference]
    copies = [a.reference for a in ancestors if a.arrow == "to-reference"]
    none = [x for x in looked if x not in twins and x not in copies]
    pieces = [*([f"not found to be shared with {_names(none)}"] if none else []), *pieces]
    if copies:
        pieces.append(f"the source of those of {_names(copies)}, and not the other way about")
    if facts.searched and not looked:
        pieces.append(f"not found, by fingerprint, among {facts.searched} known models")
    if pieces:
        return Answer("weights", "not-found", "not found", f"Weights: {'; '.join(pieces)}.{_in_part(facts)}{left}")
    return Answer("weights", "not-determinable", "not compared", f"Weights: {left.strip() or 'neither side holds any.'}")


def _in_part(facts: Facts) -> str:
    """What of the release the comparisons that found nothing do not speak of, and single tensors that are equal all the same."""
    equal = [w for w in facts.weights if w.relation == "none" and w.equal]
    alike = f" Single tensors are equal to {_names([w.reference for w in equal])}'s: copied, or computed alike by both programs." if equal else ""
    worst = max((w for w in facts.weights if w.relation == "none" and w.unread), key=lambda w: w.unread, default=None)
    if worst is None:
        return alike
    why = "; ".join(worst.unread_why[:2])
    return f" Of the release's parameters {worst.unread:.0%} were not compared with {worst.reference} ({why}).{alike}"


def _part(facts: Facts, ancestors: tuple[Ancestor, ...], found: tuple[Finding, ...], part: str) -> Answer:
    sure = [a.reference for a in ancestors if part in a.established]
    maybe = [a.reference for a in ancestors if part in a.indicated]
    if sure or maybe:
        pieces = ([f"shared with {_names(sure)} (established)"] if sure else []) + (
            [f"{_maybe(facts, part)} {_names(maybe)}"] if maybe else []
        )
        said = f"{_PART[part]} {'; '.join(pieces)}."
        return Answer(part, "established" if sure else "indicated", "shared" if sure or _tied(facts, part) else "indicated", said)
    looked = [f for f in found if f.about == part and f.level == "not-found"]
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


_PART = {"code": "Code:", "tokenizer": "Tokenizer:"}


def _why_not(facts: Facts, part: str) -> str:
    if not facts.references:
        return "no reference was given"
    if part == "code":
        return facts.code_not_run or "nothing to compare"
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
    silent = [f for f in found if f.about == "disclosure" and f.value == "not-said"]
    against = [f for f in found if f.id.startswith(CONTRADICTION)]
    said = [f for f in found if f.about == "disclosure" and f.value == "said"]
    if against:
        return Answer("disclosure", "established", "contradicted", f"Disclosure: {against[0].sentence}")
    if silent:
        return Answer(
            "disclosure", "established", "not said",
            f"Disclosure: {len(silent)} established "
            f"{'reuse or dependence is' if len(silent) == 1 else 'reuses or dependences are'} not mentioned in the release.",
        )
    if said:
        return Answer("disclosure", "not-found", "said", "Disclosure: every established reuse is mentioned.")
    return Answer("disclosure", "not-determinable", "nothing to say", "Disclosure: no reuse was established that could be mentioned.")


def headline(facts: Facts, ancestors: tuple[Ancestor, ...], found: tuple[Finding, ...], missing: tuple[Uncompared, ...]) -> str:
    """What a reader takes away: what was not compared, what the card contradicts, what is reused, how much there is to decide."""
    acts = [f for f in found if f.bearing == "against" and f.level in ("established", "indicated")]
    against = [f for f in found if f.id.startswith(CONTRADICTION)]
    reused = [f"{' and '.join(parts)} with {a.reference}" for a in ancestors if (parts := _shared(a))]
    tied = [a.reference for a in ancestors if code_tied(facts, a.reference)]
    if tied:
        reused.append(f"code with {' or '.join(tied[:3])}")
    depends = [a for a in ancestors if "weights" in a.established and a.relation == "open"]
    parts = [not_compared(missing), *(f.sentence for f in against[:2])]
    if reused:
        parts.append(f"The release shares {_names(reused)}.")
    if depends:
        what = f"parts of its weights ({ranges(depends[0].parts)})" if len(depends) == 1 and depends[0].parts else "its weights"
        if what == "its weights" and any(a.parts for a in depends):
            what = "its weights, or parts of them,"
        names = _names([a.reference for a in depends])
        parts.append(f"That {what} and those of {names} were not made independently is established; of which kind the dependence is, is open.")
    if not reused and not depends and _compared(facts):
        parts.append(f"No reuse was established{' in what was compared' if missing else ''}.{_in_part(facts)}")
    if acts:
        parts.append(f"{len(acts)} {'finding is' if len(acts) == 1 else 'findings are'} for a person to decide.")
    elif missing:
        parts.append("In what was looked at, nothing was found for a person to act on.")
    else:
        parts.append("Nothing was found for a person to act on.")
    return " ".join(filter(None, parts))


def _depends(a: Ancestor) -> str:
    """A reference, with the parts that a dependence on it is said of."""
    return f"{a.reference} in {ranges(a.parts)} alone" if a.parts else a.reference


def _shared(a: Ancestor) -> list[str]:
    """Parts that are reused; weights of which only a dependence is established are told apart."""
    return [p for p in a.established if p != "weights" or a.relation != "open"]


def _compared(facts: Facts) -> bool:
    """Was anything compared at all?"""
    return (
        facts.searched > 0 or facts.code is not None or any(w.relation != "untested" for w in facts.weights)
        or any(t.level != "not-determinable" for t in facts.tokenizers)
    )  # fmt: skip
