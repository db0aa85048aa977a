"""The registry of file formats and what a header parser must deliver.

Adding a format is one file beside this one with a `@FORMATS.add("name")` class, imported in `open.py`; the contract test
(`tests/contracts/test_format_contract.py`) and one attack file pick it up.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from begat.errors import InputError
from begat.registry import Registry
from begat.types import TensorEntry, Unread

_MAX_DIMS = 32
_MAX_NAME = 4096


@dataclass(frozen=True, slots=True)
class ParsedFile:
    """One weight file's header, understood and validated against the file's size.

    Attributes:
        entries: tensors in file order; offsets and sizes already checked to lie inside the file.
        digest: sha256 hex over the header bytes (or a canonical text of it).
        metadata: the header's own metadata (GGUF: dotted keys).
        skipped: (name, reason) for stored things that are no weights.
        notes: caveats for the report.
        unread: which of the skipped are weights that are not decoded.

    """

    entries: tuple[TensorEntry, ...]
    digest: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    skipped: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    unread: Mapping[str, Unread] = field(default_factory=dict)


class Format(Protocol):
    """A file format: recognises its files and parses their headers. Never reads weight data, never executes."""

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Lower-case file name endings."""
        ...

    def recognises(self, head: bytes) -> bool:
        """Do the first 64 bytes of a file look like this format?"""
        ...

    def parse(self, path: Path) -> ParsedFile:
        """Parse and validate the header. Raises InputError (file, tensor, expected, found, fix) on anything off."""
        ...


FORMATS: Registry[Format] = Registry("format")


def check_name(path: Path, name: str) -> str:
    """`name`, when it can be printed, hashed and written; raises InputError on lone surrogates, emptiness and absurd length."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        raise InputError("a tensor's name is not valid Unicode", file=path, tensor=name, fix="re-save the checkpoint") from None
    if not 0 < len(name) <= _MAX_NAME:
        raise InputError(
            "a tensor's name is empty or too long",
            file=path,
            expected=f"1 to {_MAX_NAME} characters",
            found=len(name),
            fix="re-save the checkpoint",
        )
    return name


def check_shape(path: Path, name: str, shape: Any) -> tuple[int, ...]:
    """`shape` as a tuple of sizes; raises InputError unless it is a short sequence of natural numbers with a sane product.

    Empty axes count as 1: [2**61, 0] takes no byte of the file, yet would overflow the row count.
    """
    if not isinstance(shape, (list, tuple)) or not all(type(n) is int and n >= 0 for n in shape):
        raise InputError(
            "shape is not a list of sizes", file=path, tensor=name, found=type(shape).__name__, fix="download the file again"
        )
    if len(shape) > _MAX_DIMS:
        raise InputError(
            "shape has too many axes",
            file=path,
            tensor=name,
            expected=f"at most {_MAX_DIMS}",
            found=len(shape),
            fix="download the file again",
        )
    size, limit = 1, 1 << 31 if 0 in shape else 1 << 48
    for n in shape:
        size *= max(n, 1)
        if size >= limit:
            raise InputError(
                "shape is absurdly large",
                file=path,
                tensor=name,
                expected=f"fewer than {limit} elements",
                found=list(shape),
                fix="download the file again",
            )
    return tuple(shape)


def digest_of(entries: tuple[TensorEntry, ...] | list[TensorEntry]) -> str:
    """sha256 hex over a canonical text of entries: for formats whose header bytes are mixed with data."""
    text = "\n".join(f"{e.name}\t{e.dtype}\t{list(e.shape)}\t{e.file.name}\t{e.offset}\t{e.nbytes}\t{e.strides}" for e in entries)
    return hashlib.sha256(text.encode()).hexdigest()


def check_overlap(path: Path, entries: list[TensorEntry]) -> None:
    """Raises InputError when two tensors share bytes, in formats where none may."""
    last: TensorEntry | None = None
    for entry in sorted((e for e in entries if e.nbytes), key=lambda e: (e.offset, e.nbytes)):
        if last is not None and entry.offset < last.offset + last.nbytes:
            raise InputError(
                f"data overlaps tensor '{last.name}'",
                file=path,
                tensor=entry.name,
                expected=f"start at {last.offset + last.nbytes} or later",
                found=entry.offset,
                fix="download the file again",
            )
        last = entry
