"""The Python files of a release folder, read without trust.

Enters: a folder (or one file).  Leaves: path inside the folder → bytes, and one line for each file left out. Links that leave the folder, devices and pipes
are not opened.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from begat.audit.code.parse import MAX_BYTES
from begat.errors import InputError, printable

MAX_FILES = 2_000
MAX_TOTAL = 64 << 20
_SKIPPED = {".git", "__pycache__", ".venv", "node_modules"}


def python_files(release: Path) -> tuple[dict[str, bytes], list[str]]:
    """Every `.py` file below `release`, in order of path.

    Raises:
        InputError: `release` does not exist.
    """
    if not release.exists():
        raise InputError("no such release", file=release, fix="give the folder that holds the release's files")
    if release.is_file():
        release, names = release.parent, [release]
    else:
        names = _walk(release)
    found: dict[str, bytes] = {}
    notes: list[str] = []
    root, total = release.resolve(), 0
    for path in names:
        name = path.relative_to(release).as_posix()
        if len(found) >= MAX_FILES or total > MAX_TOTAL:
            notes.append(
                f"more than {MAX_FILES:,} Python files or {MAX_TOTAL:,} bytes of them; {printable(name)} and those after it are not compared"
            )
            break
        try:
            if not path.resolve().is_relative_to(root):
                raise ValueError("a link out of the release")
            if not stat.S_ISREG(path.stat().st_mode):
                raise ValueError("no regular file")
            with path.open("rb") as f:
                data = f.read(MAX_BYTES + 1)
            if len(data) > MAX_BYTES:
                raise ValueError(f"more than {MAX_BYTES:,} bytes")
            found[name] = data
            total += len(data)
        except (OSError, RuntimeError, ValueError) as e:
            notes.append(f"{printable(name)}: {printable(e, 100)}; not compared")
    return found, notes


def _walk(root: Path) -> list[Path]:
    out: list[Path] = []
    for folder, folders, names in os.walk(root, followlinks=False):
        folders[:] = sorted(d for d in folders if d not in _SKIPPED)
        out += [Path(folder) / n for n in names if n.endswith(".py")]
    return sorted(out)
