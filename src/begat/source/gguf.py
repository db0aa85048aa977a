"""GGUF v2 and v3 headers: metadata, tensor infos, then aligned data.

Enters: a file.  Leaves: `TensorEntry`s (axes reversed into numpy order) and metadata under its own dotted keys.  Own parser: the
`gguf` package trusts counts and lengths. It is still what decodes block-quantised types (`dtypes.register_block_types`).
Splits of one model are gathered in `open.py`. Format: ggml/docs/gguf.md.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Collection
from pathlib import Path
from typing import Any, BinaryIO

from begat.errors import InputError, MissingExtraError
from begat.source.dtypes import DTYPES, register_block_types
from begat.source.formats import FORMATS, ParsedFile, check_name, check_overlap, check_shape
from begat.types import TensorEntry

_MAX_HEADER = 256 << 20
_MAX_ITEMS = 4_000_000  # values that need a step each, in one header; the largest vocabularies have a few hundred thousand
_KEEP_ARRAY = 4096  # longer arrays (tokenizers) are stepped over and only their length is kept, unless asked for (`read_metadata`)
_MAX_NESTING = 4
_MAX_ALIGNMENT = 1 << 20
_AGAIN = "download the file again"

#: ggml type number → name; numbers of types ggml has removed are absent
GGML_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 9: "Q8_1", 10: "Q2_K", 11: "Q3_K", 12: "Q4_K",
    13: "Q5_K", 14: "Q6_K", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S", 20: "IQ4_NL", 21: "IQ3_S",
    22: "IQ2_S", 23: "IQ4_XS", 24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64", 29: "IQ1_M", 30: "BF16", 34: "TQ1_0",
    35: "TQ2_0", 39: "MXFP4", 40: "NVFP4", 41: "Q1_0",
}  # fmt: skip
_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<B", 10: "<Q", 11: "<q", 12: "<d"}
_BOOL, _STRING, _ARRAY = 7, 8, 9


class Gguf:
    """`.gguf` files."""

    suffixes = (".gguf",)

    def recognises(self, head: bytes) -> bool:
        """The magic `GGUF`."""
        return head[:4] == b"GGUF"

    def parse(self, path: Path) -> ParsedFile:
        """Read metadata and tensor infos; check every count, length, type, shape and offset against the file's size.

        Raises InputError (MissingExtraError when quantised weights need the `gguf` package).
        """
        with path.open("rb") as f:
            return _parse(_Header(f, path))


FORMATS.add("gguf")(Gguf())


def read_metadata(path: Path, whole: Collection[str]) -> dict[str, Any]:
    """The metadata alone, the arrays under the keys `whole` at any length. Raises InputError as `Gguf.parse` does."""
    with path.open("rb") as f:
        return _metadata(_Header(f, path), whole)[0]


class _Header:
    """A bounded cursor over the header that hashes what it passes."""

    def __init__(self, f: BinaryIO, path: Path) -> None:
        self._f, self.path = f, path
        self.size = path.stat().st_size
        self.at = 0
        self.items = 0
        self._sha = hashlib.sha256()

    @property
    def left(self) -> int:
        return min(self.size, _MAX_HEADER) - self.at

    def take(self, n: int, what: str) -> bytes:
        if n > self.left:
            raise InputError(
                f"file ends inside {what}",
                file=self.path,
                expected=f"{n} bytes at {self.at}",
                found=f"{max(self.left, 0)}",
                fix=_AGAIN,
            )
        data = self._f.read(n)
        if len(data) != n:
            raise InputError(
                f"file ends inside {what}", file=self.path, expected=f"{n} bytes at {self.at}", found=len(data), fix=_AGAIN
            )
        self.at += n
        self._sha.update(data)
        return data

    def skip(self, n: int, what: str) -> None:
        while n > 0:
            n -= len(self.take(min(n, 1 << 20), what)) if n <= self.left else len(self.take(n, what))

    def number(self, fmt: str, what: str) -> Any:
        return struct.unpack(fmt, self.take(struct.calcsize(fmt), what))[0]

    def text(self, what: str) -> str:
        return self.take(self.number("<Q", what), what).decode("utf-8", "backslashreplace")

    def digest(self) -> str:
        return self._sha.hexdigest()


def _metadata(header: _Header, whole: Collection[str] = ()) -> tuple[dict[str, Any], int]:
    """The keys with their values, and how many tensor infos follow."""
    path = header.path
    if header.take(4, "the magic") != b"GGUF":
        raise InputError("is not a GGUF file", file=path, fix="name a GGUF file")
    version = header.number("<I", "the version")
    if version & 0xFFFF == 0 and version:
        raise InputError("big-endian GGUF is not read", file=path, fix="convert it with gguf_convert_endian.py")
    if version not in (2, 3):
        raise InputError("unknown GGUF version", file=path, expected="2 or 3", found=version, fix="convert the model again")
    n_tensors, n_keys = header.number("<Q", "the counts"), header.number("<Q", "the counts")
    # the smallest tensor info takes 24 bytes, the smallest key 13
    if n_tensors * 24 + n_keys * 13 > header.left or n_tensors + n_keys > _MAX_ITEMS:
        raise InputError(
            "counts do not fit the file",
            file=path,
            expected=f"at most {header.left} bytes of header",
            found=f"{n_tensors} tensors and {n_keys} keys",
            fix=_AGAIN,
        )
    metadata: dict[str, Any] = {}
    for _ in range(n_keys):
        key = header.text("a metadata key")
        if key in metadata:
            raise InputError("metadata key is there twice", file=path, found=key, fix="do not trust this file")
        metadata[key] = _value(header, header.number("<I", "a metadata type"), 0, _MAX_ITEMS if key in whole else _KEEP_ARRAY)
    return metadata, n_tensors


def _parse(header: _Header) -> ParsedFile:
    path = header.path
    metadata, n_tensors = _metadata(header)
    infos = [_info(header) for _ in range(n_tensors)]
    alignment = metadata.get("general.alignment", 32)
    if type(alignment) is not int or not 1 <= alignment <= _MAX_ALIGNMENT:
        raise InputError("absurd alignment", file=path, expected=f"1 to {_MAX_ALIGNMENT}", found=alignment, fix=_AGAIN)
    start = -(-header.at // alignment) * alignment
    entries = [_entry(path, header.size, start, alignment, *info) for info in infos]
    names: set[str] = set()
    for entry in entries:
        if entry.name in names:
            raise InputError("tensor is listed twice", file=path, tensor=entry.name, fix="do not trust this file")
        names.add(entry.name)
    check_overlap(path, entries)
    return ParsedFile(tuple(entries), header.digest(), metadata)


def _value(header: _Header, kind: int, depth: int, keep: int) -> Any:
    """One value; of an array of more than `keep` items only the length."""
    what = "a metadata value"
    if kind == _STRING:
        return header.text(what)
    if kind == _BOOL:
        return header.number("<B", what) != 0
    if kind in _SCALARS:
        return header.number(_SCALARS[kind], what)
    if kind != _ARRAY or depth >= _MAX_NESTING:
        raise InputError("unknown metadata type or nesting", file=header.path, expected="types 0 to 12", found=kind, fix=_AGAIN)
    inner, n = header.number("<I", what), header.number("<Q", what)
    if inner in _SCALARS:
        width = struct.calcsize(_SCALARS[inner])
        if n > keep:
            header.skip(n * width, what)
            return {"array_length": n}
        values = struct.unpack(f"<{n}{_SCALARS[inner][1]}", header.take(n * width, what))
        return [v != 0 for v in values] if inner == _BOOL else list(values)
    header.items += n
    if inner not in (_STRING, _ARRAY) or header.items > _MAX_ITEMS or n * 8 > header.left:
        raise InputError(
            "array does not fit the file",
            file=header.path,
            expected=f"at most {min(_MAX_ITEMS, header.left // 8)} items",
            found=f"{n} of type {inner}",
            fix=_AGAIN,
        )
    out = []
    for _ in range(n):
        item = _value(header, inner, depth + 1, keep)
        if n <= keep:
            out.append(item)
    return out if n <= keep else {"array_length": n}


def _info(header: _Header) -> tuple[str, tuple[int, ...], int, int]:
    """(name, shape in numpy order, type number, offset)."""
    what = "a tensor info"
    raw = header.take(header.number("<Q", what), what)
    try:
        name = check_name(header.path, raw.decode("utf-8"))
    except UnicodeDecodeError:
        raise InputError("a tensor's name is not valid Unicode", file=header.path, found=raw[:40], fix=_AGAIN) from None
    n_dims = header.number("<I", what)
    if n_dims > 8:
        raise InputError(
            "tensor has too many axes", file=header.path, tensor=name, expected="at most 8", found=n_dims, fix=_AGAIN
        )
    dims = struct.unpack(f"<{n_dims}Q", header.take(8 * n_dims, what))
    return name, check_shape(header.path, name, dims[::-1]), header.number("<I", what), header.number("<Q", what)


def _entry(
    path: Path, size: int, start: int, alignment: int, name: str, shape: tuple[int, ...], kind: int, offset: int
) -> TensorEntry:
    dtype = _dtype(path, name, kind)
    cols = shape[-1] if shape else 1
    rows = 1
    for n in shape[:-1]:
        rows *= n
    try:
        nbytes = rows * DTYPES[dtype].row_bytes(cols)
    except ValueError as err:
        raise InputError(
            f"row length does not suit its type: {err}",
            file=path,
            tensor=name,
            expected=f"a multiple for {dtype}",
            found=cols,
            fix=_AGAIN,
        ) from None
    if offset % alignment:
        raise InputError(
            "data is not aligned", file=path, tensor=name, expected=f"a multiple of {alignment}", found=offset, fix=_AGAIN
        )
    if start + offset + nbytes > size:
        raise InputError(
            "data lies beyond the end of the file",
            file=path,
            tensor=name,
            expected=f"{start + offset + nbytes} bytes",
            found=f"{size} bytes",
            fix="download the file again (it is truncated)",
        )
    return TensorEntry(name, shape, dtype, path, start + offset, nbytes)


def _dtype(path: Path, name: str, kind: int) -> str:
    dtype = GGML_TYPES.get(kind)
    if dtype is None:
        raise InputError(
            "unknown GGML type", file=path, tensor=name, expected="a current type", found=kind, fix="convert the model again"
        )
    if dtype not in DTYPES:
        try:
            register_block_types()
        except MissingExtraError as err:
            raise MissingExtraError(err.problem, file=path, tensor=name, found=dtype, fix=err.fix) from None
    if dtype not in DTYPES:
        raise InputError(
            "GGML type cannot be decoded",
            file=path,
            tensor=name,
            found=dtype,
            fix="convert the model to F16 or Q8_0, or update the gguf package",
        )
    return dtype
