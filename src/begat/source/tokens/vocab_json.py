"""`vocab.json` of GPT-2 and RoBERTa (beside a merges.txt): an object of token → id. How it is spelled shows in the tokens themselves."""

from __future__ import annotations

from pathlib import Path

from begat.source.tokens.base import TOKEN_FORMATS, Listing
from begat.source.tokens.json_file import read_object
from begat.source.tokens.spelling import guess


class VocabJson:
    """`vocab.json`."""

    completed = True

    def find(self, folder: Path) -> Path | None:
        """By its name."""
        file = folder / "vocab.json"
        return file if file.is_file() else None

    def recognises(self, file: Path) -> bool:
        """By its name."""
        return file.name == "vocab.json"

    def parse(self, path: Path) -> Listing:
        """The object's pairs."""
        texts = list(read_object(path).items())
        return Listing(guess(token for token, _ in texts), texts=texts)


TOKEN_FORMATS.add("vocab.json")(VocabJson())
