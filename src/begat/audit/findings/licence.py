"""Licences: what the release says of its own licence, and what the licences of its ancestors ask.

Enters: `Facts`, `Ancestor`s.  Leaves: findings of axis "licence". Duties follow from measured reuse; a base that is only declared is compared by licence alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from begat.audit.findings.base import Facts, clause, duty_level, levels, same_model, title, weights_of
from begat.audit.findings.reuse import code_tied
from begat.audit.folder import Tree
from begat.audit.licences.checks import Held, check, limits_dropped
from begat.audit.licences.table import TABLE, Obligation
from begat.audit.party import ranked
from begat.audit.types import Ancestor, Clause, Evidence, Finding, LicenceText, Reference, Span

_LIMIT_WORDS = {
    "non-commercial": "no commercial use", "use-restrictions": "use restrictions", "user-count": "a limit on the number of users",
    "region": "a regional restriction", "no-improving-others": "no use for improving other models",
}  # fmt: skip
_GRAVE = {"non-commercial", "use-restrictions", "region"}


def findings(facts: Facts, ancestors: tuple[Ancestor, ...]) -> Iterator[Finding]:
    """First the release's own papers, then duties and conflicts by ancestor, then bases that are only declared."""
    yield from _own_texts(facts)
    yield from _own_consistency(facts)
    tied: set[tuple[str, str]] = set()
    for ancestor in ancestors:
        if ancestor.established or ancestor.indicated:
            yield from _duties(facts, ancestor, tied)
            yield from _conflict(facts, ancestor)
    yield from _declared_only(facts, ancestors)


# --- the release's own papers ---


def _own_texts(facts: Facts) -> Iterator[Finding]:
    if not facts.texts:
        yield _plain(
            "licence.no-text", "licence-text", "absent", "not-found", "low",
            "The release carries no licence file. Nor do most models (arXiv:2602.08816 counts 95.8 %), so alone this says little.",
            Span("."), "licence files", "0", "add the text of the licence",
        )  # fmt: skip
    for text in facts.texts:
        yield _own_text(text)
    if facts.declared.note:
        yield _plain("licence.card-unreadable", "card", "unreadable", "not-determinable", "low", f"The model card could not be read: {facts.declared.note}.",
                     Span("README.md"), "front matter", "unreadable", "repair the front matter")  # fmt: skip


def _own_text(text: LicenceText) -> Finding:
    name = title(text.licence)
    spans = tuple(Span(text.file, e.line, e.line) for e in text.edits[:12])
    if text.state == "edited":
        shown = "; ".join(f"“{e.before}” became “{e.after}”" if e.before and e.after else f"“{e.after}” added" if e.after else f"“{e.before}” left out"
                          for e in text.edits[:3])  # fmt: skip
        return Finding(
            id=f"licence.edited:{text.file}:{text.licence}", axis="licence", about="licence-text", value="edited", level="established",
            bearing="against", severity="medium",
            sentence=f"{text.file} is the {name} with {len(text.edits)} {'edit' if len(text.edits) == 1 else 'edits'}: {shown}.",
            subject=Span(text.file, text.edits[0].line, text.edits[-1].line), reference=None,
            evidence=Evidence("share of the published words found in order", text.same, 1.0, "the published text", spans),
            remedy="restore the published text, or say openly that the terms are one's own",
        )  # fmt: skip
    words = {
        "unedited": f"{text.file} is the unedited {name}.",
        "appended": f"{text.file} is the {name} with text added before or behind it.",
        "spdx": f"{text.file} was identified as {name} by coverage; it was not compared word by word.",
        "scancode": f"{text.file} was named {name} by ScanCode; whether it was edited is not known.",
        "unknown": f"{text.file} holds no licence text that was recognised.",
        "other": f"{text.file} calls itself “{text.title}”: another licence than the {title(text.like)}, whose wording it is nearest to "
        f"({text.same:.1%} of it in order). What it asks is not known here.",
        "alike": f"{text.file} has {text.same:.1%} of the wording of the {title(text.like)} in order, and no heading that says which licence or edition it "
        "is: an edited text, another edition or another licence.",
    }
    known = text.state in ("unedited", "appended", "other")
    level = "established" if known else "indicated" if text.licence else "not-determinable"
    return Finding(
        id=f"licence.text:{text.file}:{text.licence or text.state}", axis="licence", about="licence-text", value=text.state, level=level,
        bearing="fact", severity="none", sentence=words[text.state], subject=Span(text.file), reference=None,
        evidence=Evidence("licence text", text.state, None, "", spans),
    )  # fmt: skip


