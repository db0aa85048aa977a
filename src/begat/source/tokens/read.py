"""From what the user named to its `Vocabulary`: which file wins, what completes it, and whether the others agree.

Enters: a folder, weight file or tokenizer file.  Leaves: a `Vocabulary`, or None.  The order is explained in the package's docstring.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import begat.source.tokens.gguf_metadata
import begat.source.tokens.sentencepiece
import begat.source.tokens.tekken
import begat.source.tokens.tiktoken
import begat.source.tokens.tokenizer_json
import begat.source.tokens.vocab_json
import begat.source.tokens.vocab_txt  # noqa: F401  (imports register the formats)
from begat.errors import InputError
from begat.source.open import first_shard
from begat.source.tokens.base import TOKEN_FORMATS, Listing, Vocabulary, vocabulary
from begat.source.tokens.json_file import read_object

#: which of a folder's tokenizer files is believed, first match wins
ORDER = ("tokenizer.json", "tekken", "tiktoken", "sentencepiece", "vocab.json", "vocab.txt", "gguf")
_AGAIN = "download the file again"


def read_vocabulary(path: str | Path) -> Vocabulary | None:
    """The vocabulary of the model at `path`.

    Args:
        path: what was given to `compare`: a folder, a weight file or index in one, a `.gguf` file; or a tokenizer file itself.

    Returns:
        None where there is no tokenizer.

    Raises:
        InputError: the tokenizer that wins is damaged or hostile; one line names file and fix. Callers treat it as a reason, not an end.

    """
    where = Path(path)
    try:
        if where.is_file():
            if where.name.lower().endswith(".gguf"):
                where = first_shard(where)
            for name in ORDER:
                if TOKEN_FORMATS[name].recognises(where) and (found := _read(where, name)) is not None:
                    return found
        return _of_folder(where if where.is_dir() else where.parent)
    except OSError as err:
        raise InputError(
            f"cannot be read: {err.strerror or type(err).__name__}",
            file=err.filename or where,
            fix="check the disk and the file's permissions",
        ) from None


def _of_folder(folder: Path) -> Vocabulary | None:
    files = [(name, file) for name in ORDER if (file := TOKEN_FORMATS[name].find(folder)) is not None]
    winner: Vocabulary | None = None
    notes: list[str] = []
    for name, file in files:
        if winner is None:
            winner = _read(file, name)
        else:
            notes += _disagreement(winner, file, name)
    return winner if winner is None or not notes else replace(winner, notes=(*winner.notes, *notes))


def _read(file: Path, name: str) -> Vocabulary | None:
    listing = TOKEN_FORMATS[name].parse(file)
    if listing is None:
        return None
    if TOKEN_FORMATS[name].completed:
        _complete(file.parent, listing)
    return vocabulary(file, name, listing)


def _disagreement(winner: Vocabulary, file: Path, name: str) -> list[str]:
    """A note when another tokenizer of the folder has another size or cannot be read."""
    try:
        other = _read(file, name)
    except InputError as err:
        return [f"{file.name} beside {winner.path.name} was not read: {err.problem}"]
    if other is None or other.size == winner.size:
        return []
    return [f"{file.name} has {other.size} tokens, {winner.path.name} {winner.size}; {winner.path.name} was used"]


def _complete(folder: Path, listing: Listing) -> None:
    """Added tokens from the files beside the vocabulary; tokenizer_config.json also says which of them are special."""
    config, simple = folder / "tokenizer_config.json", folder / "added_tokens.json"
    known: set[str] = set()
    if config.is_file():
        table: Any = read_object(config).get("added_tokens_decoder") or {}
        for number, entry in table.items() if isinstance(table, dict) else ():
            if not isinstance(entry, dict) or not (number.isascii() and number.isdigit() and len(number) < 12):
                raise InputError("an added token is not an object under its id", file=config, found=number, fix=_AGAIN)
            listing.add(config, entry.get("content"), int(number), entry.get("special"))
            known.add(entry["content"])
    if simple.is_file():
        for content, number in read_object(simple).items():
            if content not in known:
                listing.add(simple, content, number)
