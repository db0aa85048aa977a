"""References → one index of hashed features, over many versions of many packages.

Enters: `CodeReference`s.  Leaves: a `CodeIndex`, which can be written to one `.npz` file and read again; it holds no source text. How a release is looked up
in it: `begat.audit.code.match`.

A *content* is what a piece (a function, or the statements of a class body) holds, stored once however many versions and models repeat it; a *bundle* is the
set of contents of one unit; an *occurrence* is one unit of one version of one file. A feature's weight falls with the number of files that hold it (paths,
versions not counted).
"""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from begat.audit.code.features import F64, I32, U64, VIEWS, Piece, features
from begat.audit.code.parse import parse
from begat.audit.code.types import CodeReference
from begat.errors import InputError, printable
from begat.types import Progress

FORMAT = "begat code index 1"
_FEWEST_FILES = 50


@dataclass(frozen=True, slots=True)
class Rows:
    """Lists of numbers, one a row, end to end: row i is `values[offsets[i]:offsets[i + 1]]`."""

    offsets: npt.NDArray[np.int64]
    values: I32

    def expand(self, rows: npt.NDArray[np.integer]) -> tuple[npt.NDArray[np.int64], I32]:
        """(position in `rows`, value) of every value of the given rows."""
        counts = self.offsets[rows + 1] - self.offsets[rows]
        position = np.repeat(np.arange(len(rows)), counts)
        inside = np.arange(len(position)) - np.repeat(np.cumsum(counts) - counts, counts)
        return position, self.values[self.offsets[rows][position] + inside]

    def only(self, kept: npt.NDArray[np.bool_]) -> Rows:
        """The same rows with only the values that are kept."""
        return Rows(np.concatenate([[0], np.cumsum(kept)])[self.offsets], self.values[kept])


