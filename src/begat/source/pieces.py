"""Cut a stored tensor into pieces of bounded size, whatever its shape.

Enters: a `TensorEntry`.  Leaves: rows and columns of its matrix view, to be read one after
another.  A vector is one row, so a file may hold rows of any length: what is read whole must be
bounded by something else.
"""

from __future__ import annotations

from collections.abc import Iterator

from begat.source.dtypes import DTYPES
from begat.types import TensorEntry

#: values of a piece: 16 MiB as float32
PIECE = 1 << 22


def pieces(entry: TensorEntry, most: int = PIECE) -> Iterator[tuple[range, slice | None]]:
    """(rows, columns) of pieces of at most `most` values, in stored order; columns None = all.

    Rows that share their stored words cannot be cut along columns, and come whole.
    """
    dtype = DTYPES[entry.dtype]
    if entry.cols > most and dtype.tall == 1:
        step = max(1, most // dtype.block) * dtype.block
        for row in range(entry.rows):
            for first in range(0, entry.cols, step):
                yield range(row, row + 1), slice(first, min(first + step, entry.cols))
        return
    step = max(1, most // max(1, entry.cols))
    for first in range(0, entry.rows, step):
        yield range(first, min(first + step, entry.rows)), None


def runs(n: int, most: int) -> Iterator[range]:
    """0 … n - 1 in ranges of at most `most`."""
    return (range(first, min(first + most, n)) for first in range(0, n, most))
