"""Code ancestry, conducted: release → units → lookups → decisions → report.

Enters: a release folder and references, or an index of them.  Leaves: a `CodeReport`. Decisions are made in `begat.audit.code.decide`, spans found in
`begat.audit.code.spans`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from begat.audit.code.decide import Decision, Thresholds, decide, thresholds
from begat.audit.code.features import features
from begat.audit.code.index import CodeIndex, build_index
from begat.audit.code.match import look_up
from begat.audit.code.parse import Unit, decode, parse
from begat.audit.code.release import python_files
from begat.audit.code.spans import side_by_side
from begat.audit.code.types import CodeReference, CodeReport, FileMatch, Source, Span, Status, UnitMatch
from begat.errors import printable
from begat.types import Progress

_MOST_SOURCES = 12
_SAME_VERSION = 0.005


def code_ancestry(release: Path, references: Sequence[CodeReference] | CodeIndex, progress: Progress | None = None) -> CodeReport:
    """Which classes, functions and methods of a release are reused from which reference, and from which version.

    Args:
        release: the release's folder; every `.py` file below it is compared.
        references: source code to compare with, or an index that holds it (then no spans are shown: an index holds no text).
        progress: told of files read.

    Returns:
        A report on every unit. A reference that is not among `references` cannot be found; then at most a family is indicated.

    Raises:
        InputError: there is no such release.
    """
    found, notes = python_files(release)
    index = references if isinstance(references, CodeIndex) else build_index(references, progress)
    texts = (
        {}
        if isinstance(references, CodeIndex)
        else {(r.name, r.version, path): text for r in references for path, text in r.files.items()}
    )
    notes += index.notes
    units: list[UnitMatch] = []
    matches: list[FileMatch] = []
    if progress is not None:
        progress.start("comparing code", len(found))
    for name, data in found.items():
        try:
            got, match, note = _file(name, decode(data), index, texts, thresholds())
        except ValueError as e:
            notes.append(f"{printable(name)}: {printable(e, 300)}; not compared")
        else:
            units += got
            matches.append(match)
            notes += [f"{printable(name)}: {note}"] if note else []
        if progress is not None:
            progress.step()
    if progress is not None:
        progress.done()
    listed = tuple(f"{n} {v}".strip() for n, v in index.versions)
    return CodeReport(tuple(units), listed, index.digest, thresholds().measured, tuple(matches), tuple(notes))


@dataclass(frozen=True, slots=True)
class _Judged:
    unit: Unit
    decision: Decision


def _file(
    name: str, text: str, index: CodeIndex, texts: dict[tuple[str, str, str], str], limits: Thresholds
) -> tuple[list[UnitMatch], FileMatch, str]:
    parsed = parse(text)
    pieces = features(parsed)
    judged = [
        _Judged(u, decide(index, look_up(index, [pieces[p] for p in u.pieces], u.kind != "class"), limits)) for u in parsed.units
    ]
    match = _file_match(name, index, [j for j in judged if j.unit.kind != "class"], limits)
    preferred = (match.reference, match.source_file)
    return [_unit_match(name, text, index, texts, j, preferred) for j in judged], match, parsed.note


def _file_match(name: str, index: CodeIndex, judged: list[_Judged], limits: Thresholds) -> FileMatch:
    """The file and versions that explain most of a release's file: each function counts by its weight, with the best unit of the file and version."""
    versions, files = len(index.versions), len(index.files)
    total, weight = np.zeros(files * versions), 0.0
    occurrence_bundle = np.repeat(np.arange(len(index.bundles.offsets) - 1), np.diff(index.bundles.offsets))
    place = np.array(
        [index.occurrences[o].file * versions + index.occurrences[o].version for o in index.bundles.values], np.int64
    )
    for j in judged:
        if j.decision.status == "too generic":
            continue
        here = np.zeros(files * versions)
        np.maximum.at(here, place, j.decision.rank[occurrence_bundle])
        total += here * j.decision.mass
        weight += j.decision.mass
    best: dict[Status, int] = {"established": 0, "tie": 0, "indicated": 0, "not found": 0, "too generic": 0}
    for j in judged:
        best[j.decision.status] += 1
    levels: tuple[Status, ...] = ("tie", "indicated", "not found")
    status: Status = next((s for s in levels if best[s]), "too generic")
    nothing = FileMatch(name, "tie" if best["established"] else status, 0.0, "", "", (), {})
    if not weight or not total.any():
        return replace(nothing, status=status)
    score = (total / weight).reshape(files, versions)
    by_file = score.max(1)
    top = int(by_file.argmax())
    alike = [int(f) for f in np.argsort(-by_file, kind="stable") if by_file[f] >= by_file[top] * (1 - limits.naming["margin"])]
    ties = tuple(f"{index.files[f][0]}:{index.files[f][1]}" for f in alike[:_MOST_SOURCES])
    named = sum(j.decision.status == "established" and j.decision.files[0] == top for j in judged)
    if len(alike) > 1 or not named:
        return replace(nothing, score=float(by_file[top]), ties=ties if best["established"] + best["tie"] else ())
    reference, path = index.files[top]
    own = {v[1]: float(score[top, i]) for i, v in enumerate(index.versions) if v[0] == reference and score[top, i] > 0}
    fit = tuple(v for v, s in own.items() if s >= by_file[top] - _SAME_VERSION)
    return FileMatch(name, "established", float(by_file[top]), reference, path, fit, own)