def outbound(facts: Facts) -> tuple[str, str]:
    """(licence id, where it is stated): the release's LICENSE text, else its card."""
    known = [t for t in ranked(facts.texts) if (t.licence or t.title) and "/" not in t.file]
    if known:
        return known[0].licence or known[0].title, known[0].file
    return facts.declared.licence_id or facts.declared.expression, "README.md"


def _own_consistency(facts: Facts) -> Iterator[Finding]:
    declared = facts.declared
    card = declared.licence_id or declared.expression
    in_files = [t for t in facts.texts if t.licence and "/" not in t.file]
    if card and in_files and all(_edition_of(card) not in (_edition_of(t.licence), title(t.licence)) for t in in_files):
        yield Finding(
            id="licence.card-differs", axis="licence", about="card", value="licence-differs", level="established", bearing="against", severity="medium",
            sentence=f"The card says {title(card)}, {in_files[0].file} is the {title(in_files[0].licence)}.", subject=Span("README.md"), reference=None,
            evidence=Evidence("card licence against licence file", f"{card} / {in_files[0].licence}", None, "", (Span(in_files[0].file),)),
            remedy="let the card and the licence file name one licence, or say which part is under which",
        )  # fmt: skip
    if declared.licence and not card:
        said = ", ".join([*declared.licence, *([declared.licence_name] if declared.licence_name else [])])
        yield _plain("licence.card-unknown", "card", "licence-unknown", "not-determinable", "low",
                     f"The card's licence field ({said}) names no licence that is known here.",
                     Span("README.md"), "card licence", said, "name it by its SPDX key")  # fmt: skip
    others = sorted({(x, f) for f, x in facts.headers if card and x != card and x in TABLE.licences})
    for licence in dict.fromkeys(x for x, _ in others):
        files = [f for x, f in others if x == licence]
        yield _plain(f"licence.header-differs:{licence}", "card", "header-differs", "established", "none",
                     f"{len(files)} {'file names' if len(files) == 1 else 'files name'} {title(licence)} in the header, the card {title(card)}. "
                     "Code and weights are often under different licences.", Span(files[0]), "licence in file headers", licence, "")  # fmt: skip


def _edition_of(licence: str) -> str:
    """An id without the year of its edition: the card names a licence, not which edition of it."""
    return re.sub(r"-20\d\d$", "", licence)


def _plain(
    id: str, about: str, value: str, level: str, severity: str, sentence: str, subject: Span, measure: str, measured: str, remedy: str
) -> Finding:
    return Finding(id=id, axis="licence", about=about, value=value, level=level, bearing="fact", severity=severity, sentence=sentence, subject=subject,
                   reference=None, evidence=Evidence(measure, measured), remedy=remedy)  # fmt: skip


# --- what the licences of ancestors ask ---


def by_licence(ancestor: Ancestor) -> dict[str, tuple[str, ...]]:
    """Licence → parts of the ancestor that are under it and tied to the release. Code has the licences of the matched files themselves."""
    out: dict[str, tuple[str, ...]] = {}
    for part in (*ancestor.established, *ancestor.indicated):
        for licence in ancestor.code_licences if part == "code" else ((ancestor.licence,) if ancestor.licence else ()):
            out[licence] = (*out.get(licence, ()), part)
    return out


