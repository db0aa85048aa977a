"""Reuse: weights, code, tokenizer, each on its own. Reuse alone is a fact and no breach.

Enters: `Facts`.  Leaves: findings of axis "reuse", and the ancestors they amount to.
"""

from __future__ import annotations

from collections.abc import Iterator

from begat.audit.code.types import UnitMatch
from begat.audit.findings.base import Facts, declared_in
from begat.audit.findings.notice import licence_of
from begat.audit.types import Ancestor, Evidence, Finding, Span, WeightsResult
from begat.audit.weights import level_of

_SPANS = 12


def ancestors(facts: Facts) -> tuple[Ancestor, ...]:
    """Every reference with what ties the release to it, in the order of the references."""
    out = []
    for name in dict.fromkeys(p.id for p in facts.references):
        found: dict[str, list[str]] = {"established": [], "indicated": []}
        for part, level in (
            ("weights", weights_level(facts, name)),
            ("code", code_level(facts, name)),
            ("tokenizer", tokenizer_level(facts, name)),
        ):
            if level in found:
                found[level].append(part)
        party = facts.party(name, _code_version(facts, name))
        tie = _tie(facts, name)
        licences = tuple(dict.fromkeys(x for n in facts.notices if n.reference == name and (x := licence_of(facts, n))))
        out.append(
            Ancestor(
                reference=name, version=party.version, established=tuple(found["established"]), indicated=tuple(found["indicated"]),
                declared=bool(declared_in(facts, name)), licence=party.licence, licence_source=party.licence_source,
                code_licences=licences or ((party.code_licence,) if party.code_licence else ()),
                relation=tie.relation if tie else "untested", arrow=tie.arrow if tie else "",
                parts=tie.parts if tie else (),
            )
        )  # fmt: skip
    return tuple(out)


def _tie(facts: Facts, name: str) -> WeightsResult | None:
    """The strongest result about the weights of one reference."""
    order = ("established", "indicated", "not-found", "not-determinable")
    mine = [w for w in facts.weights if w.reference == name]
    return min(mine, key=lambda w: (order.index(level_of(w)), w.relation == "open"), default=None)


def weights_level(facts: Facts, name: str) -> str:
    """The level of weight reuse from one reference; the strongest where several versions were given."""
    return _strongest(level_of(w) for w in facts.weights if w.reference == name)


def tokenizer_level(facts: Facts, name: str) -> str:
    """The level of tokenizer reuse from one reference."""
    return _strongest(t.level for t in facts.tokenizers if t.reference == name)


def code_level(facts: Facts, name: str) -> str:
    """Level "established" when a unit names a file of the reference, or ties only among its files; "indicated" when units tie with other references too, or are
    weaker likeness.
    """
    units = units_of(facts, name)
    if any(u.status == "established" or (u.status == "tie" and origins(u) == {name}) for u in units):
        return "established"
    return "indicated" if units else "not-found"


def code_tied(facts: Facts, name: str) -> bool:
    """Is code shared with this reference and alike with another, so that it is reused but its source is open?"""
    return code_level(facts, name) == "indicated" and any(u.status == "tie" for u in units_of(facts, name))


def origins(unit: UnitMatch) -> set[str]:
    """References among the sources that fit a unit alike."""
    best = max((s.score for s in unit.sources), default=0.0)
    return {s.reference for s in unit.sources if s.score >= best - 1e-9}


def units_of(facts: Facts, name: str) -> list[UnitMatch]:
    """Units of the release that are established or tied, a reference being the source or one of them; or indicated for it alone."""
    out = []
    for unit in facts.code.units if facts.code is not None else ():
        if unit.status == "established":
            matched = bool(unit.sources) and unit.sources[0].reference == name
        elif unit.status == "tie":
            matched = name in origins(unit)
        else:
            matched = unit.status == "indicated" and unit.family == name
        if matched:
            out.append(unit)
    return out


def _code_version(facts: Facts, name: str) -> str:
    found = [s.version for u in units_of(facts, name) if u.status == "established" for s in u.sources[:1]]
    return max(set(found), key=found.count) if found else ""


def _strongest(levels: Iterator[str]) -> str:
    order = ("established", "indicated", "not-found", "not-determinable")
    return min(levels, key=order.index, default="not-determinable")


def findings(facts: Facts) -> Iterator[Finding]:
    """One finding for each reference and part."""
    yield from _weights(facts)
    for name in dict.fromkeys(p.id for p in facts.references):
        yield from _code(facts, name)
    yield from _tokenizer(facts)


def _weights(facts: Facts) -> Iterator[Finding]:
    for w in facts.weights:
        if w.relation == "untested":
            continue  # `uncompared.py` says it
        level = level_of(w)
        part = f"{w.part}: " if w.part else ""
        yield Finding(
            id=":".join(("reuse.weights", w.reference, *filter(None, (w.version, w.part)))), axis="reuse", about="weights", value=str(w.verdict), level=level,
            bearing="fact", severity="none", sentence=f"{part}Weights against {w.reference}: {w.sentence}{_meaning(w)}",
            subject=Span(w.part or "."), reference=facts.reference(w.reference, w.version),
            evidence=Evidence("log10 of the e-value of begat compare", w.log10_e, None, "independent training (docs/statistics.md)")
            if w.log10_e is not None else Evidence("begat compare", str(w.verdict)),
            remedy="" if level != "established" else "begat compare shows which parts, and in which direction where that can be said",
        )  # fmt: skip