def _unit_match(
    name: str, text: str, index: CodeIndex, texts: dict[tuple[str, str, str], str], judged: _Judged, preferred: tuple[str, str]
) -> UnitMatch:
    unit, d = judged.unit, judged.decision
    sources = _sources(index, d, preferred)
    family = " / ".join(dict.fromkeys(index.files[f][0] for f in d.files))
    spans: tuple[Span, ...] = ()
    if sources and (source_text := texts.get((sources[0].reference, sources[0].version, sources[0].file))) is not None:
        spans = side_by_side(text, unit.name, source_text, sources[0].unit)
    return UnitMatch(
        unit.name, name, unit.lines, d.status, d.score, d.threshold, sources, unit.kind, d.view, d.share, dict(d.scores), family, len(d.files), spans,
        _why(d, sources, family),
    )  # fmt: skip


def _sources(index: CodeIndex, d: Decision, preferred: tuple[str, str]) -> tuple[Source, ...]:
    """Occurrences of the bundles that fit, the file that explains most of the release's file first; of one file only the versions that fit best."""
    out: list[tuple[bool, float, Source]] = []
    best: dict[int, float] = {}
    for b in d.bundles:
        for o in index.bundles.values[index.bundles.offsets[b] : index.bundles.offsets[b + 1]]:
            at = index.occurrences[o]
            score = float(d.rank[b])
            if score < best.setdefault(at.file, score) - _SAME_VERSION:
                continue
            reference, path = index.files[at.file]
            out.append(
                (
                    (reference, path) != preferred,
                    -score,
                    Source(reference, index.versions[at.version][1], path, at.unit, at.lines, score),
                )
            )
    out.sort(key=lambda x: x[:2])
    return tuple(s for _, _, s in out[:_MOST_SOURCES])


def _why(d: Decision, sources: tuple[Source, ...], family: str) -> str:
    share = f"{d.share:.0%} of its weight ({d.view})"
    match d.status:
        case "too generic":
            return "too short or too common to say anything"
        case "not found":
            return f"{share}; independent code reaches that score"
        case "established":
            return f"{share} in {sources[0].file}, which explains {d.explained:.0%} of what the references know of it"
        case "tie":
            return f"{share} in {len(d.files)} files of {family} alike; none of them is named"
        case _:
            return f"{share}; related code is in {family}, but no file explains enough of it to be named"
