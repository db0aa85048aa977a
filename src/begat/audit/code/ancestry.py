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
from begat.audit.code.features import F64, features
from begat.audit.code.index import CodeIndex, build_index
from begat.audit.code.match import look_up
from begat.audit.code.parse import Unit, decode, parse
from begat.audit.code.release import python_files
from begat.audit.code.spans import side_by_side
from begat.audit.code.types import CodeReference, CodeReport, FileMatch, Source, Span, Status, UnitMatch
from begat.errors import printable
from begat.types import Progress

_MOST_SOURCES = 12
_MOST_UNITS = 20_000
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
    limits = thresholds()
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
        if len(units) >= _MOST_UNITS:
            notes.append(
                f"more than {_MOST_UNITS:,} classes and functions; {printable(name)} and the files after it are not compared"
            )
            break
        try:
            text = decode(data)
            judged, note = judge(text, index, limits)
        except ValueError as e:
            notes.append(f"{printable(name)}: {printable(e, 300)}; not compared")
        else:
            matches.append(match_file(name, index, judged, limits))
            judged = settled(index, judged, matches[-1], limits)
            preferred = (matches[-1].reference, matches[-1].source_file)
            units += [_unit_match(name, text, index, texts, j, preferred) for j in judged]
            notes += [f"{printable(name)}: {note}"] if note else []
        if progress is not None:
            progress.step()
    if progress is not None:
        progress.done()
    listed = tuple(f"{n} {v}".strip() for n, v in index.versions)
    return CodeReport(tuple(units), listed, index.digest, limits.measured, tuple(matches), tuple(notes))


@dataclass(frozen=True, slots=True)
class Judged:
    """A unit and what was decided."""

    unit: Unit
    decision: Decision


def judge(text: str, index: CodeIndex, limits: Thresholds) -> tuple[list[Judged], str]:
    """Every unit of one file with its decision, and a note on what was left out.

    Raises:
        ValueError: the text cannot be read; one line.
    """
    parsed = parse(text)
    pieces = features(parsed)
    found = ((u, look_up(index, [pieces[p] for p in u.pieces], u.kind != "class")) for u in parsed.units)
    return [Judged(u, decide(index, f, limits)) for u, f in found], parsed.note


def match_file(name: str, index: CodeIndex, judged: list[Judged], limits: Thresholds) -> FileMatch:
    """The file and versions that explain most of a release's file.

    Each function or method that is reused counts by its weight, with the best unit of the file and version. Named is a file that no other comes close
    to and that explains nearly all that the index knows of them.
    """
    judged = [j for j in judged if j.unit.kind != "class"]
    has = {j.decision.status for j in judged}
    levels: tuple[Status, ...] = ("established", "tie", "indicated", "not found")
    status: Status = next((s for s in levels if s in has), "too generic")
    reused = [j.decision for j in judged if j.decision.status in ("established", "tie", "indicated")]
    if not reused:
        return FileMatch(name, status, 0.0, "", "", (), {})
    score, known = by_file(index, reused)
    best = score.max(1)
    top = int(best.argmax())
    alike = [int(f) for f in np.argsort(-best, kind="stable") if best[f] >= best[top] * (1 - limits.naming["margin"])]
    enough = sum(d.weight for d in reused if top in d.files) >= limits.naming["enough"]
    if status == "indicated" or len(alike) > 1 or best[top] < known * limits.naming["explained"] or not enough:
        ties = tuple(f"{index.files[f][0]}:{index.files[f][1]}" for f in alike[:_MOST_SOURCES])
        status = "indicated" if status == "indicated" else "tie"
        return FileMatch(name, status, float(best[top]), "", "", (), {}, ties if status == "tie" else ())
    reference, path = index.files[top]
    own = {v[1]: float(score[top, i]) for i, v in enumerate(index.versions) if v[0] == reference and score[top, i] > 0}
    fit = tuple(v for v, s in own.items() if s >= best[top] - _SAME_VERSION)
    return FileMatch(name, "established", float(best[top]), reference, path, fit, own)


def settled(index: CodeIndex, judged: list[Judged], match: FileMatch, limits: Thresholds) -> list[Judged]:
    """The same units, with what the whole file says of the names that they give.

    A unit names the file that the whole release file names, if that fits it best and explains it. It names another only if nearly all that is reused in the
    release file is explained by some reference each; where much of it is not, a source is missing, and the file that fits best may merely share code with it.
    Either way the units that the file fits must have enough weight together: a short function alone names nothing.
    """
    reused = [j.decision for j in judged if j.unit.kind != "class" and j.decision.status in ("established", "tie")]
    whole = sum(d.weight for d in reused)
    accounted = sum(d.weight for d in reused if d.explained >= limits.naming["explained"]) >= limits.naming["accounted"] * whole
    out = []
    for j in judged:
        d = j.decision
        if d.status in ("established", "tie"):
            agreed = match.status == "established" and index.files[d.files[0]] == (match.reference, match.source_file)
            fits = len(d.files) == 1 and d.explained >= limits.naming["explained"]
            support = sum(r.weight for r in reused if d.files[0] in r.files)
            named = fits and support >= limits.naming["enough"] and (agreed or (d.status == "established" and accounted))
            j = replace(j, decision=replace(d, status="established" if named else "tie"))
        out.append(j)
    return out


def by_file(index: CodeIndex, reused: list[Decision]) -> tuple[F64, float]:
    """Weighted mean score of the given units in each file and version, shape [files, versions], and the score of all that is known of them."""
    versions, files = len(index.versions), len(index.files)
    bundle = np.repeat(np.arange(len(index.bundles.offsets) - 1), np.diff(index.bundles.offsets))
    place = (index.places @ np.array([versions, 1]))[index.bundles.values]
    total = np.zeros(files * versions)
    for d in reused:
        here = np.zeros(files * versions)
        np.maximum.at(here, place, d.rank[bundle])
        total += here * d.weight
    weight = sum(d.weight for d in reused)
    return (total / weight).reshape(files, versions), sum(d.known * d.weight for d in reused) / weight


def _unit_match(
    name: str, text: str, index: CodeIndex, texts: dict[tuple[str, str, str], str], judged: Judged, preferred: tuple[str, str]
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
            if len(d.files) > 1:
                return f"{share} in {len(d.files)} files of {family} alike; none of them is named"
            return f"{share} in one file of {family}, which does not explain enough of it to be named: the source may be missing"
        case _:
            return f"{share}; more alike to code of {family} than independent code mostly is"
