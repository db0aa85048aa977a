"""Formats that are known by name and not read: `foreign.toml`.

Enters: a path.  Leaves: nothing, or an `InputError` that names the format and what to do.  Formats that are read: `formats.py`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from begat.errors import InputError

_KEYS = {"name", "files", "beside", "fix"}


@dataclass(frozen=True, slots=True)
class Foreign:
    """A format: shell patterns of its files, of files one of which must lie beside them, and what to do."""

    name: str
    files: tuple[str, ...]
    beside: tuple[str, ...]
    fix: str


def parse(data: Mapping[str, Any]) -> tuple[Foreign, ...]:
    """The table. Raises ValueError on an unknown key."""
    if set(data) != {"format"} or any(set(one) != _KEYS for one in data["format"]):
        raise ValueError("foreign.toml: unknown or missing key")
    return tuple(Foreign(one["name"], tuple(one["files"]), tuple(one["beside"]), one["fix"]) for one in data["format"])


@lru_cache(maxsize=1)
def _table() -> tuple[Foreign, ...]:
    return parse(tomllib.loads(files("begat.source").joinpath("foreign.toml").read_text("utf-8")))


def refuse_foreign(where: Path, names: list[str]) -> None:
    """Raise InputError when `where` (a file, or a folder that holds `names`) is of a format that is known and not read.

    Args:
        where: what the user named.
        names: of the file, or of all that the folder holds.
    """
    around = [p.name for p in where.parent.iterdir()] if where.is_file() else names
    for one in _table():
        hit = next((n for n in names if any(fnmatch(n, pattern) for pattern in one.files)), None)
        if hit is not None and (not one.beside or any(fnmatch(n, pattern) for n in around for pattern in one.beside)):
            raise InputError(f"is {one.name}, which is not read", file=where if where.name == hit else where / hit, fix=one.fix)
