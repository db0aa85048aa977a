"""What was not compared, and whether it had to be: an audit fails closed.

Enters: `Facts`.  Leaves: `Uncompared`s, and the findings and sentence that say them. Which comparisons must be made: those that the user names
(`--require`); else weights, wherever the release or a reference holds any, of every part of the release and against every reference that is there for its
weights (a package of code or a tokenizer alone is there for those); else anything at all of references that were named.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from begat.audit.findings.base import Facts
from begat.audit.types import Evidence, Finding, Reference, Span, Uncompared

_NAMES = {"weights": "Weights", "code": "Code", "tokenizer": "Tokenizer"}
_LISTED = 3


def uncompared(facts: Facts) -> tuple[Uncompared, ...]:
    """Everything that was not compared, in the order of the questions."""
    if facts.require:
        asked = "weights" in facts.require
        code = _code(facts) if "code" in facts.require else ()
        return (*_weights(facts, asked, asked), *code, *(_tokenizer(facts) if "tokenizer" in facts.require else ()))
    relevant = any("weights" in p.has for p in (facts.release, *facts.references))
    if relevant:
        return tuple(_weights(facts, required=True, asked=False))
    if facts.code is not None or any(t.not_run is None for t in facts.tokenizers):
        return ()
    found = (*(_code(facts) if "code" in facts.release.has else ()), *(_tokenizer(facts) if "tokenizer" in facts.release.has else ()))
    if not facts.references:  # an audit of the release's papers
        return tuple(replace(u, required=False) for u in found)
    return found or _no_weights(facts)


def _weights(facts: Facts, required: bool, asked: bool) -> Iterator[Uncompared]:
    answered = facts.searched or any(w.relation != "untested" for w in facts.weights)
    if not facts.references and not facts.searched:
        yield from _no_weights(facts, required)
        return
    lacking = [w for w in facts.weights if w.reason == "release-lacks"]
    if lacking and len(lacking) == len(facts.weights):
        if asked or any("weights" in p.has for p in facts.references):
            yield Uncompared("weights", "", "", "", "release-lacks", str(lacking[0].not_run), required)
        return
    for w in facts.weights:
        if w.relation != "untested" or (w.reason == "reference-lacks" and answered and _of_use(facts, w.reference, w.version)):
            continue
        needed = required and (asked or w.reason != "switched-off")
        yield Uncompared("weights", w.reference, w.version, w.part, w.reason, str(w.not_run), needed)
    if not any(w.reason == "switched-off" for w in facts.weights):
        for one in facts.unopened:
            yield Uncompared("weights", "", "", one.name, one.reason, one.why, required)


def _no_weights(facts: Facts, required: bool = True) -> tuple[Uncompared, ...]:
    why, reason = ("no reference was given", "no-reference") if not facts.references else ("neither side holds any", "not-comparable")
    return (Uncompared("weights", "", "", "", reason, why, required),)


def _of_use(facts: Facts, name: str, version: str) -> bool:
    """Is this reference here for something else than weights: a package of code, a tokenizer that was compared? (With a config it is a model without any.)"""
    tree = facts.tree_of(name, version)
    if tree is None or "config.json" in tree.sizes:
        return False
    return "code" in facts.party(name, version).has or any(t.reference == name and t.not_run is None for t in facts.tokenizers)


def _code(facts: Facts) -> tuple[Uncompared, ...]:
    if facts.code is not None:
        return ()
    why = "no reference was given" if not facts.references else facts.code_not_run or "nothing to compare"
    reason = "no-reference" if not facts.references else "release-lacks" if "code" not in facts.release.has else "reference-lacks"
    return (Uncompared("code", "", "", "", reason, why, True),)


def _tokenizer(facts: Facts) -> tuple[Uncompared, ...]:
    if not facts.references:
        return (Uncompared("tokenizer", "", "", "", "no-reference", "no reference was given", True),)
    if not facts.tokenizers:
        lacks = "tokenizer" not in facts.release.has
        why = "the release holds no tokenizer" if lacks else "no reference holds a tokenizer"
        return (Uncompared("tokenizer", "", "", "", "release-lacks" if lacks else "reference-lacks", why, True),)
    return tuple(
        Uncompared("tokenizer", t.reference, "", "", "not-comparable", (t.not_run or t.sentence).rstrip("."), True)
        for t in facts.tokenizers if t.level == "not-determinable"
    )  # fmt: skip


def findings(facts: Facts) -> Iterator[Finding]:
    """One finding for each comparison that was not made."""
    for u in uncompared(facts):
        reference: Reference | None = facts.reference(u.reference, u.version) if u.reference else None
        yield Finding(
            id=u.id, axis="reuse", about=u.question, value="not-compared", level="not-determinable", bearing="fact", severity="none",
            sentence=sentence((u,)), subject=Span(u.part or "."), reference=reference,
            evidence=Evidence("comparison", f"not made: {u.reason}"), remedy=_REMEDIES.get(u.reason, ""),
        )  # fmt: skip


_REMEDIES = {
    "no-reference": "name what the release may have been made from: --references ID=PATH", "archive": "unpack it and name the folder",
    "models-below": "name each folder that holds a model as a reference of its own", "several": "put each into a folder of its own and name those",
    "reference-lacks": "download the reference's weights, or ask for other questions alone (--require code)", "damaged": "get the file again",
    "format": "convert it to a format that begat reads (docs/formats.md)", "link": "put the file itself into the folder",
}  # fmt: skip


def sentence(found: tuple[Uncompared, ...]) -> str:
    """What was not compared, question by question; "" for nothing."""
    out = []
    for question in dict.fromkeys(u.question for u in found):
        mine = [u for u in found if u.question == question]
        verb = "were" if question == "weights" else "was"
        said = list(dict.fromkeys(_one(u) for u in mine))
        more = f"; and {len(said) - _LISTED} more" if len(said) > _LISTED else ""
        out.append(f"{_NAMES[question]} {verb} NOT compared: {'; '.join(said[:_LISTED])}{more}.")
    return " ".join(out)


def _one(u: Uncompared) -> str:
    against = f"against {u.reference}{' ' + u.version if u.version else ''}: " if u.reference else ""
    of = f"{u.part}, " if u.part and u.part not in u.why else ""
    return f"{of}{against}{u.why}"
