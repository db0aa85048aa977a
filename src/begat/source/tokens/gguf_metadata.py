"""The tokenizer inside a GGUF file: `tokenizer.ggml.tokens` with their types.

Header walking: `begat.source.gguf`. Token types and models: ggml-org/llama.cpp, `include/llama.h` and `src/llama-vocab.cpp`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from begat.errors import InputError
from begat.source.gguf import read_metadata
from begat.source.tokens.base import TOKEN_FORMATS, Listing
from begat.source.tokens.sentencepiece import byte_of
from begat.source.tokens.spelling import (
    CONTINUATION,
    LETTERS,
    MARKED,
    PLAIN,
    SPACE_MARK,
    WORDPIECE,
    Spelling,
    is_special,
    is_unused,
)

_TOKENS, _TYPES, _MODEL = "tokenizer.ggml.tokens", "tokenizer.ggml.token_type", "tokenizer.ggml.model"
_NORMAL, _UNKNOWN, _CONTROL, _USER, _UNUSED, _BYTE = range(1, 7)
_SPELLINGS: dict[str, Spelling] = {"gpt2": LETTERS, "llama": MARKED, "t5": MARKED, "bert": WORDPIECE}
_AGAIN = "download the file again"


class GgufMetadata:
    """`.gguf` files that carry a tokenizer."""

    completed = False

    def find(self, folder: Path) -> Path | None:
        """The folder's first `.gguf` file: parts of one model, of which the first has the tokenizer."""
        return next((f for f in sorted(folder.glob("*.gguf")) if f.is_file()), None)

    def recognises(self, file: Path) -> bool:
        """By its ending."""
        return file.name.lower().endswith(".gguf")

    def parse(self, path: Path) -> Listing | None:
        """Tokens by type; None when the file has none. Raises InputError."""
        metadata = read_metadata(path, (_TOKENS, _TYPES))
        tokens, types, model = (metadata.get(key) for key in (_TOKENS, _TYPES, _MODEL))
        if tokens is None:
            return None
        if not isinstance(tokens, list) or not all(isinstance(t, str) for t in tokens):
            raise InputError("tokens are not a list of strings", file=path, fix=_AGAIN)
        if types is not None and (not isinstance(types, list) or len(types) != len(tokens)):
            found = len(types) if isinstance(types, list) else type(types).__name__
            raise InputError("token types do not fit the tokens", file=path, expected=len(tokens), found=found, fix=_AGAIN)
        types = types or [_NORMAL] * len(tokens)
        if model == "bert":
            tokens = [_unmarked(token) if kind in (_NORMAL, _USER) else token for token, kind in zip(tokens, types, strict=True)]
        listing = Listing(_SPELLINGS.get(model, PLAIN) if isinstance(model, str) else PLAIN)
        if listing.spelling is PLAIN:
            listing.notes.append("the GGUF file names a tokenizer model begat does not know; its tokens are taken as they are")
        for number, (token, kind) in enumerate(zip(tokens, types, strict=True)):
            _place(path, listing, token, kind, number)
        return listing


TOKEN_FORMATS.add("gguf")(GgufMetadata())


def _unmarked(token: str) -> str:
    """llama.cpp writes WordPiece the other way round: ▁ before word starts, nothing before continuations."""
    if token.startswith(SPACE_MARK):
        return token[1:]
    return token if is_special(token) or is_unused(token) else CONTINUATION + token


def _place(path: Path, listing: Listing, token: str, kind: Any, number: int) -> None:
    if kind == _NORMAL:
        listing.texts.append((token, number))
    elif kind == _USER:
        listing.added.append((token, number))
    elif kind == _UNUSED:
        listing.unused.append((token, number))
    elif kind == _BYTE:
        listing.byte.append((byte_of(path, token), token, number))
    elif kind in (_UNKNOWN, _CONTROL):
        listing.special.append((token, number))
    else:
        raise InputError("a token has an unknown type", file=path, expected="1 to 6", found=kind, fix=_AGAIN)
