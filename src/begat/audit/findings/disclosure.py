"""Disclosure: is what was measured also said, and does the card contradict it? No licence answers this question, and silence is no breach by itself.

Enters: `Facts`, `Ancestor`s.  Leaves: findings of axis "disclosure". A contradiction is only told of a dependence that is established, and in words that
leave open what the weights leave open.
"""

from __future__ import annotations

from collections.abc import Iterator

from begat.audit.findings.base import Facts, declared_in, mentioned, origin_of, same_model, weights_of
from begat.audit.findings.reuse import code_tied
from begat.audit.types import Ancestor, Evidence, Finding, Span

#: first words of the ids of findings that are told before all others
CONTRADICTION = "disclosure.contradiction"


def findings(facts: Facts, ancestors: tuple[Ancestor, ...]) -> Iterator[Finding]:
    """Established reuse against what the card says, and declared bases against what was measured."""
    for a in ancestors:
        if "weights" in a.established:
            yield from _weights(facts, ancestors, a)
        elif a.relation == "initial" and facts.declared.scratch:
            yield _fits(facts, a)
        for part in a.established:
            if part != "weights":
                yield _said(facts, a, part)
        if code_tied(facts, a.reference) and _attributed(facts, a):
            yield _said(facts, a, "code")
    for base in facts.declared.base_models:
        given = next((a for a in ancestors if same_model(a.reference, base)), None)
        if given is None or given.relation == "untested":
            yield _not_given(facts, base, given)
        elif "weights" not in (*given.established, *given.indicated):
            yield Finding(
                id=f"disclosure.declared:{base}", axis="disclosure", about="disclosure", value="base-not-found", level="not-found", bearing="fact",
                severity="none", sentence=f"The card declares {base} as base; its weights were not found in the release.",
                subject=Span(facts.declared.base_file), reference=facts.reference(given.reference), evidence=Evidence("base_model", base),
            )  # fmt: skip


def _not_given(facts: Facts, base: str, given: Ancestor | None) -> Finding:
    why = "it was not among the references" if given is None else "its weights were not compared"
    return Finding(
        id=f"disclosure.declared:{base}", axis="disclosure", about="disclosure", value="base-not-given", level="not-determinable", bearing="fact",
        severity="none", sentence=f"The card declares {base} as base; {why}.", subject=Span(facts.declared.base_file),
        reference=None if given is None else facts.reference(given.reference), evidence=Evidence("base_model", base),
        remedy=f"give it as a reference: {base}=PATH" if given is None else "",
    )  # fmt: skip


def _weights(facts: Facts, ancestors: tuple[Ancestor, ...], a: Ancestor) -> Iterator[Finding]:
    """Is the dependence of the weights said, and does the card say otherwise?"""
    how, where = origin_of(facts, a.reference)
    declared = declared_in(facts, a.reference)
    if declared and declared != "config.json":
        exact = any(same_model(a.reference, b) for b in facts.declared.base_models)
        as_base = "it" if exact else ", ".join(facts.declared.base_models[:2])
        yield _finding(facts, a, "said", f"{_that(a)} is disclosed in {declared}, which names {as_base} as base.", declared)
        return
    if facts.declared.scratch and how != "said":
        yield _scratch(facts, a)
    if declared or how in ("said", "named"):
        sentence = f"{_that(a)} is disclosed in {declared or where}." if how != "named" or declared else f"{a.reference} is named in {where}."
        yield _finding(facts, a, "said", sentence, declared or where)
        return
    through = _through(facts, ancestors, a)
    if through:
        yield _finding(facts, a, "through-declared-base", f"{_that(a)} is established, and the release does not mention it; "
                       f"it may come through {through}, which the card declares as base.", facts.declared.base_file)  # fmt: skip
        return
    if facts.declared.base_models:
        yield _other_base(facts, ancestors, a)
    named = f"names {a.reference} only in tables or comparisons ({where})" if how == "compared" else "does not mention it"
    yield _finding(facts, a, "not-said", f"{_that(a)} is established, and the release {named}.", where or "README.md")


def _that(a: Ancestor) -> str:
    if a.relation == "open":
        return f"That {weights_of(a)} and those of {a.reference} were not made independently"
    return f"That weights are shared with {a.reference}"


def _reading(a: Ancestor) -> str:
    """What the weights leave open of a dependence, for a sentence that holds a card against it."""
    if a.arrow == "from-reference":
        return "the release was made from it" if a.relation == "same" else "the release was made from it, by the signs in the weights"
    twins = ", or both were begun from the same initial weights" if a.relation == "open" else ""
    return f"either the release draws on its trained weights, or it on the release's, or both on a third model's{twins}; the weights alone do not show which"


