"""Tokens of a file → hashed features of each of its pieces, in three views.

Enters: a `Parsed` file.  Leaves: for each piece (a function, or the statements of a class body) three sorted arrays of distinct uint64 features with the
token each was seen at. What features are worth and which they share: `begat.audit.code.index`.

- `names`: k-grams of tokens, names kept (classes of the package excepted).
- `shape`: k-grams of tokens, each name replaced by the distance to its last use inside the window, 0 where the window holds none. Two windows are equal
  exactly if one is the other with its names consistently exchanged (parameterised matching: Baker, "A theory of parameterized pattern matching", STOC 1993).
- `statements`: whole statements (compound ones by their header), names replaced likewise inside the statement. Order does not matter, and an edit costs one statement.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from begat.audit.code.parse import Parsed

U64 = npt.NDArray[np.uint64]
I32 = npt.NDArray[np.int32]
VIEWS = ("names", "shape", "statements")
K = {"names": 12, "shape": 16}
SHORTEST_STATEMENT = 8
_STEP = 0x9E3779B97F4A7C15


@dataclass(frozen=True, slots=True)
class Features:
    """Distinct features of one piece in one view: hashes, sorted; the number of tokens each spans; the token (into the file's stream) where each is first seen."""

    hashes: U64
    sizes: I32
    at: I32


@dataclass(frozen=True, slots=True)
class Piece:
    """Features of one piece by view, and how many tokens it has."""

    views: dict[str, Features]
    tokens: int


def mixed(x: U64) -> U64:
    """The finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): every bit of the argument reaches every bit of the value."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def features(parsed: Parsed) -> list[Piece]:
    """Features of every piece of a file."""
    code = np.asarray(parsed.stream.code, np.uint64)
    name = np.asarray(parsed.stream.name, np.uint64)
    back = np.asarray(parsed.stream.back, np.int64)
    statement = np.asarray(parsed.stream.statement, np.int64)
    with np.errstate(over="ignore"):
        grams = {"names": _grams(name, None, K["names"]), "shape": _grams(code, back, K["shape"])}
        begins, hashes, sizes = _statements(code, back, statement)
    return list(_pieces(parsed.bounds, grams, begins, hashes, sizes))


def _grams(code: U64, back: npt.NDArray[np.int64] | None, k: int) -> U64:
    """Hash of the k tokens from each token on; shorter at the end of the file."""
    count = max(len(code) - k + 1, 0)
    total = np.zeros(count, np.uint64)
    for j in range(k):
        token = code[j : j + count]
        if back is not None:
            inside = back[j : j + count]
            token = token + np.where(inside <= j, inside, 0).astype(np.uint64)
        total += mixed(token ^ np.uint64(_STEP * (j + 1) % 2**64))
    return mixed(total)


def _statements(code: U64, back: npt.NDArray[np.int64], statement: npt.NDArray[np.int64]) -> tuple[I32, U64, I32]:
    """First token, hash and number of tokens of every statement."""
    if not len(code):
        return np.zeros(0, np.int32), np.zeros(0, np.uint64), np.zeros(0, np.int32)
    begins = np.flatnonzero(np.r_[True, statement[1:] != statement[:-1]])
    sizes = np.diff(np.r_[begins, len(code)])
    place = np.arange(len(code)) - np.repeat(begins, sizes)
    token = code + np.where(back <= place, back, 0).astype(np.uint64)
    each = mixed(token ^ (np.uint64(_STEP) * (place.astype(np.uint64) + np.uint64(1))))
    return begins.astype(np.int32), mixed(np.add.reduceat(each, begins)), sizes.astype(np.int32)


def _pieces(bounds: tuple[tuple[int, int], ...], grams: dict[str, U64], begins: I32, hashes: U64, sizes: I32) -> Iterator[Piece]:
    for begin, end in bounds:
        views = {}
        for view, k in K.items():
            stop = max(end - k + 1, begin)
            views[view] = _distinct(grams[view][begin:stop], np.full(stop - begin, k, np.int32), np.arange(begin, stop, dtype=np.int32))
        low, high = np.searchsorted(begins, (begin, end))
        long = np.flatnonzero(sizes[low:high] >= SHORTEST_STATEMENT) + low
        views["statements"] = _distinct(hashes[long], sizes[long], begins[long])
        yield Piece(views, end - begin)


def _distinct(hashes: U64, sizes: I32, at: I32) -> Features:
    found, first = np.unique(hashes, return_index=True)
    return Features(found, sizes[first], at[first])
