"""JSON of a stranger's tokenizer: bounded before it is parsed, and no key twice.

Enters: a file.  Leaves: its value.  Weight files' headers and config.json: `begat.source.safetensors`, `begat.source.open`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from begat.errors import InputError

MAX_BYTES = 128 << 20  # Gemma 3's tokenizer.json has 33 MB
_MAX_NODES = 3_000_000  # lists and objects; Gemma 3 has half a million merges, each a list
_AGAIN = "download the file again"


def read_bytes(path: Path, limit: int = MAX_BYTES) -> bytes:
    """A regular file of at most `limit` bytes. Raises InputError."""
    try:
        if not path.is_file():
            raise InputError("is not a regular file", file=path, fix="name a tokenizer file")
        with path.open("rb") as f:
            data = f.read(limit + 1)
    except OSError as err:
        raise InputError(
            f"cannot be read: {err.strerror or type(err).__name__}", file=path, fix="check the disk and the file's permissions"
        ) from None
    if len(data) > limit:
        raise InputError(
            "file is too large for a tokenizer", file=path, expected=f"at most {limit} bytes", found="more", fix=_AGAIN
        )
    return data


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object. Raises InputError on anything else, on a key that is there twice, and on JSON that would swell."""
    data = read_bytes(path)
    if data.count(b"[") + data.count(b"{") > _MAX_NODES or data.count(b",") > 4 * _MAX_NODES:
        raise InputError(
            "is implausibly nested or long",
            file=path,
            expected=f"at most {_MAX_NODES} lists and objects",
            found="more",
            fix="do not trust this file",
        )

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        out = dict(pairs)
        if len(out) < len(pairs):
            seen: set[str] = set()
            twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
            raise InputError("a key is there twice", file=path, found=twice, fix="do not trust this file")
        return out

    try:
        value = json.loads(data.decode("utf-8-sig"), object_pairs_hook=unique)
    except (ValueError, RecursionError) as err:  # ValueError: bad UTF-8, bad JSON, integers of thousands of digits
        raise InputError(f"is not JSON ({type(err).__name__})", file=path, fix=_AGAIN) from None
    if not isinstance(value, dict):
        raise InputError("is not a JSON object", file=path, found=type(value).__name__, fix=_AGAIN)
    return value


def items(path: Path, value: Any, what: str) -> list[Any]:
    """`value`, when it is a list (absent = empty)."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise InputError(f"{what} is not a list", file=path, found=type(value).__name__, fix=_AGAIN)
    return value