def _scratch(facts: Facts, a: Ancestor) -> Finding:
    return _finding(
        facts, a, "scratch-contradicted",
        f"The card says “{facts.declared.scratch}” and does not name {a.reference} as an origin, while it is established that {_short(a)}: {_reading(a)}.",
        "README.md", kind="from-scratch",
    )  # fmt: skip


def _short(a: Ancestor) -> str:
    if a.relation == "open":
        return f"{weights_of(a)} and those of {a.reference} were not made independently"
    return f"the weights share trained weights with {a.reference}" if a.relation == "trained" else f"the weights are those of {a.reference}"


def _other_base(facts: Facts, ancestors: tuple[Ancestor, ...], a: Ancestor) -> Finding:
    """The card names another base: against it where that base was measured and does not account for the dependence, open where it was not."""
    bases = ", ".join(facts.declared.base_models[:3])
    given = [x for x in ancestors if any(same_model(x.reference, b) for b in facts.declared.base_models)]
    tested = bool(given) and all(x.relation != "untested" for x in given)
    if tested and not any("weights" in (*x.established, *x.indicated) for x in given):
        account = f"no dependence on the weights of {bases} was found"
    elif tested:
        account = f"{bases} and {a.reference} were found independent of each other"
    else:
        same = "" if facts.party(a.reference).named else f"the reference given as {a.reference} is {bases} or "
        account = f"a contradiction unless {same}{bases} was itself made from it, or one of them from the release (not measured)"
    return _finding(
        facts, a, "base-contradicted" if tested else "base-open",
        f"The card names {bases} as base and not {a.reference}, while it is established that {_short(a)}; {account}.",
        facts.declared.base_file, kind="base",
    )  # fmt: skip


def _through(facts: Facts, ancestors: tuple[Ancestor, ...], a: Ancestor) -> str:
    """The declared base that an established dependence may have come through: it is established too and not independent of this reference."""
    for x in ancestors:
        named = any(same_model(x.reference, b) for b in facts.declared.base_models)
        apart = any(t == (a.reference, x.reference, "not-found") for t in facts.through)
        if named and x.reference != a.reference and "weights" in x.established and not apart:
            return x.reference
    return ""


def _fits(facts: Facts, a: Ancestor) -> Finding:
    return Finding(
        id=f"disclosure.from-scratch:{a.reference}", axis="disclosure", about="disclosure", value="scratch-fits", level="not-found", bearing="fact",
        severity="none",
        sentence=f"The card says “{facts.declared.scratch}”; measured with {a.reference} are equal initial weights alone, which that is consistent with.",
        subject=Span("README.md"), reference=facts.reference(a.reference, a.version), evidence=Evidence("begat compare", a.relation),
    )  # fmt: skip


#: value → (bearing, severity, what would settle it)
_WORTH = {
    "said": ("for", "none", ""), "through-declared-base": ("fact", "none", "name it in the model card"),
    "not-said": ("against", "medium", "name it in the model card"),
    "scratch-contradicted": ("against", "high", "say in the card what the weights were begun from, or show that they came first"),
    "base-contradicted": ("against", "high", "name every model that the weights were made from"),
    "base-open": ("against", "medium", "name every model that the weights were made from, or give references and the declared base under their ids (ID=PATH)"),
}  # fmt: skip


def _finding(facts: Facts, a: Ancestor, value: str, sentence: str, place: str, kind: str = "") -> Finding:
    bearing, severity, remedy = _WORTH[value]
    return Finding(
        id=f"{CONTRADICTION}-{kind}:{a.reference}" if kind else f"disclosure.weights:{a.reference}", axis="disclosure", about="disclosure", value=value,
        level="established", bearing=bearing, severity=severity, sentence=sentence, subject=Span(place), reference=facts.reference(a.reference, a.version),
        evidence=Evidence("dependence of the weights against what the release says", f"{a.relation} / {value}"), remedy=remedy,
    )  # fmt: skip


def _said(facts: Facts, a: Ancestor, part: str) -> Finding:
    where = declared_in(facts, a.reference) or (_attributed(facts, a) if part == "code" else "") or mentioned(facts, a.reference)
    return Finding(
        id=f"disclosure.{part}:{a.reference}", axis="disclosure", about="disclosure", value="said" if where else "not-said", level="established",
        bearing="for" if where else "fact", severity="none" if where else "low",
        sentence=f"That {part} is shared with {a.reference} is disclosed in {where}." if where
        else f"That {part} is shared with {a.reference} is established, and the release does not mention it.",
        subject=Span(where or "README.md"), reference=facts.reference(a.reference, a.version),
        evidence=Evidence("declared as base" if a.declared else "mentioned", where or "nowhere"), remedy="" if where else "name it in the model card",
    )  # fmt: skip


def _attributed(facts: Facts, a: Ancestor) -> str:
    """The file whose kept notice discloses the reuse of code."""
    return next((n.place for n in facts.notices if n.reference == a.reference and n.label in ("kept", "partial") and n.place), "")
