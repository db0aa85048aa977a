"""A folder, a wheel or a zip file → `CodeReference`.

Enters: a path.  Leaves: the Python texts in it under a name and a version, and one line for each file left out. A wheel is read as the zip file it is; nothing
is unpacked, installed or imported. What becomes of a reference: `begat.audit.code.index`.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from begat.audit.code.parse import MAX_BYTES, decode
from begat.audit.code.release import python_files
from begat.audit.code.types import CodeReference
from begat.errors import InputError, printable

MAX_MEMBERS = 100_000
MAX_TOTAL = 1 << 30


def read_reference(path: Path, name: str = "", version: str = "", pattern: str = "") -> tuple[CodeReference, tuple[str, ...]]:
    r"""The Python files of a folder, a wheel or a zip file.

    Args:
        path: where they are.
        name, version: what the reference is called; by default what a wheel's file name says, or the name of the folder.
        pattern: regular expression that a file's path must match somewhere, such as r"/modeling_[^/]*\.py$"; all by default.

    Returns:
        The reference, and one line for each file that could not be read.

    Raises:
        InputError: there is no such path, or it is neither a folder nor a zip file.
    """
    wanted = re.compile(pattern)
    if path.is_dir():
        files, notes = python_files(path)
    else:
        files, notes = _members(path)
        wheel = re.match(r"([^-]+)-([^-]+)(?:-\d[^-]*)?-[^-]+-[^-]+-[^-]+\.whl$", path.name)
        if wheel is not None:
            name, version = name or wheel[1].replace("_", "-"), version or wheel[2]
    name = name or path.stem
    texts = {}
    for file, data in files.items():
        if wanted.search(file) is None:
            continue
        try:
            texts[file] = decode(data)
        except ValueError as e:
            notes.append(f"{printable(name)} {printable(version)} {printable(file)}: {e}; not compared")
    return CodeReference(name, version, texts), tuple(notes)


def _members(path: Path) -> tuple[dict[str, bytes], list[str]]:
    try:
        with zipfile.ZipFile(path) as z:
            return _read(z)
    except FileNotFoundError:
        raise InputError("no such reference", file=path, fix="give a folder, a wheel or a zip file") from None
    except (OSError, zipfile.BadZipFile) as e:
        raise InputError(
            "neither a folder nor a zip file", file=path, found=printable(e, 100), fix="give a folder, a wheel or a zip file"
        ) from None


def _read(z: zipfile.ZipFile) -> tuple[dict[str, bytes], list[str]]:
    files: dict[str, bytes] = {}
    notes: list[str] = []
    total = 0
    for info in _python(z):
        if len(files) >= MAX_MEMBERS or total > MAX_TOTAL:
            notes.append(
                f"more than {MAX_MEMBERS:,} files or {MAX_TOTAL:,} bytes; {printable(info.filename)} and those after it are not compared"
            )
            break
        try:
            with z.open(info) as f:
                data = f.read(MAX_BYTES + 1)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError, ValueError) as e:
            notes.append(f"{printable(info.filename)}: {printable(e, 100)}; not compared")
            continue
        total += len(data)
        files[info.filename] = data
    return files, notes


def _python(z: zipfile.ZipFile) -> Iterator[zipfile.ZipInfo]:
    return (
        info for info in sorted(z.infolist(), key=lambda i: i.filename) if info.filename.endswith(".py") and not info.is_dir()
    )
