"""`vocab.txt` of BERT: one WordPiece token a line, its id the line's number. Format: google-research/bert, `tokenization.load_vocab`."""

from __future__ import annotations

from pathlib import Path

from begat.errors import InputError
from begat.source.tokens.base import TOKEN_FORMATS, Listing
from begat.source.tokens.json_file import read_bytes
from begat.source.tokens.spelling import WORDPIECE

_MAX_BYTES = 32 << 20
_SAMPLE = 1000


class VocabTxt:
    """`vocab.txt`."""

    completed = True

    def find(self, folder: Path) -> Path | None:
        """By its name."""
        file = folder / "vocab.txt"
        return file if file.is_file() else None

    def recognises(self, file: Path) -> bool:
        """By its name."""
        return file.name == "vocab.txt"

    def parse(self, path: Path) -> Listing:
        """The lines. A list of tokens with counts (fairseq's dictionaries) has other ids and is refused."""
        try:
            lines = read_bytes(path, _MAX_BYTES).decode("utf-8").split("\n")
        except UnicodeDecodeError:
            raise InputError("is not UTF-8", file=path, fix="download the file again") from None
        lines = [line[:-1] if line.endswith("\r") else line for line in lines]
        if lines and not lines[-1]:
            lines.pop()
        counted = sum(line.rpartition(" ")[2].isdigit() and " " in line for line in lines[:_SAMPLE])
        if counted * 2 > min(len(lines), _SAMPLE):
            raise InputError(
                "lists counts, not ids", file=path, expected="one token a line", fix="convert the tokenizer to tokenizer.json"
            )
        return Listing(WORDPIECE, texts=[(line, number) for number, line in enumerate(lines)])


TOKEN_FORMATS.add("vocab.txt")(VocabTxt())
