"""safetensors headers: 8 bytes of length, JSON, then the data.

Own parser because rows are read on demand and every refusal must name file and tensor; the `safetensors` package is the
oracle in the tests. Format: huggingface/safetensors README ("Format").
"""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

from begat.errors import InputError
from begat.source.dtypes import DTYPES
from begat.source.formats import FORMATS, ParsedFile
from begat.types import TensorEntry

_MAX_HEADER = 100_000_000  # the reference implementation's limit
_TYPES = frozenset(DTYPES)


class Safetensors:
    """`.safetensors` files."""

    suffixes = (".safetensors",)

    def recognises(self, head: bytes) -> bool:
        """8 little-endian length bytes, then `{`."""
        return len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= _MAX_HEADER

    def parse(self, path: Path) -> ParsedFile:
        """Read the header; check names, types, shapes and offsets against the file's size."""
        size = path.stat().st_size
        with path.open("rb") as f:
            length = int.from_bytes(_exactly(f.read(8), 8, path), "little")
            if length > _MAX_HEADER or 8 + length > size:
                raise InputError(
                    "header does not fit the file", file=path, expected=f"at most {max(size - 8, 0)} bytes",
                    found=length, fix="download the file again",
                )  # fmt: skip
            blob = f.read(length)
        header = _json(blob, path)
        metadata = header.pop("__metadata__", {})
        entries = [_entry(path, name, spec, 8 + length, size) for name, spec in header.items()]
        _no_overlap(path, entries)
        digest = hashlib.sha256(blob).hexdigest()
        return ParsedFile(tuple(entries), digest, metadata if isinstance(metadata, dict) else {})


FORMATS.add("safetensors")(Safetensors())


def _exactly(data: bytes, n: int, path: Path) -> bytes:
    if len(data) != n:
        raise InputError("file is too short for a safetensors header", file=path, expected=f"{n} bytes", found=len(data),
                         fix="download the file again")  # fmt: skip
    return data


def _json(blob: bytes, path: Path) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for key, value in pairs:
            if key in out:
                raise InputError("tensor is listed twice in the header", file=path, tensor=key)
            out[key] = value
        return out

    try:
        header = json.loads(blob.decode("utf-8"), object_pairs_hook=unique)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as err:
        raise InputError(f"header is not JSON ({type(err).__name__})", file=path, fix="download the file again") from None
    if not isinstance(header, dict):
        raise InputError("header is not a JSON object", file=path, found=type(header).__name__)
    return header


def _entry(path: Path, name: str, spec: Any, data_start: int, size: int) -> TensorEntry:
    if not isinstance(spec, dict):
        raise InputError("header entry is not an object", file=path, tensor=name, found=type(spec).__name__)
    kind, shape, span = spec.get("dtype"), spec.get("shape"), spec.get("data_offsets")
    if kind not in _TYPES:
        raise InputError("unknown dtype", file=path, tensor=name, expected="one of " + ", ".join(sorted(_TYPES)), found=kind,
                         fix="convert the tensor to a supported type")  # fmt: skip
    if not _naturals(shape):
        raise InputError("shape is not a list of sizes", file=path, tensor=name, found=shape)
    if not _naturals(span) or len(span) != 2:
        raise InputError("data_offsets are not two positions", file=path, tensor=name, found=span)
    begin, end = span
    want = math.prod(shape) * DTYPES[kind].block_bytes
    if end - begin != want:
        raise InputError("data size does not match shape and dtype", file=path, tensor=name,
                         expected=f"{want} bytes for {kind} {shape}", found=end - begin,
                         fix="download the file again")  # fmt: skip
    if data_start + end > size:
        raise InputError("data lies beyond the end of the file", file=path, tensor=name, expected=f"{data_start + end} bytes",
                         found=f"{size} bytes", fix="download the file again (it is truncated)")  # fmt: skip
    return TensorEntry(name, tuple(shape), kind, path, data_start + begin, want)


def _naturals(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(v, int) and not isinstance(v, bool) and 0 <= v < 1 << 62 for v in value)


def _no_overlap(path: Path, entries: list[TensorEntry]) -> None:
    last: TensorEntry | None = None
    for entry in sorted((e for e in entries if e.nbytes), key=lambda e: (e.offset, e.nbytes)):
        if last is not None and entry.offset < last.offset + last.nbytes:
            raise InputError(f"data overlaps tensor '{last.name}'", file=path, tensor=entry.name,
                             expected=f"start at {last.offset + last.nbytes} or later", found=entry.offset,
                             fix="download the file again")  # fmt: skip
        last = entry
