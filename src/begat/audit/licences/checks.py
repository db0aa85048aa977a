"""Does a release do what a licence asks? One function for each `check` of `licences.toml`.

Enters: an `Obligation`, what the release holds.  Leaves: an `Outcome`: seen, not seen, or nothing that a folder can show. That something is not
seen is a fact about the folder; whether it is owed is for the finding (which names the measured reuse) and for a person.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from begat.audit.folder import Tree
from begat.audit.licences.table import CHECKS, Obligation
from begat.audit.types import Declared, LicenceText, Span


@dataclass(frozen=True, slots=True)
class Held:
    """What the checks look into.

    `upstream_notice`: lines of the reference's NOTICE, () when it has none, None where its files are not at hand.
    """

    release: Tree
    declared: Declared
    texts: tuple[LicenceText, ...]
    licence: str
    upstream_notice: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """`seen`: True, False, or None where a folder cannot show it; what was measured, and where."""

    seen: bool | None
    value: str
    spans: tuple[Span, ...] = ()


def check(duty: Obligation, held: Held) -> Outcome | None:
    """Run the check of a duty. None for duties about single files, which `begat.audit.findings` draws from the notices."""
    return _RUN[duty.check](duty, held)


def _licence_copy(duty: Obligation, held: Held) -> Outcome:
    found = [t for t in held.texts if t.licence == held.licence]
    if found:
        return Outcome(True, f"{found[0].file} holds it ({found[0].state})", (Span(found[0].file),))
    near = max((t for t in held.texts if t.like == held.licence), key=lambda t: t.same, default=None)
    if near is not None and near.same == 1.0:
        return Outcome(True, f"{near.file} holds its whole wording, under a heading of its own", (Span(near.file),))
    if near is not None and near.state == "alike":
        return Outcome(None, f"{near.file} has {near.same:.1%} of its wording in order and no heading that says whose it is", (Span(near.file),))
    linked = _phrases(duty.phrases, held, _documents(held.release)) if duty.phrases else None
    return linked if linked is not None and linked.seen else Outcome(False, "its text is in no file of the release")


def _notice_sentence(duty: Obligation, held: Held) -> Outcome:
    names = [n for n in held.release.sizes if n.rsplit("/", 1)[-1].casefold().startswith("notice")]
    found = _phrases(duty.phrases, held, names)
    if found.seen:
        return found
    elsewhere = _phrases(duty.phrases, held, _own_words(held))
    if elsewhere.seen:
        return Outcome(False, f"the sentence stands in {elsewhere.spans[0].file}, not in a Notice file", elsewhere.spans)
    return Outcome(False, "no Notice file holds the sentence" if names else "there is no Notice file")


def _display(duty: Obligation, held: Held) -> Outcome:
    return _phrases(duty.phrases, held, _own_words(held))


def _name_prefix(duty: Obligation, held: Held) -> Outcome:
    name = held.declared.name.rsplit("/", 1)[-1]
    if not name:
        return Outcome(None, "the release's name is not known; give it as ID=PATH")
    seen = any(
        name.casefold().startswith(p.casefold()) or name.casefold().startswith(p.casefold().replace(" ", "-"))
        for p in duty.phrases
    )
    return Outcome(seen, f"the release is called “{name}”")


def _upstream_notice(duty: Obligation, held: Held) -> Outcome | None:
    if held.upstream_notice is None:
        return Outcome(None, "the reference's files are not at hand")
    if not held.upstream_notice:
        return None  # there is nothing to carry along
    names = [n for n in _documents(held.release) if (held.release.text(n) or "").strip()]
    for name in names:
        flat = _flat(held.release.text(name) or "")
        if all(_flat(line) in flat for line in held.upstream_notice):
            return Outcome(True, f"the lines of the upstream NOTICE stand in {name}", (Span(name),))
    return Outcome(False, f"the {len(held.upstream_notice)} lines of the upstream NOTICE are in no document of the release")


def _pass_restrictions(duty: Obligation, held: Held) -> Outcome:
    if any(held.licence in (t.licence, t.like) for t in held.texts):
        return Outcome(True, "the release carries the licence itself, or most of its wording")
    names = [t.file for t in held.texts] or _documents(held.release)
    found = _phrases(duty.phrases, held, names)
    return found if found.seen else Outcome(False, "no licence text of the release mentions the use restrictions")


def _not_checkable(duty: Obligation, held: Held) -> Outcome:
    return Outcome(None, "no folder can show it")


def _per_file(duty: Obligation, held: Held) -> None:
    return None


_RUN: Mapping[str, Callable[[Obligation, Held], Outcome | None]] = {
    "licence-copy": _licence_copy, "notice-sentence": _notice_sentence, "display": _display, "name-prefix": _name_prefix,
    "change-notice": _per_file, "keep-notices": _per_file, "upstream-notice": _upstream_notice, "pass-restrictions": _pass_restrictions,
    "not-checkable": _not_checkable,
}  # fmt: skip
if set(_RUN) != set(CHECKS):
    raise ValueError("checks.py and table.py disagree about the checks there are")


def _documents(release: Tree) -> list[str]:
    """Texts for readers: cards, notices, licences, documentation."""
    return sorted(
        n for n in release.sizes if n.casefold().endswith((".md", ".txt", ".rst", ".html")) or "." not in n.rsplit("/", 1)[-1]
    )


def _own_words(held: Held) -> list[str]:
    """Documents without licence texts, which hold the phrases they ask for."""
    texts = {t.file for t in held.texts}
    return [n for n in _documents(held.release) if n not in texts]


def _phrases(phrases: tuple[str, ...], held: Held, names: list[str]) -> Outcome:
    """Any of the phrases in any of the files, whatever the case, quotation marks and line breaks."""
    for name in names:
        text = held.release.text(name)
        if text is None:
            continue
        flat = _flat(text)
        for phrase in phrases:
            if _flat(phrase) in flat:
                line = _line(text, phrase)
                return Outcome(True, f"“{phrase}” stands in {name}", (Span(name, line, line),))
    return Outcome(False, "not found: " + " / ".join(f"“{p}”" for p in phrases))


def _flat(text: str) -> str:
    return " ".join(re.findall(r"[^\W_]+", text.casefold()))


def _line(text: str, phrase: str) -> int:
    """The line where a phrase begins; 0 when it is broken over lines."""
    wanted = _flat(phrase)
    return next((n for n, line in enumerate(text.split("\n"), 1) if wanted in _flat(line)), 0)


def limits_dropped(inbound: tuple[str, ...], outbound: tuple[str, ...]) -> tuple[str, ...]:
    """Limits of the licence taken from that the licence given does not have."""
    return tuple(x for x in inbound if x not in outbound)