def _duties(facts: Facts, ancestor: Ancestor, tied: set[tuple[str, str]]) -> Iterator[Finding]:
    """Every duty on what is shared. `tied`: duties on code of one licence that were already asked for another reference that holds it alike."""
    reference = facts.reference(ancestor.reference, ancestor.version)
    found = by_licence(ancestor)
    for licence in [x for x in found if x not in TABLE.licences] or ([] if found else [""]):
        yield Finding(
            id=f"licence.unknown:{ancestor.reference}:{licence}", axis="licence", about="reference-licence", value="unknown",
            level="not-determinable", bearing="fact", severity="low",
            sentence=f"What the licence of {ancestor.reference} asks is not known here" + (f" ({licence})." if licence else ": no licence of it was found."),
            subject=Span("."), reference=reference, evidence=Evidence("licence of the reference", licence or "none found"),
            remedy="give the reference with its LICENSE, or as REPOSITORY@REVISION=PATH",
        )  # fmt: skip
    notice = _upstream_notice(facts.tree_of(ancestor.reference, ancestor.version))
    for licence, parts in found.items():
        held = Held(facts.tree, facts.declared, facts.texts, licence, notice)
        for duty in TABLE.licences[licence].obligations if licence in TABLE.licences else ():
            bound = [p for p in duty.parts if p in parts]
            if bound == ["code"] and code_tied(facts, ancestor.reference):
                if (licence, duty.id) in tied:
                    continue
                tied.add((licence, duty.id))
            finding = _duty(ancestor, licence, duty, held, reference, bound) if bound else None
            if finding is not None:
                yield finding


def _duty(
    ancestor: Ancestor, licence: str, duty: Obligation, held: Held, reference: Reference, parts: list[str]
) -> Finding | None:
    outcome = check(duty, held)
    if outcome is None:
        return None
    level = "established" if any(duty_level(ancestor, p) == "established" for p in parts) else "indicated"
    because = f"{' and '.join(parts)} shared with {ancestor.reference} ({level}{_open(ancestor, parts)})"
    asks = f"{title(licence)}, {duty.clause}"
    if outcome.seen is None:
        sentence, bearing, level, severity = (
            f"{asks} bears on {because}; it cannot be said whether it is kept: {outcome.value}.",
            "fact",
            "not-determinable",
            "none",
        )
    elif outcome.seen:
        sentence, bearing, severity = f"{asks}: seen to be done ({outcome.value}).", "for", "none"
    else:
        sentence, bearing, severity = f"{asks}, on {because}: not seen to be done; {outcome.value}.", "against", duty.severity
    return Finding(
        id=f"licence.{duty.id}:{licence}:{ancestor.reference}", axis="licence", about="duty",
        value="undetermined" if outcome.seen is None else "seen" if outcome.seen else "not-seen", level=level, bearing=bearing,
        severity=severity, sentence=sentence,
        subject=outcome.spans[0] if outcome.spans else Span("."), reference=reference,
        evidence=Evidence(duty.check, outcome.value, None, "", outcome.spans), clause=clause(licence, duty),
        remedy=duty.remedy if outcome.seen is False else "",
    )  # fmt: skip


def _open(ancestor: Ancestor, parts: Iterable[str]) -> str:
    """What a reader has to know of weights whose dependence is established and its kind open."""
    if "weights" not in parts or ancestor.relation != "open" or levels(ancestor, "weights") != "established":
        return ""
    return f"; a dependence of {weights_of(ancestor)} is established, and open whether trained weights were taken over"


def _upstream_notice(tree: Tree | None) -> tuple[str, ...] | None:
    """Lines of a reference's NOTICE file at its root (or beside a package's metadata); () when it has none, None where its files are not at hand."""
    if tree is None:
        return None
    for file in sorted(tree.sizes, key=lambda n: (n.count("/"), n)):
        if file.rsplit("/", 1)[-1].casefold() in ("notice", "notice.txt", "notice.md") and (
            file.count("/") == 0 or ".dist-info/" in file
        ):
            return tuple(line.strip() for line in (tree.text(file) or "").split("\n") if len(line.split()) > 1)[:200]
    return ()


def _conflict(facts: Facts, ancestor: Ancestor) -> Iterator[Finding]:
    for licence, parts in by_licence(ancestor).items():
        if licence in TABLE.licences:
            said = ", ".join(f"{p} {duty_level(ancestor, p)}" for p in parts) + _open(ancestor, parts)
            yield from _compared(facts, ancestor.reference, licence, f"{ancestor.reference} ({said})", only_tokenizer=parts == ("tokenizer",),
                                 reference=facts.reference(ancestor.reference, ancestor.version))  # fmt: skip


