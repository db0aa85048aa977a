"""An index as a folder of plain files, for moving it between engines, machines and versions.

Enters: an open store, or such a folder.  Leaves: the folder, or records added to a store.  `manifest.jsonl` holds a line a model: its entry,
and its probes as [kind, layer, part, 64 hex digits].  `fingerprints/ID.safetensors` holds its fingerprint.  The first line names the layout.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from begat.errors import InputError
from begat.index.store.base import VERSION, Store
from begat.index.store.records import (
    BLOB_LIMIT,
    FIELDS,
    PROBE_LIMIT,
    WIDTH,
    Added,
    Entry,
    Probe,
    Record,
    check_entry,
    check_records,
)
from begat.types import Progress

MANIFEST, FINGERPRINTS, SUFFIX = "manifest.jsonl", "fingerprints", ".safetensors"
_HEAD = "begat-index"
_LINE_LIMIT = 200_000 + 200 * PROBE_LIMIT
#: models added in one transaction by an import
_BATCH = 256


def export_store(store: Store, folder: str | os.PathLike[str], progress: Progress | None = None) -> int:
    """Write every model of `store` into a new folder; returns how many. The manifest comes last: without it an export is unfinished.

    Raises:
        InputError: the folder is not empty or cannot be written to, or the store is damaged.

    """
    root = Path(folder)
    try:
        root.mkdir(parents=True, exist_ok=True)
        if any(root.iterdir()):
            raise InputError("folder is not empty", file=root, fix="name a new folder")
        (root / FINGERPRINTS).mkdir()
        draft, done = root / (MANIFEST + ".new"), 0
        if progress is not None:
            progress.start("export", store.count())
        with draft.open("x", encoding="utf-8") as lines:
            lines.write(_dumps({"format": _HEAD, "version": VERSION}) + "\n")
            for entry in store.manifest():
                (root / FINGERPRINTS / (entry.id + SUFFIX)).write_bytes(store.get(entry.id))
                probes = [[p.kind, p.layer, p.part, p.bits.tobytes().hex()] for p in store.probes(entry.id)]
                lines.write(_dumps(dataclasses.asdict(entry) | {"vectors": probes}) + "\n")
                done += 1
                if progress is not None:
                    progress.step()
        draft.replace(root / MANIFEST)
    except OSError as err:
        raise InputError(f"export cannot be written: {err.strerror or err}", file=err.filename or root) from None
    finally:
        if progress is not None:
            progress.done()
    return done


def import_folder(store: Store, folder: str | os.PathLike[str], progress: Progress | None = None) -> Added:
    """Add every model of an exported folder to `store`; models that are there already are left as they are.

    Raises:
        InputError: the folder is no export, or damaged. Models before the damaged one are in the store then.

    """
    root = Path(folder)
    total = Added((), (), ())
    batch: list[Record] = []
    try:
        if progress is not None:
            progress.start("import", 0)
        for record in read_folder(root):
            batch.append(record)
            if len(batch) == _BATCH:
                total = _joined(total, store.add(batch))
                batch = []
            if progress is not None:
                progress.step()
        return _joined(total, store.add(batch)) if batch else total
    finally:
        if progress is not None:
            progress.done()


def read_folder(root: Path) -> Iterator[Record]:
    """The records of an exported folder, each checked."""
    file = root / MANIFEST
    try:
        if file.is_symlink() or not file.is_file():
            raise InputError("is no exported index", file=root, expected=f"a file {MANIFEST}", fix="name the folder that begat index export wrote")
        with file.open("rb") as lines:
            _check_head(_line(lines.readline(_LINE_LIMIT), file, 1), file)
            number = 1
            while raw := lines.readline(_LINE_LIMIT):
                number += 1
                yield _record(_line(raw, file, number), root, file, number)
    except OSError as err:
        raise InputError(f"cannot be read: {err.strerror or err}", file=err.filename or root) from None


def _check_head(head: dict[str, Any], file: Path) -> None:
    if set(head) != {"format", "version"} or head["format"] != _HEAD or type(head["version"]) is not int:
        raise InputError("is no manifest of an index", file=file, expected=f'{{"format": "{_HEAD}", "version": {VERSION}}} in line 1')
    if head["version"] > VERSION:
        raise InputError("export was made by a newer begat", file=file, expected=f"version up to {VERSION}", found=head["version"], fix="update begat")


def _record(line: dict[str, Any], root: Path, file: Path, number: int) -> Record:
    where = f"{file}:{number}"
    if set(line) != {*FIELDS, "vectors"}:
        odd = sorted(set(line) ^ {*FIELDS, "vectors"})
        raise InputError("manifest line has other fields than an entry has", file=where, found=", ".join(odd)[:200])
    entry = check_entry(Entry(**{f: line[f] for f in FIELDS}), where)
    vectors = line["vectors"]
    if not isinstance(vectors, list) or len(vectors) > PROBE_LIMIT or not all(isinstance(v, list) and len(v) == 4 for v in vectors):
        raise InputError("bad vectors", file=where, expected="a list of [kind, layer, part, bits]")
    probes = tuple(Probe(kind, layer, part, _bits(text, where)) for kind, layer, part, text in vectors)
    record = Record(entry, _blob(root / FINGERPRINTS / (entry.id + SUFFIX)), probes)
    check_records([record], where)
    return record


def _bits(text: object, where: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
    try:
        raw = bytes.fromhex(text) if isinstance(text, str) and len(text) == 2 * WIDTH else b""
    except ValueError:
        raw = b""
    if len(raw) != WIDTH:
        raise InputError("bad bits of a probe", file=where, expected=f"{2 * WIDTH} hex digits", found=repr(text)[:80])
    return np.frombuffer(raw, np.uint8)


def _blob(file: Path) -> bytes:
    if file.is_symlink() or not file.is_file():
        raise InputError("fingerprint is not a regular file", file=file, fix="copy the exported folder again")
    with file.open("rb") as f:
        return f.read(BLOB_LIMIT + 1)


def _line(raw: bytes, file: Path, number: int) -> dict[str, Any]:
    try:
        if not raw.endswith(b"\n"):
            raise InputError("manifest is cut off or a line is too long", file=file, found=f"line {number}", fix="copy the exported folder again")
        value = json.loads(raw)
    except (ValueError, RecursionError):
        raise InputError(f"line {number} is not JSON", file=file, fix="copy the exported folder again") from None
    if not isinstance(value, dict):
        raise InputError(f"line {number} is not a JSON object", file=file)
    return value


def _dumps(value: object) -> str:
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"))


def _joined(a: Added, b: Added) -> Added:
    return Added(a.added + b.added, a.present + b.present, a.same_name + b.same_name)