def rows(lists: Sequence[Sequence[int]]) -> Rows:
    """`Rows` of Python lists."""
    offsets = np.zeros(len(lists) + 1, np.int64)
    np.cumsum([len(x) for x in lists], out=offsets[1:])
    return Rows(offsets, np.fromiter((v for x in lists for v in x), np.int32, int(offsets[-1])))


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Features of one view: distinct hashes, sorted; the contents that hold each; its weight in (0, 1]; derived: the bundles, apart by kind."""

    hashes: U64
    contents: Rows
    weight: F64
    of_functions: Rows
    of_classes: Rows


def _with_bundles(
    hashes: U64, contents: Rows, weight: F64, content_bundles: Rows, functions: npt.NDArray[np.bool_]
) -> Vocabulary:
    feature = np.repeat(np.arange(len(hashes)), np.diff(contents.offsets))
    more, bundle = content_bundles.expand(contents.values)
    feature = feature[more]
    split = []
    for kind in (True, False):
        kept = functions[bundle] == kind
        pairs = np.unique(
            feature[kept] * np.int64(max(len(functions), 1)) + bundle[kept]
        )  # a class may hold a feature in several methods
        of = pairs // max(len(functions), 1)
        split.append(Rows(np.searchsorted(of, np.arange(len(hashes) + 1)), (pairs % max(len(functions), 1)).astype(np.int32)))
    return Vocabulary(hashes, contents, weight, split[0], split[1])


@dataclass(frozen=True, slots=True)
class Occurrence:
    """A unit where it stands. `file` counts into `CodeIndex.files`, `version` into `CodeIndex.versions`."""

    file: int
    version: int
    unit: str
    kind: str
    lines: tuple[int, int]


@dataclass(frozen=True, slots=True)
class CodeIndex:
    """Hashed features of many versions of many references.

    Attributes:
        versions: (reference, version), as given.
        files: (reference, path): one entry however many versions hold it.
        vocabularies: view → features.
        content_bundles: bundles of each content.
        functions: of each bundle: True for functions and methods, False for classes.
        bundles: occurrences of each bundle, as numbers into `occurrences`.
        places: file and version of each occurrence, as numbers. Shape [occurrences, 2].
        digest: SHA-256 over names, versions, paths and texts of the references.
        notes: one line for each file that could not be read.
    """

    versions: tuple[tuple[str, str], ...]
    files: tuple[tuple[str, str], ...]
    vocabularies: dict[str, Vocabulary]
    content_bundles: Rows
    functions: npt.NDArray[np.bool_]
    bundles: Rows
    occurrences: tuple[Occurrence, ...]
    places: I32
    digest: str
    notes: tuple[str, ...] = ()

    def restricted(self, kept: npt.NDArray[np.bool_]) -> CodeIndex:
        """An index of only those occurrences; features keep the weight they had. It answers what would be said without the others."""
        bundles = self.bundles.only(kept[self.bundles.values])
        alive = np.diff(bundles.offsets) > 0
        vocabularies = {
            view: replace(
                v,
                of_functions=v.of_functions.only(alive[v.of_functions.values]),
                of_classes=v.of_classes.only(alive[v.of_classes.values]),
            )
            for view, v in self.vocabularies.items()
        }
        return replace(self, bundles=bundles, vocabularies=vocabularies)

    def save(self, path: Path) -> None:
        """Write everything to one compressed `.npz` file."""
        arrays: dict[str, npt.NDArray[np.generic]] = {"functions": self.functions}
        for name, r in (("content_bundles", self.content_bundles), ("bundles", self.bundles)):
            arrays |= {f"{name}.offsets": r.offsets, f"{name}.values": r.values}
        for view, v in self.vocabularies.items():
            arrays |= {f"{view}.hashes": v.hashes, f"{view}.offsets": v.contents.offsets, f"{view}.values": v.contents.values}
            arrays[f"{view}.weight"] = v.weight
        names = sorted({o.unit for o in self.occurrences})
        place = {n: i for i, n in enumerate(names)}
        kinds = ["class", "function", "method"]
        arrays["occurrences"] = np.array(
            [(o.file, o.version, place[o.unit], kinds.index(o.kind), *o.lines) for o in self.occurrences], np.int32
        ).reshape(-1, 6)
        head = {
            "format": FORMAT,
            "versions": self.versions,
            "files": self.files,
            "units": names,
            "kinds": kinds,
            "digest": self.digest,
            "notes": self.notes,
        }
        arrays["head"] = np.frombuffer(json.dumps(head).encode(), np.uint8)
        with path.open("wb") as f:
            np.savez_compressed(f, **arrays)  # type: ignore[arg-type]


def load_index(path: Path) -> CodeIndex:
    """Read what `CodeIndex.save` wrote.

    Raises:
        InputError: the file is something else.
    """
    try:
        with np.load(path, allow_pickle=False) as z:
            head = json.loads(z["head"].tobytes())
            if head["format"] != FORMAT:
                raise InputError(
                    "an index of another version", file=path, expected=FORMAT, found=head["format"], fix="build it again"
                )
            table = [
                Occurrence(int(f), int(v), head["units"][n], head["kinds"][k], (int(a), int(b)))
                for f, v, n, k, a, b in z["occurrences"]
            ]

            def part(name: str) -> Rows:
                return Rows(z[f"{name}.offsets"], z[f"{name}.values"])

            turned, functions = part("content_bundles"), z["functions"]
            return CodeIndex(
                tuple((a, b) for a, b in head["versions"]), tuple((a, b) for a, b in head["files"]),
                {v: _with_bundles(z[f"{v}.hashes"], part(v), z[f"{v}.weight"], turned, functions) for v in VIEWS},
                turned, functions, part("bundles"), tuple(table), _places(table), head["digest"], tuple(head["notes"]),
            )  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError, IndexError, EOFError, zipfile.BadZipFile, zlib.error) as e:
        raise InputError(
            "not an index of code that begat wrote", file=path, found=printable(e, 100), fix="build it again"
        ) from None


@dataclass(slots=True)
class _Builder:
    versions: list[tuple[str, str]] = field(default_factory=list)
    files: dict[tuple[str, str], int] = field(default_factory=dict)
    contents: dict[bytes, int] = field(default_factory=dict)
    pieces: list[Piece] = field(default_factory=list)
    content_files: list[set[int]] = field(default_factory=list)
    bundles: dict[tuple[bool, tuple[int, ...]], int] = field(default_factory=dict)
    bundle_occurrences: list[list[int]] = field(default_factory=list)
    occurrences: list[Occurrence] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, reference: CodeReference, path: str, text: str) -> None:
        """Index one file of one version."""
        where = f"{printable(reference.name)} {printable(reference.version)} {printable(path)}"
        try:
            parsed = parse(text)
        except ValueError as e:
            self.notes.append(f"{where}: {e}; not compared")
            return
        if parsed.note:
            self.notes.append(f"{where}: {parsed.note}")
        file = self.files.setdefault((reference.name, path), len(self.files))
        numbers = [self._content(p, file) for p in features(parsed)]
        for unit in parsed.units:
            key = (unit.kind != "class", tuple(sorted({numbers[p] for p in unit.pieces})))
            bundle = self.bundles.setdefault(key, len(self.bundles))
            if bundle == len(self.bundle_occurrences):
                self.bundle_occurrences.append([])
            self.bundle_occurrences[bundle].append(len(self.occurrences))
            self.occurrences.append(Occurrence(file, len(self.versions) - 1, unit.name, unit.kind, unit.lines))

    def _content(self, piece: Piece, file: int) -> int:
        h = hashlib.blake2b(digest_size=16)
        for view in VIEWS:
            h.update(piece.views[view].hashes.tobytes() + b"|")
        number = self.contents.setdefault(h.digest(), len(self.contents))
        if number == len(self.pieces):
            self.pieces.append(piece)
            self.content_files.append(set())
        self.content_files[number].add(file)
        return number


def build_index(references: Iterable[CodeReference], progress: Progress | None = None) -> CodeIndex:
    """Index every Python file of the references."""
    given = list(references)
    if progress is not None:
        progress.start("reading references", sum(len(r.files) for r in given))
    b, h = _Builder(), hashlib.sha256()
    for reference in given:
        b.versions.append((reference.name, reference.version))
        for path in sorted(reference.files):
            text = reference.files[path]
            h.update(
                json.dumps(
                    [reference.name, reference.version, path, hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()]
                ).encode()
            )
            if path.endswith(".py"):
                b.add(reference, path, text)
            if progress is not None:
                progress.step()
    if progress is not None:
        progress.done()
    bundle_contents = rows([key[1] for key in b.bundles])
    turned, functions = _turned(bundle_contents, len(b.pieces)), np.array([key[0] for key in b.bundles], bool)
    files = rows([sorted(f) for f in b.content_files]), len(b.files)
    return CodeIndex(
        tuple(b.versions), tuple(b.files), {v: _with_bundles(*_vocabulary(b.pieces, v, *files), turned, functions) for v in VIEWS},
        turned, functions,
        rows(b.bundle_occurrences), tuple(b.occurrences), _places(b.occurrences), h.hexdigest(), tuple(b.notes),
    )  # fmt: skip


def _places(occurrences: Sequence[Occurrence]) -> I32:
    return np.array([(o.file, o.version) for o in occurrences], np.int32).reshape(-1, 2)


def _turned(r: Rows, count: int) -> Rows:
    """Value → rows that hold it."""
    row = np.repeat(np.arange(len(r.offsets) - 1, dtype=np.int32), np.diff(r.offsets))
    order = np.argsort(r.values, kind="stable")
    return Rows(np.searchsorted(r.values[order], np.arange(count + 1)).astype(np.int64), row[order])


def _vocabulary(pieces: list[Piece], view: str, content_files: Rows, files: int) -> tuple[U64, Rows, F64]:
    parts = [p.views[view].hashes for p in pieces]
    flat = np.concatenate(parts) if parts else np.zeros(0, np.uint64)
    content = np.repeat(np.arange(len(parts), dtype=np.int32), [len(p) for p in parts])
    order = np.argsort(flat, kind="stable")
    flat, content = flat[order], content[order]
    begins = np.flatnonzero(np.r_[True, flat[1:] != flat[:-1]]) if len(flat) else np.zeros(0, np.int64)
    offsets = np.r_[begins, len(flat)].astype(np.int64)
    feature = np.repeat(np.arange(len(begins)), np.diff(offsets))
    position, file = content_files.expand(content)
    pairs = np.unique(feature[position] * np.int64(max(files, 1)) + file)
    held_by = np.bincount(pairs // max(files, 1), minlength=len(begins))
    return flat[begins], Rows(offsets, content), weight(held_by, files)


def weight(held_by: npt.NDArray[np.integer], files: int) -> F64:
    """1 for a feature of one file (or none), down to 0 for one of all: 1 - log(files that hold it) / log(1 + files), with at least 50 files."""
    shares = np.log(np.maximum(held_by, 1)) / np.log(1 + max(files, _FEWEST_FILES))
    return np.asarray(1 - shares, np.float64)
