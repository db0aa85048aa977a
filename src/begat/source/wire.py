"""The protobuf wire format, walked without reading what is stepped over.

Enters: an open file and a byte range that holds one message.  Leaves: its fields, as numbers or byte ranges.  Meaning: `onnx.py`.
Own walker: the `onnx` package reads whole files into memory, and rows are read on demand here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from begat.errors import InputError

_WINDOW = 1 << 16
_MAX_FIELDS = 4_000_000  # of one file: bounds the time a file made of two-byte fields can take
_MAX_BYTES = 16 << 20  # longest name, string or packed list read into memory


class Field(NamedTuple):
    """One field: `number` and wire `kind` (0 varint, 1 eight bytes, 2 range, 5 four bytes).

    `value` is the varint; for other kinds the bytes lie at `start`, `length` long.
    """

    number: int
    kind: int
    value: int
    start: int
    length: int


class Wire:
    """A file of protobuf messages; every range handed out lies inside its parent's."""

    def __init__(self, f: BinaryIO, path: Path, size: int) -> None:
        self._f, self.path, self.size = f, path, size
        self._window, self._window_at = b"", 0
        self._fields = 0

    def fields(self, start: int, end: int) -> Iterator[Field]:
        """The fields of the message in [start, end). Raises InputError on anything a writer would not write."""
        at = start
        while at < end:
            self._fields += 1
            if self._fields > _MAX_FIELDS:
                raise InputError(
                    "file has implausibly many fields",
                    file=self.path,
                    expected=f"at most {_MAX_FIELDS}",
                    found="more",
                    fix="do not trust this file",
                )
            tag, at = self._varint(at, end)
            number, kind = tag >> 3, tag & 7
            if number == 0 or kind not in (0, 1, 2, 5):
                raise self.damaged(f"field {number} of kind {kind} at byte {at}")
            if kind == 0:
                value, at = self._varint(at, end)
                yield Field(number, kind, value, 0, 0)
                continue
            length = 8 if kind == 1 else 4
            if kind == 2:
                length, at = self._varint(at, end)
            if length > end - at:
                raise self.damaged(f"field {number} at byte {at} is longer than its message")
            yield Field(number, kind, 0, at, length)
            at += length

    def blob(self, field: Field) -> bytes:
        """The bytes of a length-delimited field."""
        if field.kind != 2:
            raise self.damaged(f"field {field.number} is no range")
        if field.length > _MAX_BYTES:
            raise self.damaged(f"field {field.number} is {field.length} bytes long")
        return self._read(field.start, field.length)

    def text(self, field: Field) -> str:
        """A string field; bad UTF-8 is escaped."""
        return self.blob(field).decode("utf-8", "backslashreplace")

    def message(self, field: Field) -> Iterator[Field]:
        """The fields of a nested message."""
        if field.kind != 2:
            raise self.damaged(f"field {field.number} is no message")
        return self.fields(field.start, field.start + field.length)

    def integers(self, field: Field) -> list[int]:
        """A repeated varint field, packed or not, as signed 64-bit integers."""
        if field.kind == 0:
            return [_signed(field.value)]
        blob = self.blob(field)
        out, at = [], 0
        while at < len(blob):
            value = shift = 0
            while True:
                if at >= len(blob) or shift > 63:
                    raise self.damaged("a packed number without end")
                byte = blob[at]
                at += 1
                value |= (byte & 0x7F) << shift
                shift += 7
                if byte < 0x80:
                    break
            out.append(_signed(value & (1 << 64) - 1))
        self._fields += len(out)
        return out

    def float32(self, field: Field) -> float:
        """A fixed 32-bit float."""
        if field.kind != 5:
            raise self.damaged(f"field {field.number} is no float")
        return float(struct.unpack("<f", self._read(field.start, 4))[0])

    def damaged(self, why: str) -> InputError:
        """The error for a message no writer makes."""
        return InputError(f"protobuf is damaged ({why})", file=self.path, fix="download the file again")

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        if not self._window_at <= at <= self._window_at + len(self._window) - 10:
            self._window, self._window_at = self._read(at, min(_WINDOW, self.size - at)), at
        window, i, value, shift = self._window, at - self._window_at, 0, 0
        while shift < 70:
            if at >= end or i >= len(window):
                break
            byte = window[i]
            at, i = at + 1, i + 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & (1 << 64) - 1, at
            shift += 7
        raise self.damaged(f"a number without end at byte {at}")

    def _read(self, start: int, length: int) -> bytes:
        self._f.seek(start)
        data = self._f.read(length)
        if len(data) != length:
            raise InputError(
                "file ends early",
                file=self.path,
                expected=f"{start + length} bytes",
                found=start + len(data),
                fix="download the file again",
            )
        return data


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value