def _meaning(w: WeightsResult) -> str:
    """What a result means for the question whether weights were reused, where the verdict does not say it itself."""
    if w.arrow == "to-reference":
        return " The reference was made from the release, not the release from it."
    if w.relation == "initial":
        return " Equal initial weights are no reuse of trained weights."
    if w.relation == "open" and w.exact:
        what = "That parts of the two" if w.parts else "That the two"
        return f" {what} depend on each other is established; of which kind the dependence is, is open."
    return ""


def _code(facts: Facts, name: str) -> Iterator[Finding]:
    if facts.code is None:
        return
    units = units_of(facts, name)
    named = [u for u in units if u.status == "established"]
    tied = [u for u in units if u.status == "tie"]
    by_file: dict[tuple[str, str], list[UnitMatch]] = {}
    for unit in named:
        by_file.setdefault((unit.file, unit.sources[0].file), []).append(unit)
    for (file, source), group in by_file.items():
        yield _code_finding(facts, name, file, source, group)
    if tied:
        best = max(tied, key=lambda u: u.score)
        others = sorted({o for u in tied for o in origins(u)} - {name})
        alone = any(origins(u) == {name} for u in tied)
        yield Finding(
            id=f"reuse.code-tie:{name}", axis="reuse", about="code", value="shared" if alone else "shared-source-open",
            level="established" if alone else "indicated", bearing="fact", severity="none",
            sentence=f"{len(tied)} {'unit' if len(tied) == 1 else 'units'} of code are shared with {name}"
            + (f" and alike with {', '.join(others[:3])}; which of them is the source cannot be said." if others
               else ", where several files hold them alike; no single file is named."),
            subject=_place(tied), reference=facts.reference(name),
            evidence=Evidence("share of a unit's features in the best source", best.score, best.threshold, "independent code", _spans(tied)),
        )  # fmt: skip
    if not named and not tied:
        weak = [u for u in units if u.status == "indicated"]
        top = max(weak, key=lambda u: u.score, default=None)
        yield Finding(
            id=f"reuse.code:{name}", axis="reuse", about="code", value="alike" if weak else "none",
            level="indicated" if weak else "not-found", bearing="fact", severity="none",
            sentence=f"{len(weak)} units are more alike to {name} than independent code was in calibration, too little to name a source."
            if weak else f"No code was found to come from {name}.",
            subject=_place(weak), reference=facts.reference(name),
            evidence=Evidence("share of a unit's features in the best source", None if top is None else top.score,
                              None if top is None else top.threshold, "independent code", _spans(weak)),
        )  # fmt: skip


def _code_finding(facts: Facts, name: str, file: str, source: str, group: list[UnitMatch]) -> Finding:
    best = max(group, key=lambda u: u.score)
    versions = sorted({s.version for u in group for s in u.sources if (s.reference, s.file) == (name, source)})
    return Finding(
        id=f"reuse.code:{file}:{name}:{source}", axis="reuse", about="code", value="shared", level="established", bearing="fact", severity="none",
        sentence=f"{len(group)} {'unit' if len(group) == 1 else 'units'} of {file} are shared with {name}, {source}"
        + (f" (version {' or '.join(v for v in versions if v)})." if any(versions) else "."),
        subject=Span(file, min(u.lines[0] for u in group), max(u.lines[1] for u in group)),
        reference=facts.reference(name, best.sources[0].version),
        evidence=Evidence("share of a unit's features in the best source", best.score, best.threshold, "independent code", _spans(group)),
    )  # fmt: skip


def _place(units: list[UnitMatch]) -> Span:
    return Span(units[0].file, *units[0].lines) if units else Span(".")


def _spans(units: list[UnitMatch]) -> tuple[Span, ...]:
    return tuple(Span(u.file, *u.lines) for u in sorted(units, key=lambda u: -u.score)[:_SPANS])


_TOKENIZER = {"established": "one-order", "indicated": "partly-one-order", "not-found": "none", "not-determinable": "undetermined"}


def _tokenizer(facts: Facts) -> Iterator[Finding]:
    for t in facts.tokenizers:
        value = t.merges_in_order / t.merges_shared if t.judged == "merges" else t.agreement
        yield Finding(
            id=f"reuse.tokenizer:{t.reference}", axis="reuse", about="tokenizer", value=_TOKENIZER[t.level], level=t.level,
            bearing="fact", severity="none", sentence=t.sentence,
            subject=Span(t.file or "."), reference=facts.reference(t.reference),
            evidence=Evidence(
                f"order agreement of shared {t.judged or 'tokens'}", value if t.judged else None, t.threshold if t.judged else None,
                f"independent uniform order stays below {t.chance:.3f} (p ≤ 10^-6); real tokenizers trained apart reach up to 1.73 times that",
            ),
        )  # fmt: skip
