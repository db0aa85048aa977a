"""Bit counts and nearest neighbours by Hamming distance, in blocks of probes.

Enters: blocks of probes as words [4, N] of 64 bits, queries as bytes [Q, 32].  Leaves: the k nearest of each query over all blocks.
An exact scan reads 32 bytes a probe once for all queries, so its floor is the memory's bandwidth; in practice counting bits of
Q × N pairs costs more (docs/index.md).  numpy counts bits from version 2 on; before that, by masks and shifts.

Shapes: B bytes of a probe (32), N probes of a block, Q queries, W words of a probe (4).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from begat.types import I64, U8

U64 = npt.NDArray[np.uint64]
WORDS = 4
_M1, _M2, _M4 = (np.uint64(m) for m in (0x5555555555555555, 0x3333333333333333, 0x0F0F0F0F0F0F0F0F))
_H = np.uint64(0x0101010101010101)


def words(bits_NB: U8) -> U64:
    """Probes as words, one row a word: uint64 [4, N]."""
    return np.ascontiguousarray(np.ascontiguousarray(bits_NB).view("<u8").T)


def unwords(words_WN: U64) -> U8:
    """The inverse of `words`: uint8 [N, 32]."""
    return np.ascontiguousarray(words_WN.T).view(np.uint8).reshape(words_WN.shape[1], WORDS * 8)


def _by_numpy(x_WN: U64) -> U8:
    count: Callable[[U64], U8] = np.bitwise_count
    total = count(x_WN[0])
    for x_N in x_WN[1:]:
        total += count(x_N)
    return total


def _by_masks(x_WN: U64) -> U8:
    """Counts of pairs, then of nibbles, two words at a time (Warren, Hacker's Delight, §5-1), summed by one product."""
    total = np.zeros(x_WN.shape[1], np.uint64)
    one, two, four = np.uint64(1), np.uint64(2), np.uint64(4)
    for at in range(0, WORDS, 2):
        pair_WN = x_WN[at : at + 2] - ((x_WN[at : at + 2] >> one) & _M1)
        nibble_N = ((pair_WN & _M2) + ((pair_WN >> two) & _M2)).sum(axis=0, dtype=np.uint64)
        total += (nibble_N & _M4) + ((nibble_N >> four) & _M4)
    return ((total * _H) >> np.uint64(56)).astype(np.uint8)


#: bits set in four words, modulo 256: a pair that differs in every bit reads 0 (`Nearest` looks twice)
count_bits = _by_numpy if hasattr(np, "bitwise_count") else _by_masks


def distances(words_WN: U64, query_B: U8) -> I64:
    """Hamming distance of one query to every probe, 0 to 256: int64 [N]."""
    x_WN = words_WN ^ np.ascontiguousarray(query_B).view("<u8")[:, None]
    low_N = count_bits(x_WN).astype(np.int64)
    low_N[(low_N == 0) & (x_WN[0] != 0)] = 256
    return low_N


class Nearest:
    """The k nearest of each query among all blocks shown so far; of equally near ones, those shown first."""

    def __init__(self, queries_QB: U8, k: int) -> None:
        self.k = k
        self._queries = np.ascontiguousarray(queries_QB)
        self._words_QW = self._queries.view("<u8")
        self._at: list[I64] = [np.empty(0, np.int64) for _ in self._queries]
        self._far: list[I64] = [np.empty(0, np.int64) for _ in self._queries]

    def show(self, words_WN: U64, first: int) -> None:
        """Look at a block; its probes are called first, first + 1, …"""
        for q, query_W in enumerate(self._words_QW):
            at_N = self._candidates(q, count_bits(words_WN ^ query_W[:, None]))
            if at_N.size:
                self._merge(q, at_N + first, distances(words_WN[:, at_N], self._queries[q]))

    def show_some(self, q: int, words_WN: U64, at_N: I64) -> None:
        """Look at probes called `at_N`, for query `q` alone; none may be shown twice to one query."""
        if at_N.size:
            self._merge(q, at_N, distances(words_WN, self._queries[q]))

    def found(self, q: int) -> tuple[I64, I64]:
        """(what the probes are called, distances) of query `q`, nearest first."""
        return self._at[q], self._far[q]

    def _candidates(self, q: int, low_N: U8) -> I64:
        """Positions that may be among the k nearest, by counts modulo 256."""
        full = len(self._far[q]) == self.k
        if full:
            return np.flatnonzero(low_N < self._far[q][-1])
        if low_N.size <= 4 * self.k:
            return np.arange(low_N.size)
        # a count of 0 may be a distance of 256: leave those out of the bound
        bound = np.partition(np.where(low_N == 0, 255, low_N), self.k - 1)[self.k - 1]
        return np.flatnonzero(low_N <= bound)

    def _merge(self, q: int, at_N: I64, far_N: I64) -> None:
        at = np.concatenate([self._at[q], at_N])
        far = np.concatenate([self._far[q], far_N])
        order = np.lexsort((at, far))[: self.k]
        self._at[q], self._far[q] = at[order], far[order]
