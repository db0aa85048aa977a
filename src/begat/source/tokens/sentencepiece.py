"""sentencepiece's `tokenizer.model`: a protobuf of pieces, each with its kind; the id is its place.

Walked by `begat.source.wire`; the `sentencepiece` package is the oracle in the tests. `sentencepiece.bpe.model` (XLM-R and its kin) is
not read: the ids of those models are shifted against the file's. Format: google/sentencepiece, `src/sentencepiece_model.proto`.
"""

from __future__ import annotations

import io
from pathlib import Path

from begat.errors import InputError
from begat.source.tokens.base import TOKEN_FORMATS, Listing, check_count
from begat.source.tokens.json_file import read_bytes
from begat.source.tokens.spelling import MARKED
from begat.source.tokens.tiktoken import is_ranks
from begat.source.wire import Wire

_MAX_BYTES = 64 << 20
_AGAIN = "download the file again"
_PIECES, _PIECE, _KIND = 1, 1, 3  # field numbers: ModelProto.pieces, SentencePiece.piece and .type
_NORMAL, _UNKNOWN, _CONTROL, _USER, _UNUSED, _BYTE = range(1, 7)


class Sentencepiece:
    """`tokenizer.model`, where it is not tiktoken's."""

    completed = True

    def find(self, folder: Path) -> Path | None:
        """By its name and first bytes."""
        file = folder / "tokenizer.model"
        return file if file.is_file() and self.recognises(file) else None

    def recognises(self, file: Path) -> bool:
        """By its name, unless its first line is tiktoken's."""
        return file.name == "tokenizer.model" and not is_ranks(file)

    def parse(self, path: Path) -> Listing:
        """The pieces. Raises InputError on a damaged protobuf."""
        data = read_bytes(path, _MAX_BYTES)
        wire = Wire(io.BytesIO(data), path, len(data))
        listing = Listing(MARKED)
        number = 0
        for field in wire.fields(0, len(data)):
            if field.number != _PIECES:
                continue
            if field.kind != 2:
                raise wire.damaged("a piece is no message")
            check_count(path, number + 1)
            _place(path, listing, *_read_piece(wire, data, field.start, field.start + field.length), number)
            number += 1
        return listing


TOKEN_FORMATS.add("sentencepiece")(Sentencepiece())


def _read_piece(wire: Wire, data: bytes, start: int, end: int) -> tuple[str, int]:
    """(piece, kind). What the library writes, string, score and kind in this order, is cut without the walker: a third of the time."""
    piece, kind = b"", _NORMAL
    cut = start + 2 + data[start + 1] if end - start > 6 and data[start] == 0x0A and data[start + 1] < 0x80 else 0
    if (
        0 < cut <= end - 5
        and data[cut] == 0x15
        and (cut == end - 5 or (cut == end - 7 and data[end - 2] == 0x18 and data[end - 1] < 0x80))
    ):
        piece, kind = data[start + 2 : cut], _NORMAL if cut == end - 5 else data[end - 1]
    else:
        for field in wire.fields(start, end):
            if field.number == _PIECE and field.kind == 2:
                piece = data[field.start : field.start + field.length]
            elif field.number == _KIND and field.kind == 0:
                kind = field.value
    try:
        return piece.decode("utf-8"), kind
    except UnicodeDecodeError:
        raise InputError("a piece is not UTF-8", file=wire.path, fix=_AGAIN) from None


def _place(path: Path, listing: Listing, piece: str, kind: int, number: int) -> None:
    if kind == _NORMAL:
        listing.texts.append((piece, number))
    elif kind == _USER:
        listing.added.append((piece, number))
    elif kind in (_UNKNOWN, _CONTROL):
        listing.special.append((piece, number))
    elif kind == _UNUSED:
        listing.unused.append((piece, number))
    elif kind == _BYTE:
        listing.byte.append((byte_of(path, piece), piece, number))
    else:
        raise InputError("a piece has an unknown kind", file=path, expected="1 to 6", found=kind, fix=_AGAIN)


def byte_of(path: Path, piece: str) -> int:
    """The byte that a piece like <0x0A> stands for; raises InputError."""
    if len(piece) == 6 and piece.startswith("<0x") and piece.endswith(">"):
        try:
            return int(piece[3:5], 16)
        except ValueError:
            pass
    raise InputError("a byte token names no byte", file=path, expected="<0x00> to <0xFF>", found=piece, fix=_AGAIN)
