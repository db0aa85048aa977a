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
from begat.source.dtypes import DTYPES, FILE_TYPES
from begat.source.formats import FORMATS, ParsedFile, check_name, check_overlap, check_shape
from begat.types import TensorEntry, Unread

_MAX_HEADER = 100_000_000  # the reference implementation's limit
_MAX_NODES = 3_000_000  # a million tensors; JSON of 100 MB made of "[]," would take gigabytes once parsed
_TYPES = FILE_TYPES
#: types of the format that begat does not decode → bits of a value; such tensors are skipped, the rest of the file is read
_UNREAD = {"C64": 64, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6}


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
                    "header does not fit the file",
                    file=path,
                    expected=f"at most {max(size - 8, 0)} bytes",
                    found=length,
                    fix="download the file again",
                )
            blob = f.read(length)
        header = _json(blob, path)
        metadata = header.pop("__metadata__", {})  # strings of the author's; nothing here relies on them
        entries = [_entry(path, name, spec, 8 + length, size) for name, spec in header.items()]
        check_overlap(path, entries)
        digest = hashlib.sha256(blob).hexdigest()
        left = [e for e in entries if e.dtype in _UNREAD]
        skipped = tuple((e.name, f"numbers of type {e.dtype}") for e in left)
        kept = tuple(e for e in entries if e.dtype not in _UNREAD)
        unread = {name: Unread(why, e.size) for (name, why), e in zip(skipped, left, strict=True)}
        return ParsedFile(kept, digest, metadata if isinstance(metadata, dict) else {}, skipped, unread=unread)


FORMATS.add("safetensors")(Safetensors())


def _exactly(data: bytes, n: int, path: Path) -> bytes:
    if len(data) != n:
        raise InputError(
            "file is too short for a safetensors header",
            file=path,
            expected=f"{n} bytes",
            found=len(data),
            fix="download the file again",
        )
    return data


def _json(blob: bytes, path: Path) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for key, value in pairs:
            if key in out:
                raise InputError("tensor is listed twice in the header", file=path, tensor=key, fix="do not trust this file")
            out[key] = value
        return out

    if blob.count(b"[") + blob.count(b"{") > _MAX_NODES or blob.count(b",") > 4 * _MAX_NODES:
        raise InputError(
            "header is implausibly nested or long",
            file=path,
            expected=f"at most {_MAX_NODES} lists and objects",
            found="more",
            fix="do not trust this file",
        )
    try:
        header = json.loads(blob.decode("utf-8"), object_pairs_hook=unique)
    except (ValueError, RecursionError) as err:  # ValueError: bad UTF-8, bad JSON, integers of thousands of digits
        raise InputError(f"header is not JSON ({type(err).__name__})", file=path, fix="download the file again") from None
    if not isinstance(header, dict):
        raise InputError("header is not a JSON object", file=path, found=type(header).__name__, fix="download the file again")
    return header


def _entry(path: Path, name: str, spec: Any, data_start: int, size: int) -> TensorEntry:
    if not isinstance(spec, dict):
        raise InputError(
            "header entry is not an object", file=path, tensor=name, found=type(spec).__name__, fix="download the file again"
        )
    kind, shape, span = spec.get("dtype"), spec.get("shape"), spec.get("data_offsets")
    if not isinstance(kind, str) or kind not in (*_TYPES, *_UNREAD):
        raise InputError(
            "unknown dtype",
            file=path,
            tensor=name,
            expected="one of " + ", ".join(sorted(_TYPES)),
            found=kind,
            fix="convert the tensor to a supported type",
        )
    shape = check_shape(path, name, shape)
    if not isinstance(span, list) or len(span) != 2 or not all(type(n) is int and 0 <= n <= size for n in span):
        raise InputError(
            "data_offsets are not two positions in the file",
            file=path,
            tensor=name,
            expected=f"0 to {size}",
            found=span,
            fix="download the file again (it may be truncated)",
        )
    begin, end = span
    want = -(-math.prod(shape) * _UNREAD[kind] // 8) if kind in _UNREAD else math.prod(shape) * DTYPES[kind].block_bytes
    if end - begin != want:
        raise InputError(
            "data size does not match shape and dtype",
            file=path,
            tensor=name,
            expected=f"{want} bytes for {kind} {list(shape)}",
            found=end - begin,
            fix="download the file again",
        )
    if data_start + end > size:
        raise InputError(
            "data lies beyond the end of the file",
            file=path,
            tensor=name,
            expected=f"{data_start + end} bytes",
            found=f"{size} bytes",
            fix="download the file again (it is truncated)",
        )
    return TensorEntry(check_name(path, name), shape, kind, path, data_start + begin, want)
