"""tiktoken's rank files: a line is a token's bytes in base64, a space, and its rank, which is its id.

`*.tiktoken` (Qwen), `tiktoken.model` (Kimi), and the `tokenizer.model` of Llama 3 and GLM-4, which is one despite its name. Special
tokens live in the program that reads the file, or in the JSON beside it. Format: openai/tiktoken, `tiktoken/load.py`.
"""

from __future__ import annotations

import binascii
from pathlib import Path

from begat.errors import InputError
from begat.source.tokens.base import TOKEN_FORMATS, Listing
from begat.source.tokens.json_file import read_bytes

_MAX_BYTES = 64 << 20
_AGAIN = "download the file again"


class Tiktoken:
    """`*.tiktoken`, and `.model` files that hold such lines."""

    completed = True

    def find(self, folder: Path) -> Path | None:
        """The only `*.tiktoken` file, or a `.model` file whose first line is one of tiktoken's."""
        named = sorted(f for f in folder.glob("*.tiktoken") if f.is_file())
        if len(named) == 1:
            return named[0]
        return next((f for f in (folder / "tiktoken.model", folder / "tokenizer.model") if f.is_file() and is_ranks(f)), None)

    def recognises(self, file: Path) -> bool:
        """By its ending; a `.model` file by its first line."""
        return file.suffix == ".tiktoken" or (file.suffix == ".model" and is_ranks(file))

    def parse(self, path: Path) -> Listing:
        """The lines. Raises InputError on one that is not base64 and a rank."""
        listing = Listing()
        decode, add = binascii.a2b_base64, listing.raw.append
        for at, line in enumerate(read_bytes(path, _MAX_BYTES).split(b"\n"), 1):
            if not line.strip():
                continue
            try:
                token, rank = line.split()
                add((decode(token, strict_mode=True), int(rank)))
            except ValueError:  # binascii.Error is one
                raise InputError(
                    f"line {at} is not a token in base64 and its rank", file=path, found=line[:40], fix=_AGAIN
                ) from None
        return listing


TOKEN_FORMATS.add("tiktoken")(Tiktoken())


def is_ranks(file: Path) -> bool:
    """Is the first line a token in base64 and its rank?"""
    try:
        with file.open("rb") as f:
            token, rank = f.readline(4096).split()
        binascii.a2b_base64(token, strict_mode=True)
        return rank.isdigit()
    except (OSError, ValueError):
        return False
