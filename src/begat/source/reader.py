"""The one reader of weight bytes: rows on demand, counted, never a whole checkpoint in memory.

Enters: a `TensorEntry` and row indices.  Leaves: float32 rows or their stored bytes.  pread, not mmap: a scattered read of a
network disk through mmap is many times slower, and a truncated file is an error instead of a SIGBUS.
"""

from __future__ import annotations

import os
import stat
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from threading import Lock

import numpy as np

from begat.errors import InputError
from begat.source.dtypes import DTYPES, NIBBLES, decode, nibbles
from begat.types import F32, I64, U8, Rows, Scaling, TensorEntry

_OPEN_FILES = 32
_NO_WAIT = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)  # a named pipe must not block the open
_WHOLE_SPAN_LIMIT = 1 << 31  # a strided tensor is read as its whole span; refuse absurd ones


class FileReader:
    """Reads rows of entries from local files. Safe to share between threads."""

    def __init__(self) -> None:
        self.bytes_read = 0
        self._fds: OrderedDict[Path, int] = OrderedDict()
        self._lock = Lock()

    def rows(self, entry: TensorEntry, rows: Rows | None, cols: slice | I64 | None = None) -> F32:
        """Rows of the matrix view, dequantised, as float32 [len(rows), n_cols]; see `begat.types.Reader`."""
        at = _checked(entry, rows)
        dtype = DTYPES[entry.dtype]
        if entry.strides is not None and row_pitch(entry) is None:
            return _cut(self._strided(entry)[np.asarray(at)], cols)
        if dtype.loose and entry.cols % 2:
            values = NIBBLES[entry.dtype][self._odd_rows(entry, at)]
            return _cut(self._scaled(values, entry, at, np.arange(entry.cols)), cols)
        if isinstance(cols, slice) and dtype.tall == 1:
            start, stop, step = cols.indices(entry.cols)
            if step == 1 and start <= stop:
                first, last = start // dtype.block, -(-stop // dtype.block)
                raw = self._segments(entry, at, first * dtype.block_bytes, (last - first) * dtype.block_bytes)
                values = decode(entry.dtype, raw)[:, start - first * dtype.block : stop - first * dtype.block]
                return self._scaled(values, entry, at, np.arange(start, stop))
        want = np.arange(entry.cols)[cols] if isinstance(cols, slice) else cols
        values = self._stacked(entry, at, want) if dtype.tall > 1 else _decoded(entry.dtype, self.raw(entry, at), want)
        return self._scaled(values, entry, at, np.arange(entry.cols) if want is None else want)

    def raw(self, entry: TensorEntry, rows: Rows | None, cols: slice | None = None) -> U8:
        """Stored bytes of rows [len(rows), row_bytes]; strided tensors come out as contiguous rows of their type, and of rows that share
        words or bytes, the integers.

        cols: columns to read, from the first of a block to the last of one.
        """
        at = _checked(entry, rows)
        dtype = DTYPES[entry.dtype]
        first, last, _ = (cols or slice(None)).indices(entry.cols)
        if dtype.loose and entry.cols % 2:
            return self._odd_rows(entry, at)[:, first:last]
        if dtype.tall > 1:
            return self._stacked(entry, at, None).astype(np.uint8)[:, first:last]
        if entry.strides is not None and row_pitch(entry) is None:
            cells = self._strided_raw(entry)[np.asarray(at), first:last]
            return np.ascontiguousarray(cells).reshape(len(at), (last - first) * dtype.block_bytes)
        return self._segments(entry, at, dtype.row_bytes(first), dtype.row_bytes(max(0, last - first)))

    def scales(self, entry: TensorEntry, rows: Rows, cols: Rows) -> F32:
        """The scale of every value [len(rows), len(cols)]; see `begat.types.Reader`."""
        assert entry.scaling is not None
        return self._spread(entry.scaling, entry.scaling.scale, entry.cols, rows, np.asarray(cols, dtype=np.int64))

    def close(self) -> None:
        """Close every open file."""
        with self._lock:
            for fd in self._fds.values():
                os.close(fd)
            self._fds.clear()

    def _segments(self, entry: TensorEntry, at: Rows, skip: int, length: int) -> U8:
        """Bytes [skip, skip+length) of each of the rows `at`, consecutive rows in one read where that is all of them."""
        pitch = row_pitch(entry) or DTYPES[entry.dtype].row_bytes(entry.cols)
        out = np.empty((len(at), length), dtype=np.uint8)
        if not out.nbytes:
            return out
        with self._lock:
            fd = self._fd(entry.file)
            if length == pitch and not skip:
                for first, count, start in _runs(at):
                    self._read_into(fd, entry, out[first : first + count], entry.offset + start * pitch)
            else:
                for i, row in enumerate(at):
                    self._read_into(fd, entry, out[i], entry.offset + int(row) * pitch + skip)
        return out

    def _read_into(self, fd: int, entry: TensorEntry, out: U8, offset: int) -> None:
        if not out.nbytes:
            return
        if entry.data is not None:
            out.reshape(-1)[:] = np.frombuffer(entry.data, np.uint8, out.nbytes, offset)
            self.bytes_read += out.nbytes
            return
        view = out.data.cast("B")
        done = 0
        while done < out.nbytes:
            try:
                n = os.preadv(fd, [view[done:]], offset + done)
            except OSError as err:
                raise InputError(
                    f"cannot be read: {err.strerror}",
                    file=entry.file,
                    tensor=entry.name,
                    fix="check the disk and the file's permissions",
                ) from None
            if n == 0:
                raise InputError(
                    "file ends inside a tensor", file=entry.file, tensor=entry.name,
                    expected=f"{out.nbytes} bytes at {offset}", found=f"{done}", fix="download the file again",
                )  # fmt: skip
            done += n
        self.bytes_read += done

    def _fd(self, path: Path) -> int:
        if path in self._fds:
            self._fds.move_to_end(path)
            return self._fds[path]
        try:
            fd = os.open(path, os.O_RDONLY | _NO_WAIT)
        except OSError as err:
            raise InputError(
                f"cannot be read: {err.strerror}", file=path, fix="check the disk and the file's permissions"
            ) from None
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise InputError("is not a regular file", file=path, fix="name a weight file")
        self._fds[path] = fd
        if len(self._fds) > _OPEN_FILES:
            os.close(self._fds.popitem(last=False)[1])
        return fd

    def _strided_raw(self, entry: TensorEntry) -> U8:
        """A strided tensor as [rows, cols, item bytes]."""
        assert entry.strides is not None
        item = DTYPES[entry.dtype].block_bytes
        if entry.nbytes > _WHOLE_SPAN_LIMIT:
            raise InputError(
                "a non-contiguous tensor this large is not read", file=entry.file, tensor=entry.name,
                expected=f"at most {_WHOLE_SPAN_LIMIT} bytes", found=entry.nbytes,
                fix="save it with .contiguous()",
            )  # fmt: skip
        span = np.empty(entry.nbytes, dtype=np.uint8)
        with self._lock:
            self._read_into(self._fd(entry.file), entry, span, entry.offset)
        # the header parser checked that offset + strides stay inside nbytes, so the view cannot leave `span`
        cells = np.lib.stride_tricks.as_strided(
            span, (*entry.shape, item), (*(s * item for s in entry.strides), 1), writeable=False
        )
        return np.ascontiguousarray(cells).reshape(entry.rows, entry.cols, item)

    def _strided(self, entry: TensorEntry) -> F32:
        raw = self._strided_raw(entry)
        values = decode(entry.dtype, raw.reshape(entry.rows, -1))
        return self._scaled(values, entry, range(entry.rows), np.arange(entry.cols))

    def _stacked(self, entry: TensorEntry, at: Rows, cols: I64 | None) -> F32:
        """Rows that share their words with others: all the rows of these words are decoded, and those asked for picked."""
        tall = DTYPES[entry.dtype].tall
        rows = np.asarray(at, dtype=np.int64)
        stacks = np.unique(rows // tall)
        raw = self._segments(entry, stacks, 0, DTYPES[entry.dtype].row_bytes(entry.cols))
        if cols is not None:
            raw = np.ascontiguousarray(raw.view("<u4").reshape(len(stacks), raw.shape[1] // (4 * entry.cols), entry.cols)[:, :, cols])
            raw = raw.reshape(len(stacks), raw.shape[1] * raw.shape[2]).view(np.uint8)
        values = decode(entry.dtype, raw)
        where = np.searchsorted(stacks, rows // tall) * tall + rows % tall
        return values if np.array_equal(where, np.arange(len(values))) else values[where]

    def _odd_rows(self, entry: TensorEntry, at: Rows) -> U8:
        """The codes of rows of an odd number of half bytes [len(at), cols]: every second row starts in the middle of a byte."""
        starts = np.asarray(at, dtype=np.int64) * entry.cols
        out = np.empty((len(starts), -(-entry.cols // 2)), dtype=np.uint8)
        with self._lock:
            fd = self._fd(entry.file)
            for i, start in enumerate(starts.tolist()):
                self._read_into(fd, entry, out[i], entry.offset + start // 2)
        codes = nibbles(out, entry.dtype)
        return np.take_along_axis(codes, starts[:, None] % 2 + np.arange(entry.cols), axis=1)

    def _scaled(self, values: F32, entry: TensorEntry, rows: Rows, cols: I64) -> F32:
        """Apply the scales of these rows and columns of a matrix view to their values."""
        scaling = entry.scaling
        if scaling is None:
            return values
        if scaling.levels is not None:
            values = scaling.levels[values.astype(np.int64)]
        scale = self._spread(scaling, scaling.scale, entry.cols, rows, cols)
        with np.errstate(all="ignore"):  # damaged scales may be inf; weights that are not finite are refused where they are checked
            if scaling.zero is not None:
                values = values - (self._spread(scaling, scaling.zero, entry.cols, rows, cols) + np.float32(scaling.shift))
            elif scaling.shift:
                values = values - np.float32(scaling.shift)
            out: F32 = values / scale if scaling.divided else values * scale
            if scaling.bias is not None:
                out = out + self._spread(scaling, scaling.bias, entry.cols, rows, cols)
        return out

    def _spread(self, scaling: Scaling, source: F32 | TensorEntry, width: int, rows: Rows, cols: I64) -> F32:
        """Of every value its scale (zero point, bias): [len(rows), len(cols)], for a matrix view of `width` columns."""
        at = np.asarray(rows, dtype=np.int64)
        if not scaling.flat:
            row_of = at // scaling.block[0] if scaling.groups is None else scaling.groups[at]
            return self._picked(source, row_of, cols // scaling.block[1])
        where = (at[:, None] * width + cols) // scaling.flat
        if not isinstance(source, TensorEntry):
            found: F32 = source.ravel()[where]
            return found
        need, back = np.unique(where, return_inverse=True)
        spread: F32 = self.rows(source, None, need)[0][back].reshape(where.shape)
        return spread

    def _picked(self, source: F32 | TensorEntry, row_of: I64, col_of: I64) -> F32:
        """source[row_of, col_of], of a stored tensor reading no more than these rows."""
        if not isinstance(source, TensorEntry):
            return source[row_of][:, col_of]
        need, back = np.unique(row_of, return_inverse=True)
        whole = np.array_equal(col_of, np.arange(source.cols))
        return self.rows(source, need, None if whole else col_of)[back]


def row_pitch(entry: TensorEntry) -> int | None:
    """Bytes from one row to the next of a strided matrix whose rows are whole (a slice of a fused one), else None."""
    if entry.strides is None or len(entry.shape) != 2 or not entry.strides[0]:
        return None
    if entry.strides[1] != 1 and entry.shape[1] != 1:
        return None
    return entry.strides[0] * DTYPES[entry.dtype].block_bytes


def _checked(entry: TensorEntry, rows: Rows | None) -> Rows:
    """`rows`, or all rows. Raises IndexError on a row the tensor does not have: it would read its neighbour's bytes."""
    if rows is None:
        return range(entry.rows)
    if len(rows):
        low, high = (min(rows[0], rows[-1]), max(rows[0], rows[-1])) if isinstance(rows, range) else (rows.min(), rows.max())
        if low < 0 or high >= entry.rows:
            raise IndexError(f"rows {low} to {high} of a tensor of {entry.rows} rows ('{entry.name}')")
    return rows


def _cut(values: F32, cols: slice | I64 | None) -> F32:
    return values if cols is None else values[:, cols]


def _decoded(name: str, raw: U8, cols: I64 | None) -> F32:
    """Decode the blocks that hold these columns, and no others."""
    dtype = DTYPES[name]
    if cols is None:
        return decode(name, raw)
    need, back = np.unique(cols // dtype.block, return_inverse=True)
    blocks = np.ascontiguousarray(raw.reshape(len(raw), raw.shape[1] // dtype.block_bytes, dtype.block_bytes)[:, need])
    values = decode(name, blocks.reshape(len(raw), len(need) * dtype.block_bytes))
    return values[:, back * dtype.block + cols % dtype.block]


def _runs(at: Rows) -> Iterator[tuple[int, int, int]]:
    """(position, length, first row) of the runs of consecutive rows in `at`."""
    if isinstance(at, range) and at.step == 1:
        if len(at):
            yield 0, len(at), at.start
        return
    rows = np.asarray(at, dtype=np.int64)
    if not len(rows):
        return
    starts = np.flatnonzero(np.r_[True, np.diff(rows) != 1])
    ends = np.r_[starts[1:], len(rows)]
    for first, end in zip(starts.tolist(), ends.tolist(), strict=True):
        yield first, end - first, int(rows[first])
