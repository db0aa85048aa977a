"""From a place to an open store: which engine lies there, and whether the place will do.

Enters: a folder, or an address such as `s3://bucket/index`, and a mode.  Leaves: an open `Store`, or an InputError.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import begat.index.store.lance
import begat.index.store.sqlite  # noqa: F401  (imports register the engines)
from begat.errors import InputError
from begat.index.store.base import ENGINES, PATIENCE, Mode, Store

#: the engine of a new index in a local folder; docs/index.md compares them
DEFAULT_ENGINE = "sqlite"
_REMOTE = re.compile(r"(s3|gs|az)://[^/]+(/.*)?")


def open_store(where: str | os.PathLike[str], mode: Mode = "read", *, engine: str | None = None, patience: float = PATIENCE) -> Store:
    """Open the index at `where`.

    Args:
        where: a folder, or an address on object storage (engine `lance`).
        mode: "create" makes a new one in a folder that is absent or empty; "read"; "write".
        engine: for "create": "sqlite" or "lance". For the other modes it is seen from the place.
        patience: seconds to wait for another writer before giving up.

    Raises:
        InputError: nothing is there, or something else; it is damaged, newer than this begat, or in use.

    """
    place = os.fspath(where)
    if engine is not None and engine not in list(ENGINES):
        raise InputError("no such index engine", expected=" or ".join(ENGINES), found=engine)
    if mode not in ("create", "read", "write"):
        raise InputError("no such mode", expected="create, read or write", found=mode)
    if "://" in place:
        return ENGINES[_remote(place, engine)].open(place, mode, patience)
    folder = Path(place)
    try:
        chosen = _prepare(folder, engine or DEFAULT_ENGINE) if mode == "create" else _engine_of(folder)
    except OSError as err:
        raise InputError(f"cannot be used: {err.strerror or err}", file=place, fix="check the path and its permissions") from None
    except ValueError:  # a NUL in the path
        raise InputError("is not a path", file=place, fix="name a folder") from None
    if engine is not None and engine != chosen:
        raise InputError("index is of another engine", file=place, expected=engine, found=chosen)
    return ENGINES[chosen].open(place, mode, patience)


def holds_index(where: str | os.PathLike[str]) -> bool:
    """Is there an index at `where`, or is it an address on object storage, where nothing else can be?"""
    place = os.fspath(where)
    return "://" in place or any(os.path.lexists(os.path.join(place, e.sign)) for _, e in ENGINES.items())


def _remote(place: str, engine: str | None) -> str:
    if not _REMOTE.fullmatch(place):
        raise InputError("not an address begat can store to", file=place, expected="s3://, gs:// or az:// and a bucket")
    if engine not in (None, "lance"):
        raise InputError("only the engine lance stores to addresses", file=place, found=engine, fix="leave the engine out")
    return "lance"


def _prepare(folder: Path, engine: str) -> str:
    if folder.exists() and not folder.is_dir():
        raise InputError("is not a folder", file=folder, fix="name a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    there = sorted(p.name for p in folder.iterdir() if not p.name.endswith((".new", ".lock")))
    if there:
        known = any(e.sign in there for _, e in ENGINES.items())
        raise InputError(
            "there is an index already" if known else "folder is not empty", file=folder, found=", ".join(there[:4]), fix="name a new folder"
        )
    return engine


def _engine_of(folder: Path) -> str:
    if not folder.exists():
        raise InputError("no such folder", file=folder, fix="check the path, or make an index with begat index add")
    if not folder.is_dir():
        raise InputError("is not a folder", file=folder, fix="name the folder that begat index made")
    here = [name for name, e in ENGINES.items() if os.path.lexists(folder / e.sign)]
    if len(here) != 1:
        raise InputError(
            "folder holds two indexes" if here else "folder holds no begat index", file=folder, expected=" or ".join(e.sign for _, e in ENGINES.items()),
            fix="name the folder that begat index made",
        )  # fmt: skip
    return here[0]
