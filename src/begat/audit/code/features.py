"""Tokens of a file → hashed features of each of its pieces, in three views.

Enters: a `Parsed` file.  Leaves: for each piece (a function, or the statements of a class body) three sorted arrays of distinct uint64 features with the
token each was seen at. What features are worth and which they share: `begat.audit.code.index`.

- `names`: whole statements (compound ones by their header) and compound expressions, names kept, classes of the package excepted.
- `trees`: the same, each name replaced by the distance to its last use inside the statement or expression, 0 where there is none. Order does not
  matter, and an edit costs what contains it.
- `shape`: k-grams of tokens, names replaced likewise inside the window.

Two stretches with names replaced by distances are equal exactly if one is the other with its names consistently exchanged (parameterised matching:
Baker, "A theory of parameterized pattern matching", STOC 1993).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from begat.audit.code.parse import Parsed

U64 = npt.NDArray[np.uint64]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]
VIEWS = ("names", "trees", "shape")
K = 12
SHORTEST = {"names": 5, "trees": 6}
LONGEST = 200
_STEP = 0x9E3779B97F4A7C15


@dataclass(frozen=True, slots=True)
class Features:
    """Distinct features of one piece in one view: hashes, sorted; tokens each spans; the token (into the file's stream) where each is first seen."""

    hashes: U64
    sizes: I32
    at: I32


@dataclass(frozen=True, slots=True)
class Piece:
    """Features of one piece by view, and how many tokens it has."""

    views: dict[str, Features]
    tokens: int


def worth(view: str, sizes: I32) -> F64:
    """Weight of features before their rarity: the square root of a tree's tokens (64 at most), 1 for a k-gram."""
    return np.ones(len(sizes)) if view == "shape" else np.sqrt(np.minimum(sizes, 64).astype(np.float64))


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
    begins, sizes = _trees(parsed)
    with np.errstate(over="ignore"):
        shape = _grams(code, back)
        names = _ranges(name, np.zeros_like(back), begins, sizes)
        trees = _ranges(code, back, begins, sizes)
    return list(_pieces(parsed.bounds, shape, {"names": names, "trees": trees}, begins, sizes))


def _trees(parsed: Parsed) -> tuple[I64, I64]:
    """First token and number of tokens of every statement and compound expression, by first token."""
    statement = np.asarray(parsed.stream.statement, np.int64)
    begins = np.flatnonzero(np.diff(statement, prepend=-1))
    sizes = np.diff(begins, append=len(statement))
    inner = np.asarray(parsed.stream.trees, np.int64).reshape(-1, 2)
    begins, sizes = np.r_[begins, inner[:, 0]], np.r_[sizes, inner[:, 1]]
    kept = (sizes >= min(SHORTEST.values())) & (sizes <= LONGEST)
    order = np.argsort(begins[kept], kind="stable")
    return begins[kept][order], sizes[kept][order]


def _grams(code: U64, back: I64) -> U64:
    """Hash of the K tokens from each token on."""
    count = max(len(code) - K + 1, 0)
    total = np.zeros(count, np.uint64)
    for j in range(K):
        inside = back[j : j + count]
        token = code[j : j + count] + np.where(inside <= j, inside, 0).astype(np.uint64)
        total += mixed(token ^ np.uint64(_STEP * (j + 1) % 2**64))
    return mixed(total)


def _ranges(code: U64, back: I64, begins: I64, sizes: I64) -> U64:
    """Hash of each stretch of tokens."""
    if not len(begins):
        return np.zeros(0, np.uint64)
    firsts = np.cumsum(sizes) - sizes
    place = np.arange(int(sizes.sum())) - np.repeat(firsts, sizes)
    at = np.repeat(begins, sizes) + place
    token = code[at] + np.where(back[at] <= place, back[at], 0).astype(np.uint64)
    each = mixed(token ^ (np.uint64(_STEP) * (place.astype(np.uint64) + np.uint64(1))))
    return mixed(np.add.reduceat(each, firsts))


def _pieces(bounds: tuple[tuple[int, int], ...], shape: U64, trees: dict[str, U64], begins: I64, sizes: I64) -> Iterator[Piece]:
    for begin, end in bounds:
        stop = max(end - K + 1, begin)
        views = {"shape": _distinct(shape[begin:stop], np.full(stop - begin, K), np.arange(begin, stop))}
        low, high = np.searchsorted(begins, (begin, end))
        for view, hashes in trees.items():
            long = low + np.flatnonzero(sizes[low:high] >= SHORTEST[view])
            views[view] = _distinct(hashes[long], sizes[long], begins[long])
        yield Piece(views, end - begin)


def _distinct(hashes: U64, sizes: I64, at: I64) -> Features:
    found, first = np.unique(hashes, return_index=True)
    return Features(found, sizes[first].astype(np.int32), at[first].astype(np.int32))
