"""Do two checkpoints hold the same tensors, whatever these are called?

Enters: two opened checkpoints.  Leaves: `SameContent`, or None.  It needs no name and no
architecture: the stored tensors of the one are the other's, as a multiset over number type, shape
and bytes; names, order, shards and file formats aside. Where stored weights could not be read
(types without a decoder), the files must be equal byte by byte. Equality under known names, which
allows for a tied head that one file leaves out and for roundings: `equality.py`.

An ordinary pair costs next to nothing: number types and shapes come first, then a few bytes of
every tensor, the rarest kinds first, and the first kind that differs ends it. Only what agrees in
all of these is read whole. Constants (gains that nobody trained) are equal in all models, so at
least one tensor must not be constant.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path

import numpy as np

from begat.canon.model import Canonical
from begat.source.dtypes import DTYPES
from begat.source.pieces import runs
from begat.source.reader import FileReader
from begat.types import U8, Checkpoint, PartResult, Progress, TensorEntry

#: values looked at in each of three places of a tensor before anything is read whole; values of a
#: piece
_FEW, _PIECE = 64, 1 << 21
#: bytes of a file compared at a time
_CHUNK = 1 << 22
#: number type, shape, and whether the bytes are another's transpose
Kind = tuple[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class SameContent:
    """All stored tensors of both are equal.

    Attributes:
        values: how many values were compared.
        tensors: how many tensors.
        moved: names that both use for unlike tensors: the same tensors, in another order.
        renamed: some name is in one of the two only.
        bytes_read: of both.
    """

    values: int
    tensors: int
    moved: tuple[str, ...]
    renamed: bool
    bytes_read: int


def same_content(
    a: Checkpoint, b: Checkpoint, progress: Progress | None = None
) -> SameContent | None:
    """Whether A and B hold the same tensors by content. Raises InputError when a file cannot be
    read.
    """
    if ("peft" in (a.format, b.format)) and (a.format, a.header_digest) != (
        b.format,
        b.header_digest,
    ):
        return None  # factors mean something only with their scale, and with a base
    x, y = _tensors(a), _tensors(b)
    if not x or Counter(map(_kind, x)) != Counter(map(_kind, y)):
        return None
    reader = FileReader()
    try:
        if (_unlisted(a) or _unlisted(b)) and not _same_files(a.files, b.files, reader):
            return None
        return _compare(x, y, reader, progress)
    finally:
        reader.close()


def content_words(whole: SameContent | None) -> str:
    """What a headline adds where tensors are equal but not under equal names; "" else."""
    if whole is None:
        return ""
    if whole.moved:
        few = f"{len(whole.moved):,} of {whole.tensors:,} tensors stand at another place"
        return f"The same tensors, but in another order: {few}, so that the two need not compute the same."
    return "The names of their tensors differ." if whole.renamed else ""


def equal_by_content(parts: Sequence[PartResult]) -> tuple[PartResult, ...]:
    """Parts of two models that hold the same tensors: none of them is without dependence, wherever
    it stands.
    """
    why = "its tensors are equal to tensors of the other model"
    return tuple(
        p if p.status == "dependent" else replace(p, status="dependent", why=why) for p in parts
    )


def unresolved(c: Checkpoint) -> Canonical:
    """A checkpoint that no rule makes sense of: every name unknown."""
    return Canonical(c, "", {}, (), (), tuple(c.entries), {})


def _tensors(c: Checkpoint) -> list[TensorEntry]:
    """The stored tensors, one that torch stores once under two names taken once."""
    return list(
        {(e.file, e.offset, e.dtype, e.shape, e.strides): e for e in reversed(c.stored)}.values()
    )[::-1]


def _unlisted(c: Checkpoint) -> bool:
    """Some stored weights are known by name only, so that their bytes cannot be compared one by one."""
    return not set(c.unread) <= {e.name for e in c.stored}


def _kind(e: TensorEntry) -> Kind:
    return e.dtype, e.shape[::-1] if _turned(e) else e.shape


def _turned(e: TensorEntry) -> bool:
    return e.transposed and len(e.shape) == 2 and DTYPES[e.dtype].block == DTYPES[e.dtype].tall == 1


def _compare(
    x: list[TensorEntry], y: list[TensorEntry], reader: FileReader, progress: Progress | None
) -> SameContent | None:
    groups: dict[Kind, tuple[list[TensorEntry], list[TensorEntry]]] = defaultdict(lambda: ([], []))
    for side, entries in enumerate((x, y)):
        for e in entries:
            groups[_kind(e)][side].append(e)
    signs: dict[tuple[int, str], bytes] = {}
    pairs: dict[tuple[Kind, bytes], tuple[list[TensorEntry], list[TensorEntry]]] = {}
    for kind, both in sorted(groups.items(), key=lambda g: (len(g[1][0]), g[0])):
        alike: dict[bytes, tuple[list[TensorEntry], list[TensorEntry]]] = defaultdict(
            lambda: ([], [])
        )
        for side in (0, 1):
            for e in both[side]:
                signs[side, e.name] = _sign(e, reader)
                alike[signs[side, e.name]][side].append(e)
        if any(len(p) != len(q) for p, q in alike.values()):
            return None
        pairs |= {(kind, sign): found for sign, found in alike.items()}
    found = _Whole(reader)
    if progress:
        progress.start("equality", len(x))
    for both in sorted(pairs.values(), key=lambda p: p[0][0].nbytes):
        if not found.equal(*both):
            return None
        if progress:
            progress.step(len(both[0]))
    if progress:
        progress.done()
    if not found.varies:
        return None
    names = {e.name for e in x} & {e.name for e in y}
    moved = sorted(
        n
        for n in names
        if (signs[0, n], found.digests.get((0, n))) != (signs[1, n], found.digests.get((1, n)))
    )
    return SameContent(
        sum(e.size for e in x), len(x), tuple(moved), len(names) < len(x), reader.bytes_read
    )


def _sign(e: TensorEntry, reader: FileReader) -> bytes:
    """A few bytes of the beginning, the middle and the end of a tensor, in the order of its turned
    shape.
    """
    rows, cols = _size(e)
    if not rows or not cols:
        return b""
    out = blake2b(digest_size=16)
    few = max(1, _FEW // DTYPES[e.dtype].block) * DTYPES[e.dtype].block
    for row in sorted({0, rows // 2, rows - 1}):
        for first in {0, max(0, (cols - few) // DTYPES[e.dtype].block * DTYPES[e.dtype].block)}:
            out.update(
                np.ascontiguousarray(
                    _block(e, range(row, row + 1), slice(first, min(first + few, cols)), reader)
                ).data
            )
    return out.digest()


def _size(e: TensorEntry) -> tuple[int, int]:
    return (e.cols, e.rows) if _turned(e) else (e.rows, e.cols)


def _block(e: TensorEntry, rows: range, cols: slice, reader: FileReader) -> U8:
    """Stored bytes of rows and columns of the matrix view, turned where the tensor is stored so:
    [rows, bytes].
    """
    if not _turned(e):
        return reader.raw(e, rows, None if DTYPES[e.dtype].tall > 1 else cols)
    item = DTYPES[e.dtype].block_bytes
    raw = reader.raw(e, range(cols.start, cols.stop), slice(rows.start, rows.stop))
    out: U8 = (
        raw.reshape(len(raw), len(rows), item)
        .transpose(1, 0, 2)
        .reshape(len(rows), len(raw) * item)
    )
    return out


def _blocks(e: TensorEntry, reader: FileReader) -> Iterator[U8]:
    """All of a tensor in pieces, alike for tensors of one kind."""
    rows, cols = _size(e)
    block, tall = DTYPES[e.dtype].block, DTYPES[e.dtype].tall
    wide = cols if tall > 1 else max(block, min(cols, _PIECE) // block * block)
    for at in runs(rows, max(1, _PIECE // max(1, wide))):
        for first in range(0, cols, max(1, wide)):
            yield _block(e, at, slice(first, min(first + wide, cols)), reader)


class _Whole:
    """Compares tensors of one kind and sign, reading all of them."""

    def __init__(self, reader: FileReader) -> None:
        self.reader, self.varies = reader, False
        self.digests: dict[tuple[int, str], bytes] = {}

    def equal(self, x: Sequence[TensorEntry], y: Sequence[TensorEntry]) -> bool:
        """The tensors `x` of A are the tensors `y` of B, in some order."""
        if len(x) == 1:
            both = zip(_blocks(x[0], self.reader), _blocks(y[0], self.reader), strict=True)
            return all(self._same(x[0], p, q) for p, q in both)
        for side, entries in enumerate((x, y)):
            for e in entries:
                self.digests[side, e.name] = self._digest(e)
        return Counter(self.digests[0, e.name] for e in x) == Counter(
            self.digests[1, e.name] for e in y
        )

    def _same(self, e: TensorEntry, p: U8, q: U8) -> bool:
        self._look(e, p)
        return bool(np.array_equal(p, q))

    def _digest(self, e: TensorEntry) -> bytes:
        out = blake2b(digest_size=32)
        for block in _blocks(e, self.reader):
            self._look(e, block)
            out.update(np.ascontiguousarray(block).data)
        return out.digest()

    def _look(self, e: TensorEntry, block: U8) -> None:
        """Is this no constant? Told by the stored numbers themselves, or their words."""
        item = DTYPES[e.dtype].block_bytes if DTYPES[e.dtype].tall == 1 else 1
        if not self.varies and block.size:
            cells = block.reshape(-1, item)
            self.varies = bool((cells != cells[:1]).any())


def _same_files(x: Sequence[Path], y: Sequence[Path], reader: FileReader) -> bool:
    """The files are equal byte by byte, in some order."""
    sizes = [Counter(os.path.getsize(f) for f in side) for side in (x, y)]
    return sizes[0] == sizes[1] and Counter(_file_digest(f, reader) for f in x) == Counter(
        _file_digest(f, reader) for f in y
    )


def _file_digest(file: Path, reader: FileReader) -> bytes:
    out, size = blake2b(digest_size=32), os.path.getsize(file)
    entry = TensorEntry(file.name, (size,), "U8", file, 0, size)
    for at in runs(size, _CHUNK):
        out.update(np.ascontiguousarray(reader.raw(entry, None, slice(at.start, at.stop))).data)
    return out.digest()
