"""The members of a zip file, by where their bytes lie. Only stored (uncompressed) members have such a place.

Enters: an open zip file.  Leaves: name → `Member`.  Own reader: torch pads local headers for alignment, so a member's data
starts where its *local* header says, while `zipfile` reads the whole central directory into memory unchecked. Meaning of the
members: `torch_pickle.py`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from begat.errors import InputError

_MAX_DIRECTORY = 256 << 20
_END, _END64, _LOCATOR64 = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
_ZIP64 = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Member:
    """One file of the archive: `size` bytes at `offset`; `stored` is False for compressed ones, which have no such range."""

    name: str
    offset: int
    size: int
    stored: bool


def members(f: BinaryIO, path: Path, size: int) -> dict[str, Member]:
    """All members of the zip file `f` of `size` bytes.

    Raises InputError: no or damaged directory, a name twice, a member outside the file, members that overlap.
    """
    try:
        found = _directory(f, path, size)
    except (struct.error, UnicodeDecodeError, OverflowError) as err:
        raise _damaged(path, type(err).__name__) from None
    last = None
    for one in sorted(found.values(), key=lambda m: m.offset):
        if last is not None and one.size and one.offset < last.offset + last.size:
            raise _damaged(path, f"members '{last.name}' and '{one.name}' overlap")
        last = one if one.size else last
    return found


def _damaged(path: Path, why: str) -> InputError:
    return InputError(f"zip archive is damaged ({why})", file=path, fix="download the file again")


def _directory(f: BinaryIO, path: Path, size: int) -> dict[str, Member]:
    count, length, start = _end_record(f, path, size)
    if length > min(size, _MAX_DIRECTORY) or start + length > size or count > length // 46:
        raise _damaged(path, "directory lies outside the file")
    f.seek(start)
    blob = f.read(length)
    out: dict[str, Member] = {}
    at = 0
    for _ in range(count):
        if blob[at : at + 4] != b"PK\x01\x02":
            raise _damaged(path, "directory entry without signature")
        flags, method = struct.unpack_from("<HH", blob, at + 8)
        packed, plain, n_name, n_extra, n_comment = struct.unpack_from("<IIHHH", blob, at + 20)
        (local,) = struct.unpack_from("<I", blob, at + 42)
        raw_name = blob[at + 46 : at + 46 + n_name]
        extra = blob[at + 46 + n_name : at + 46 + n_name + n_extra]
        packed, plain, local = _wide(extra, packed, plain, local)
        if flags & 1:
            raise _damaged(path, "encrypted member")
        name = raw_name.decode("utf-8")
        if name in out:
            raise _damaged(path, f"member '{name}' is there twice")
        if method == 0 and packed != plain:
            raise _damaged(path, f"stored member '{name}' has two sizes")
        out[name] = Member(name, _data_offset(f, path, size, local, raw_name, packed), packed, method == 0)
        at += 46 + n_name + n_extra + n_comment
    return out


def _end_record(f: BinaryIO, path: Path, size: int) -> tuple[int, int, int]:
    """(number of members, directory length, directory offset)."""
    tail_at = max(0, size - 22 - 65535)
    f.seek(tail_at)
    tail = f.read(size - tail_at)
    end = tail.rfind(_END)
    if end < 0 or len(tail) - end < 22:
        raise InputError("zip archive has no directory", file=path, found="a cut-off file", fix="download the file again")
    count, length, start = struct.unpack_from("<HII", tail, end + 10)
    if end >= 20 and tail[end - 20 : end - 16] == _LOCATOR64:
        (at,) = struct.unpack_from("<Q", tail, end - 12)
        if at + 56 > size:
            raise _damaged(path, "zip64 record lies outside the file")
        f.seek(at)
        record = f.read(56)
        if record[:4] != _END64:
            raise _damaged(path, "zip64 record without signature")
        count, length, start = struct.unpack_from("<QQQ", record, 32)
    return count, length, start


def _wide(extra: bytes, packed: int, plain: int, local: int) -> tuple[int, int, int]:
    """Sizes and offset with the zip64 extra field applied."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        if kind == 1:
            fields = extra[at + 4 : at + 4 + length]
            values = list(struct.unpack(f"<{len(fields) // 8}Q", fields[: len(fields) // 8 * 8]))
            plain = values.pop(0) if plain == _ZIP64 and values else plain
            packed = values.pop(0) if packed == _ZIP64 and values else packed
            local = values.pop(0) if local == _ZIP64 and values else local
        at += 4 + length
    return packed, plain, local


def _data_offset(f: BinaryIO, path: Path, size: int, local: int, raw_name: bytes, packed: int) -> int:
    if local + 30 > size:
        raise _damaged(path, "member lies outside the file")
    f.seek(local)
    header = f.read(30)
    if header[:4] != b"PK\x03\x04":
        raise _damaged(path, "member without local header")
    n_name, n_extra = struct.unpack_from("<HH", header, 26)
    if f.read(n_name) != raw_name:
        raise _damaged(path, "a member has two names")
    offset: int = local + 30 + n_name + n_extra
    if offset + packed > size:
        raise _damaged(path, "member ends beyond the file")
    return offset
