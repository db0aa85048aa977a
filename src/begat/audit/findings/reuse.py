"""Reuse: weights, code, tokenizer, each on its own. Reuse alone is a fact and no breach.

Enters: `Facts`.  Leaves: findings of axis "reuse", and the ancestors they amount to.
"""

from __future__ import annotations

from collections.abc import Iterator

from begat.audit.code.types import UnitMatch
from begat.audit.findings.base import Facts, declared_as_base
from begat.audit.types import Ancestor, Evidence, Finding, Span
from begat.audit.weights import level_of

_SPANS = 12


def ancestors(facts: Facts) -> tuple[Ancestor, ...]:
    """Every reference with what ties the release to it, in the order of the references."""
    out = []
    for name in dict.fromkeys(p.id for p in facts.references):
        found: dict[str, list[str]] = {"established": [], "indicated": []}
        for part, level in (("weights", weights_level(facts, name)), ("code", code_level(facts, name)), ("tokenizer", tokenizer_level(facts, name))):
            if level in found:
                found[level].append(part)
        party = facts.party(name, _code_version(facts, name))
        out.append(
            Ancestor(
                name, party.version, tuple(found["established"]), tuple(found["indicated"]), declared_as_base(facts, name), party.licence,
                party.licence_source,
            )
        )  # fmt: skip
    return tuple(out)


def weights_level(facts: Facts, name: str) -> str:
    """The level of weight reuse from one reference; the strongest where several versions were given."""
    return _strongest(level_of(w) for w in facts.weights if w.reference == name)


def tokenizer_level(facts: Facts, name: str) -> str:
    """The level of tokenizer reuse from one reference."""
    return _strongest(t.level for t in facts.tokenizers if t.reference == name)


def code_level(facts: Facts, name: str) -> str:
    """"established" when at least one unit names a file of the reference, "indicated" for ties that name the reference and weaker likeness."""
    units = units_of(facts, name)
    if any(u.status in ("established", "tie") for u in units):
        return "established"
    return "indicated" if units else "not-found"


def units_of(facts: Facts, name: str) -> list[UnitMatch]:
    """Units of the release matched to a reference. A tie counts only where every source is of that reference: then the reference is named, no file."""
    out = []
    for unit in facts.code.units if facts.code is not None else ():
        sources = {s.reference for s in unit.sources}
        if unit.status == "established" and unit.sources and unit.sources[0].reference == name:
            out.append(unit)
        elif unit.status in ("tie", "indicated") and (unit.family == name if unit.family else sources == {name}):
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
        level = level_of(w)
        yield Finding(
            id=f"reuse.weights:{w.reference}", axis="reuse", level=level, bearing="fact", severity="none",
            sentence=w.sentence if w.not_run else f"Weights against {w.reference}: {w.sentence}", subject=Span("."),
            reference=facts.reference(w.reference),
            evidence=Evidence("log10 of the e-value of begat compare", w.log10_e, None, "independent training (docs/statistics.md)")
            if w.log10_e is not None else Evidence("begat compare", w.verdict or "not run"),
            remedy="" if level != "established" else "begat compare shows which parts, and in which direction where that can be said",
        )  # fmt: skip


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
        yield Finding(
            id=f"reuse.code-family:{name}", axis="reuse", level="established", bearing="fact", severity="none",
            sentence=f"{len(tied)} {'unit' if len(tied) == 1 else 'units'} of code are reused from {name}, where several files hold them alike; no single file is named.",
            subject=_place(tied), reference=facts.reference(name),
            evidence=Evidence("share of a unit's features in the best source", best.score, best.threshold, "independent code", _spans(tied)),
        )  # fmt: skip
    if not named and not tied:
        weak = [u for u in units if u.status == "indicated"]
        top = max(weak, key=lambda u: u.score, default=None)
        yield Finding(
            id=f"reuse.code:{name}", axis="reuse", level="indicated" if weak else "not-found", bearing="fact", severity="none",
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
        id=f"reuse.code:{file}:{name}:{source}", axis="reuse", level="established", bearing="fact", severity="none",
        sentence=f"{len(group)} {'unit' if len(group) == 1 else 'units'} of {file} reuse code of {name}, {source}"
        + (f" (version {' or '.join(v for v in versions if v)})." if any(versions) else "."),
        subject=Span(file, min(u.lines[0] for u in group), max(u.lines[1] for u in group)),
        reference=facts.reference(name, best.sources[0].version),
        evidence=Evidence("share of a unit's features in the best source", best.score, best.threshold, "independent code", _spans(group)),
    )  # fmt: skip


def _place(units: list[UnitMatch]) -> Span:
    return Span(units[0].file, *units[0].lines) if units else Span(".")


def _spans(units: list[UnitMatch]) -> tuple[Span, ...]:
    return tuple(Span(u.file, *u.lines) for u in sorted(units, key=lambda u: -u.score)[:_SPANS])


def _tokenizer(facts: Facts) -> Iterator[Finding]:
    for t in facts.tokenizers:
        by_merge = t.merges_shared and t.merges_in_order / t.merges_shared > t.agreement
        value = t.merges_in_order / t.merges_shared if by_merge else t.agreement
        yield Finding(
            id=f"reuse.tokenizer:{t.reference}", axis="reuse", level=t.level, bearing="fact", severity="none", sentence=t.sentence,
            subject=Span(t.file or "."), reference=facts.reference(t.reference),
            evidence=Evidence(
                f"order agreement of shared {'merges' if by_merge else 'tokens'}", None if t.not_run else value, t.threshold,
                f"independent uniform order stays below {t.chance:.3f} (p ≤ 10^-6); real tokenizers trained apart reach .04",
            ),
        )  # fmt: skip
