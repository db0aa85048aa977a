"""Which upstream file and version stands behind a file of the release, and what became of that file's notice.

Enters: a `CodeReport`, the trees it compared.  Leaves: `NoticeResult`s. Upstream's own notices come and go between versions (transformers dropped the copyright
line of its qwen2 between 4.37 and 4.48), so a notice is only called removed when every version that fits equally well says so; kept, when none says otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher

from begat.audit.code.types import CodeReport
from begat.audit.folder import Tree
from begat.audit.notices import Fate, Header, change_statements, fate, read_anywhere, read_header
from begat.audit.types import NoticeResult

_ALIKE = 0.6  # share of words from which a statement is upstream's own
#: names of files beside the code that may carry notices instead of it
_PLACES = ("notice", "readme", "license", "licence", "copyright", "authors", "third", "open source software notice", "copying")


@dataclass(frozen=True, slots=True)
class Upstream:
    """One or more files of references that fit a release's file equally well: (reference, version, file), and lines of the release."""

    candidates: tuple[tuple[str, str, str], ...]
    lines: tuple[int, int]


def notices(report: CodeReport, release: Tree, references: Mapping[tuple[str, str], Tree]) -> tuple[NoticeResult, ...]:
    """The fate of every matched upstream header, in the order of the release's files."""
    elsewhere = {name: read_anywhere(text) for name in _carriers(release) if (text := release.text(name)) is not None}
    out = []
    for file in sorted({u.file for u in report.units if u.status in ("established", "tie")} & set(release.sizes)):
        text = release.text(file)
        if text is not None:
            out += [_result(file, text, one, references, elsewhere) for one in upstreams(report, file, references)]
    return tuple(out)


def _carriers(release: Tree) -> list[str]:
    """Texts that may carry notices, NOTICE first."""
    found = [n for n in release.sizes if n.rsplit("/", 1)[-1].casefold().startswith(_PLACES) and not n.endswith(".py")]
    return sorted(
        found, key=lambda n: (_PLACES.index(next(p for p in _PLACES if n.rsplit("/", 1)[-1].casefold().startswith(p))), n)
    )


def upstreams(report: CodeReport, file: str, references: Mapping[tuple[str, str], Tree]) -> Iterator[Upstream]:
    """Upstream files behind one file of the release; a single `Upstream` of several candidates where units only tie."""
    versions: dict[tuple[str, str], set[str]] = {}
    lines: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for unit in report.units:
        if unit.file != file or unit.status != "established" or not unit.sources:
            continue
        key = (unit.sources[0].reference, unit.sources[0].file)
        here = {s.version for s in unit.sources if (s.reference, s.file) == key}
        versions[key] = versions[key] & here or versions[key] if key in versions else here
        lines.setdefault(key, []).append(unit.lines)
    for match in report.files:
        key = (match.reference, match.source_file)
        if match.file == file and match.status == "established" and match.versions:
            versions[key] = set(match.versions)
            lines.setdefault(key, [(1, 1)])
    for key in sorted(versions):
        candidates = tuple((key[0], v, key[1]) for v in sorted(versions[key]) if _has(references, key[0], v, key[1]))
        if candidates:
            yield Upstream(candidates, (min(a for a, _ in lines[key]), max(b for _, b in lines[key])))
    if not versions:
        ties = _ties(report, file, references)
        if ties.candidates:
            yield ties


def _ties(report: CodeReport, file: str, references: Mapping[tuple[str, str], Tree]) -> Upstream:
    units = [u for u in report.units if u.file == file and u.status == "tie"]
    lines: dict[tuple[str, str, str], int] = {}
    for unit in units:
        for key in {(s.reference, s.version, s.file) for s in unit.sources if _has(references, s.reference, s.version, s.file)}:
            lines[key] = lines.get(key, 0) + unit.lines[1] - unit.lines[0] + 1
    if not lines:
        return Upstream((), (0, 0))
    most = max(lines.values())  # a helper that many files share adds no candidate where one file explains more
    found = sorted(key for key, count in lines.items() if count == most)
    return Upstream(tuple(found), (min(u.lines[0] for u in units), max(u.lines[1] for u in units)))


def _has(references: Mapping[tuple[str, str], Tree], reference: str, version: str, file: str) -> bool:
    tree = references.get((reference, version))
    return tree is not None and file in tree.sizes


def _result(
    file: str, text: str, one: Upstream, references: Mapping[tuple[str, str], Tree], elsewhere: Mapping[str, Header]
) -> NoticeResult:  # fmt: skip
    own = read_header(text)
    fates: dict[tuple[str, str, str], tuple[Fate, Header, str]] = {}
    for key in one.candidates:
        source = references[key[0], key[1]].text(key[2])
        if source is not None:
            upstream = read_header(source)
            fates[key] = (fate(upstream, own, elsewhere), upstream, source)
    labels = sorted({f.label for f, _, _ in fates.values()})
    if not fates:
        return _undetermined(file, one, "the upstream file cannot be read")
    if labels == ["kept", "upstream-had-none"]:  # whichever version it was, nothing was dropped
        fates = {k: f for k, f in fates.items() if f[0].label == "kept"}
    elif len(labels) > 1:
        said = "; ".join(f"{_words(key)}: {f.label}" for key, (f, _, _) in list(fates.items())[:4])
        return _undetermined(
            file, one, f"versions or files that fit equally well disagree ({said}{' …' if len(fates) > 4 else ''})"
        )
    key, (what, upstream, source) = next(iter(fates.items()))
    statements = own_statements(change_statements(text), change_statements(source))
    return NoticeResult(
        file=file, reference=key[0], version=key[1], upstream_file=key[2], candidates=tuple(map(_words, fates)), label=what.label,
        place=file if what.place == "file" else what.place, why=_why(what, len(fates)), upstream=upstream.elements, missing=what.missing,
        own=what.own, changed=text.split() != source.split(), change_notice=bool(statements), lines=one.lines,
    )  # fmt: skip


def own_statements(found: frozenset[str], upstream: frozenset[str]) -> frozenset[str]:
    """Statements of change that are not upstream's, however names in them were replaced."""
    theirs = [s.casefold().split() for s in upstream]
    return frozenset(s for s in found if not any(SequenceMatcher(None, s.casefold().split(), t, autojunk=False).ratio() >= _ALIKE for t in theirs))


def _words(key: tuple[str, str, str]) -> str:
    return f"{key[0]} {key[1]}, {key[2]}" if key[1] else f"{key[0]}, {key[2]}"


def _why(what: Fate, candidates: int) -> str:
    among = "" if candidates == 1 else f" ({candidates} versions or files fit equally well and agree)"
    if what.label == "kept" and what.place != "file":
        return f"every element stands in {what.place}, not in the file{among}"
    said = {
        "kept": "every element of the upstream header stands in the file",
        "partial": "not found: " + ", ".join(what.missing),
        "replaced": "no upstream statement is left and others stand in its place",
        "removed": "no element of the upstream header was found",
        "upstream-had-none": "the matched upstream file has no copyright or licence header",
    }
    return said[what.label] + among


def _undetermined(file: str, one: Upstream, why: str) -> NoticeResult:
    reference, version, path = one.candidates[0]
    return NoticeResult(
        file=file, reference=reference, version=version, upstream_file=path, candidates=tuple(map(_words, one.candidates)), label="not-determinable", place="",
        why=why, upstream=(), missing=(), own=(), changed=False, change_notice=False, lines=one.lines,
    )  # fmt: skip
