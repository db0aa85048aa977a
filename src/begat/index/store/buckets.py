"""Hash tables over probes in a memory-mapped file: nearest neighbours by Hamming distance without looking at every probe.

Enters: probes and a file to write; later queries.  Leaves: the k nearest among the probes that share a bucket with the query.  Derived data: the
database beside it (`sqlite.py`) stays whole without it and can make it anew.

Bit sampling (Indyk & Motwani 1998) in `TABLES` disjoint groups of bits (multi-index hashing, Norouzi et al. 2012), each bucket probed with its
neighbours up to `RADIUS` bits away (multi-probe, Lv et al. 2007). Table t hashes a probe to the first `width` bits of its t-th 32 bits. A
neighbour whose bits differ independently at rate p is found with probability 1 - (1 - P[Bin(width, p) <= RADIUS]) ** TABLES; one that differs
in fewer than TABLES * (RADIUS + 1) = 24 bits is always found, since some group then holds at most two of them.

Shapes: N probes, B bytes of a probe (32), C candidates, T tables.
"""

from __future__ import annotations

import os
import zlib
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from begat.index.store.hamming import count_bits
from begat.index.store.records import WIDTH
from begat.types import I64, U8

U32 = npt.NDArray[np.uint32]
TABLES, RADIUS = 8, 2
#: probes of a bucket that the width of the key aims at. Fewer: quicker, and relatives at high flip rates are lost sooner (docs/index.md)
_FILL = 16
_CHUNK = 1 << 24


def width_for(n: int) -> int:
    """Bits of a key for `n` probes."""
    return min(28, max(8, (n // _FILL).bit_length()))


def recall(width: int, rate: float) -> float:
    """Probability that a neighbour whose bits differ independently at `rate` shares a bucket that is tried."""
    from math import comb

    near = sum(comb(width, j) * rate**j * (1 - rate) ** (width - j) for j in range(RADIUS + 1))
    return 1 - (1 - near) ** TABLES


def size(n: int, owner: int, width: int) -> int:
    """Bytes of the file for `n` probes with `owner` bytes of owner each."""
    return n * (WIDTH + owner + 4 * TABLES) + TABLES * 4 * ((1 << width) + 1)


def write(file: Path, bits_NB: U8, owners_N: npt.NDArray[Any], width: int) -> int:
    """Write the tables of `bits_NB` and force them to disk; returns the file's crc32."""
    crc = 0
    keys_TN = np.ascontiguousarray(bits_NB.view("<u4").T)
    with file.open("wb") as f:

        def put(array: npt.NDArray[Any]) -> None:
            nonlocal crc
            raw = np.ascontiguousarray(array).view(np.uint8).reshape(-1).data
            crc = zlib.crc32(raw, crc)
            f.write(raw)

        put(bits_NB)
        put(owners_N)
        for key_N in keys_TN[:TABLES]:
            bucket_N = key_N & np.uint32((1 << width) - 1)
            order_N = np.argsort(bucket_N, kind="stable").astype("<u4")
            starts = np.zeros((1 << width) + 1, "<u4")
            np.cumsum(np.bincount(bucket_N, minlength=1 << width), out=starts[1:])
            put(starts)
            put(order_N)
        f.flush()
        os.fsync(f.fileno())
    return crc


def crc_of(file: Path) -> int:
    """crc32 of a file."""
    crc = 0
    with file.open("rb") as f:
        while raw := f.read(_CHUNK):
            crc = zlib.crc32(raw, crc)
    return crc


class Damaged(Exception):
    """The file is not what was written."""


class Buckets:
    """An open file of tables; see the module."""

    def __init__(self, file: Path, n: int, owner: np.dtype[Any], width: int) -> None:
        """Map the file. Raises OSError when it is gone, Damaged when its size is wrong."""
        if file.is_symlink() or file.stat().st_size != size(n, owner.itemsize, width):
            raise Damaged
        raw: U8 = np.asarray(np.memmap(file, np.uint8, "r"))
        self.n, self.width = n, width
        at = n * WIDTH
        self._words_NW = raw[:at].view("<u8").reshape(n, -1)
        self.owners = raw[at : at + n * owner.itemsize].view(owner)
        at += n * owner.itemsize
        self._starts: list[U32] = []
        self._orders: list[U32] = []
        for _ in range(TABLES):
            for sections, length in ((self._starts, (1 << width) + 1), (self._orders, n)):
                sections.append(raw[at : at + 4 * length].view("<u4"))
                at += 4 * length
        flips = [sum(1 << b for b in some) for j in range(RADIUS + 1) for some in combinations(range(width), j)]
        self._flips = np.array(flips, np.uint32)

    def candidates(self, query_B: U8) -> I64:
        """Positions of the probes in the buckets tried; one may come once a table."""
        keys_T = np.ascontiguousarray(query_B).view("<u4")[:TABLES] & np.uint32((1 << self.width) - 1)
        found = []
        for key, starts, order in zip(keys_T, self._starts, self._orders, strict=True):
            bucket = self._flips ^ key
            begin, end = starts[bucket].astype(np.int64), starts[bucket + np.uint32(1)].astype(np.int64)
            length = end - begin
            if (length < 0).any() or (end > self.n).any():
                raise Damaged
            # begin[i], begin[i] + 1, … begin[i] + length[i] - 1 for every bucket i, in one array
            ends = np.cumsum(length)
            found.append(order.take(np.repeat(begin - ends + length, length) + np.arange(ends[-1])))
        at_C = np.concatenate(found).astype(np.int64)
        if at_C.size and at_C.max() >= self.n:
            raise Damaged
        return at_C

    def near(self, query_B: U8, k: int) -> tuple[I64, U8]:
        """(positions, probes [C, 32]) that hold the k nearest of the candidates, each once."""
        at_C = self.candidates(query_B)
        if not at_C.size:
            return at_C, np.empty((0, WIDTH), np.uint8)
        x_CW = self._words_NW.take(at_C, axis=0)  # several times as fast as indexing
        x_CW ^= np.ascontiguousarray(query_B).view("<u8")
        low_C = count_bits(np.ascontiguousarray(x_CW.T))
        many = k * TABLES  # a probe may stand in every table
        if low_C.size > many:
            at_C = at_C[np.argpartition(low_C, many)[:many]]
        at_C = np.unique(at_C)
        return at_C, self._words_NW.take(at_C, axis=0).view(np.uint8)
