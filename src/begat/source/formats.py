"""The registry of file formats and what a header parser must deliver.

Adding a format is one file beside this one with a `@FORMATS.add("name")` class, imported in `open.py`; the contract test
(`tests/contracts/test_format_contract.py`) and one attack file pick it up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from begat.registry import Registry
from begat.types import TensorEntry


@dataclass(frozen=True, slots=True)
class ParsedFile:
    """One weight file's header, understood and validated against the file's size.

    Attributes:
        entries: tensors in file order; offsets and sizes already checked to lie inside the file.
        digest: sha256 hex over the header bytes (or a canonical text of it).
        metadata: the header's own metadata (GGUF: dotted keys).
        skipped: (name, reason) for stored things that are no weights.
        notes: caveats for the report.
    """

    entries: tuple[TensorEntry, ...]
    digest: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    skipped: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


class Format(Protocol):
    """A file format: recognises its files and parses their headers. Never reads weight data, never executes."""

    suffixes: tuple[str, ...]

    def recognises(self, head: bytes) -> bool:
        """Do the first 64 bytes of a file look like this format?"""
        ...

    def parse(self, path: Path) -> ParsedFile:
        """Parse and validate the header. Raises InputError (file, tensor, expected, found, fix) on anything off."""
        ...


FORMATS: Registry[Format] = Registry("format")