def _declared_only(facts: Facts, ancestors: tuple[Ancestor, ...]) -> Iterator[Finding]:
    for base in facts.declared.base_models:
        if any(same_model(a.reference, base) and (a.established or a.indicated) for a in ancestors):
            continue
        given = next((a for a in ancestors if same_model(a.reference, base)), None)
        model = TABLE.of_model(base, "")
        licence = (
            given.licence if given is not None and given.licence in TABLE.licences else model.licence if model is not None else ""
        )
        if licence:
            yield from _compared(facts, base, licence, f"{base}, which the card declares as base and nothing here measured,",
                                 only_tokenizer=False, reference=None if given is None else facts.reference(given.reference))  # fmt: skip


def _compared(
    facts: Facts, name: str, inbound: str, because: str, *, only_tokenizer: bool, reference: Reference | None
) -> Iterator[Finding]:  # fmt: skip
    """The licence taken from against the licence given. A conflict is never more than indicated: whether there is one is for a person."""
    taken = TABLE.licences[inbound]
    out, where = outbound(facts)
    given = TABLE.licences.get(out)
    if not taken.limits:
        return
    if not out:
        yield Finding(
            id=f"licence.conflict:{inbound}:{name}", axis="licence", about="limits", value="undetermined", level="not-determinable",
            bearing="fact", severity="low",
            sentence=f"The release states no licence; the {taken.title} of {because} sets limits ({_limits(taken.limits)}).", subject=Span("."),
            reference=reference, evidence=Evidence("licence of the release", "none stated"), remedy="state the licence",
        )  # fmt: skip
        return
    if given is None:
        yield Finding(
            id=f"licence.conflict:{inbound}:{name}", axis="licence", about="limits", value="undetermined", level="not-determinable",
            bearing="fact", severity="low",
            sentence=f"The release is under {title(out)}, which is not in begat's table; the {taken.title} of {because} sets limits ({_limits(taken.limits)}).",
            subject=Span(where), reference=reference, evidence=Evidence("licence of the release", out),
        )  # fmt: skip
        return
    dropped = () if given.id == taken.id else limits_dropped(taken.limits, given.limits)
    if not dropped:
        yield Finding(
            id=f"licence.conflict:{inbound}:{name}", axis="licence", about="limits", value="kept", level="not-found", bearing="for", severity="none",
            sentence=f"The release's {given.title} drops no limit of the {taken.title} ({because}).", subject=Span(where), reference=reference,
            evidence=Evidence("limits dropped", "none"),
        )  # fmt: skip
        return
    grave = "low" if only_tokenizer else "high" if set(dropped) & _GRAVE else "medium"
    yield Finding(
        id=f"licence.conflict:{inbound}:{name}", axis="licence", about="limits", value="dropped", level="indicated",
        bearing="fact" if only_tokenizer else "against", severity=grave,
        sentence=f"Conflict indicated: the release is under {given.title}, while the {taken.title} of {because} sets limits that it lacks "
        f"({_limits(dropped)}). A person has to decide.", subject=Span(where), reference=reference,
        evidence=Evidence("limits dropped", ", ".join(dropped)), clause=_limit_clause(taken.id, dropped),
        remedy="release under terms that carry the limits on, or show that the licence taken from does not apply",
    )  # fmt: skip


def _limits(limits: tuple[str, ...]) -> str:
    return ", ".join(_LIMIT_WORDS[x] for x in limits)


def _limit_clause(licence: str, dropped: tuple[str, ...]) -> Clause | None:
    """The clause behind the gravest limit, where the table has one."""
    ids = {"use-restrictions": ("restrictions", "use-policy"), "user-count": ("users",), "region": ("region",), "no-improving-others": ("others",),
           "non-commercial": ("non-commercial",)}  # fmt: skip
    for limit in dropped:
        for duty in TABLE.licences[licence].obligations:
            if duty.id in ids.get(limit, ()):
                return clause(licence, duty)
    return None
