"""Files dropped onto the page: a fingerprint, or the few files of a small model.

Enters: names and sizes, then their bytes one after another.  Leaves: a folder for the time of one job.  Nothing a browser
says about a file is believed: names are checked against a pattern, sizes are counted as the bytes arrive.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from begat.errors import InputError

#: bytes of an upload, and files in it
MOST_BYTES, MOST_FILES = 64 << 20, 24
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,119}")
_ENDS = (".begat", ".safetensors", ".json", ".txt", ".model")


@dataclass(frozen=True, slots=True)
class Upload:
    """model: what to search for; name: what the browser called it; folder: vanishes with `folder.cleanup()`."""

    model: Path
    name: str
    folder: tempfile.TemporaryDirectory[str]


def declared(text: str) -> list[tuple[str, int]]:
    """(name, size) of every file, checked; text: JSON `[["name", size], …]`."""
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError):
        raw = None
    if not isinstance(raw, list) or not 1 <= len(raw) <= MOST_FILES:
        raise InputError("upload does not say which files it holds", expected=f"1 to {MOST_FILES} names with sizes")
    out = []
    for item in raw:
        if not (isinstance(item, list) and len(item) == 2 and isinstance(item[0], str) and type(item[1]) is int):
            raise InputError("upload does not say which files it holds", expected="names with sizes")
        name, size = item
        if not _NAME.fullmatch(name) or not name.endswith(_ENDS):
            raise InputError("file cannot be uploaded", found=name, expected=f"a plain name that ends in {', '.join(_ENDS)}")
        if size < 0:
            raise InputError("file cannot be uploaded", file=name, found=f"size {size}")
        out.append((name, size))
    if len({name for name, _ in out}) < len(out):
        raise InputError("two files have one name", found=", ".join(name for name, _ in out))
    if sum(size for _, size in out) > MOST_BYTES:
        raise InputError("upload is too large", expected=f"at most {MOST_BYTES >> 20} MiB", found=f"{sum(s for _, s in out):,} bytes",
                         fix="search by path, or run begat sketch and drop the fingerprint")  # fmt: skip
    return out


async def receive(files: list[tuple[str, int]], name: str, stream: AsyncIterator[bytes]) -> Upload:
    """Store the bytes of `stream` as the files declared. InputError when there are fewer or more."""
    folder = tempfile.TemporaryDirectory(prefix="begat-upload-")
    try:
        place = Path(folder.name)
        buffered = bytearray()
        todo = list(files)
        total, expected = 0, sum(size for _, size in files)
        async for chunk in stream:
            total += len(chunk)
            if total > expected:
                raise InputError("upload is longer than it said", expected=f"{expected:,} bytes")
            buffered += chunk
            while todo and (buffered or not todo[0][1]):
                file, left = todo[0]
                taken = bytes(buffered[:left])
                del buffered[:left]
                with (place / file).open("ab") as out:
                    out.write(taken)
                todo[0] = (file, left - len(taken))
                if todo[0][1] == 0:
                    todo.pop(0)
                elif not buffered:
                    break
        if total < expected:
            raise InputError("upload ended early", expected=f"{expected:,} bytes", found=f"{total:,}")
        for file, _ in todo:
            (place / file).touch()
        return Upload(_model(place, [n for n, _ in files]), name, folder)
    except BaseException:
        folder.cleanup()
        raise


def _model(place: Path, names: list[str]) -> Path:
    """The fingerprint among the files, or the folder that they make."""
    prints = [n for n in names if n.endswith(".begat")]
    if prints:
        if len(names) > 1:
            raise InputError("drop one fingerprint alone, or the files of one model", found=f"{len(names)} files")
        return place / prints[0]
    if not any(n.endswith(".safetensors") for n in names):
        raise InputError(
            "no weights among the files", expected="a .begat fingerprint or a .safetensors file", found=", ".join(names)[:200]
        )
    return place
