"""Mistral's `tekken.json`: tokens' bytes in base64 by rank, moved up by the rows that the special tokens take.

Format: mistralai/mistral-common, `src/mistral_common/tokens/tokenizers/tekken.py`.
"""

from __future__ import annotations

import binascii
from pathlib import Path
from typing import Any

from begat.errors import InputError
from begat.source.tokens.base import TOKEN_FORMATS, Listing, token_text
from begat.source.tokens.json_file import items, read_object

_AGAIN = "download the file again"


class Tekken:
    """`tekken.json`."""

    completed = False

    def find(self, folder: Path) -> Path | None:
        """By its name."""
        file = folder / "tekken.json"
        return file if file.is_file() else None

    def recognises(self, file: Path) -> bool:
        """By its name."""
        return file.name == "tekken.json"

    def parse(self, path: Path) -> Listing:
        """Special tokens first, then as many ranks as the stated vocabulary has room for: the file lists more than the model has."""
        raw = read_object(path)
        config = raw.get("config")
        rows, first = (_count(path, config, key) for key in ("default_vocab_size", "default_num_special_tokens"))
        listing = Listing()
        for entry in items(path, raw.get("special_tokens"), "special_tokens"):
            rank = _rank(path, entry)
            listing.special.append((token_text(path, entry.get("token_str")), rank))
        for entry in items(path, raw.get("vocab"), "vocab"):
            rank = _rank(path, entry)
            if rank < rows - first:
                listing.raw.append((_decoded(path, entry.get("token_bytes")), rank + first))
        return listing


TOKEN_FORMATS.add("tekken")(Tekken())


def _count(path: Path, config: Any, key: str) -> int:
    value = config.get(key) if isinstance(config, dict) else None
    if type(value) is not int or value < 0:
        raise InputError(f"config has no {key}", file=path, expected="a count", found=value, fix=_AGAIN)
    return value


def _rank(path: Path, entry: Any) -> int:
    rank = entry.get("rank") if isinstance(entry, dict) else None
    if type(rank) is not int or rank < 0:
        raise InputError("a token has no rank", file=path, expected="a number from 0", found=rank, fix=_AGAIN)
    return rank


def _decoded(path: Path, token: Any) -> bytes:
    try:
        return binascii.a2b_base64(token_text(path, token), strict_mode=True)
    except ValueError:  # binascii.Error is one
        raise InputError("a token is not base64", file=path, found=token, fix=_AGAIN) from None
