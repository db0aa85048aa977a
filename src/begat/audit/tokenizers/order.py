"""Do two tokenizers list what they share in one order?

Enters: ids of shared tokens in two vocabularies.  Leaves: the longest increasing subsequence, and what chance makes of it.

Null of the bound. Were the shared tokens in independent uniform order, the longest of n would be about 2 sqrt(n) (Vershik & Kerov 1977; Logan & Shepp 1977),
and P(longest >= k) <= C(n, k)/k! (`begat.stats.monotone`). That null is *too generous*: tokenizers trained apart both list frequent strings first, so
their orders correlate: on real pairs trained apart the longest run is up to 4.7 sqrt(n) (`benchmarks/audit/tokenizer_pairs.py`). The bound is
therefore shown, and the
judgement asks for a multiple of it that real pairs trained apart stay far below, and for a large share of the tokens besides.

Order means nothing where a rule fixed it: trainers list single characters by code point, and some vocabularies are sorted. Single characters are
left out, and two vocabularies that both follow the alphabet or the length of tokens are not compared by token order.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import TypeVar

from begat.stats.monotone import log10_p_increasing

K = TypeVar("K")
#: fewer shared tokens than this say nothing
LEAST = 300
#: least agreement, and least multiple of `chance_agreement`, from which one order is called the other's. Copies reach 1; tokenizers of the bench that were
#: trained apart reach at most 1.73 times chance, whatever their size from 400 to 100,000 shared tokens
ESTABLISHED = (0.5, 5.0)
#: the same, from which a common part is likely
INDICATED = (0.1, 2.5)


def threshold(limits: tuple[float, float], chance: float) -> float:
    """The agreement that `limits` ask for where chance reaches `chance`; above 1 where so few tokens are shared that nothing could reach it."""
    return max(limits[0], limits[1] * chance)


def longest_increasing(values: Sequence[int]) -> int:
    """Length of the longest strictly increasing subsequence, in n log n steps (Schensted 1961; patience sorting)."""
    tails: list[int] = []
    for value in values:
        at = bisect_left(tails, value)
        if at == len(tails):
            tails.append(value)
        else:
            tails[at] = value
    return len(tails)


def agreement(a: Mapping[K, int], b: Mapping[K, int]) -> tuple[int, int]:
    """(shared keys, longest run of them that both list in one order)."""
    shared = sorted((number, b[key]) for key, number in a.items() if key in b)
    return len(shared), longest_increasing([y for _, y in shared])


def chance_agreement(shared: int, log10_p: float = -6.0) -> float:
    """The agreement that independent uniform orders of `shared` tokens exceed with probability at most 10^`log10_p`; 1.0 when none is."""
    low, high = max(1, int(shared**0.5)), shared
    if shared < 1 or log10_p_increasing(high, shared) > log10_p:
        return 1.0
    while low < high:  # beyond sqrt(n) the bound falls with k
        middle = (low + high) // 2
        if log10_p_increasing(middle, shared) <= log10_p:
            high = middle
        else:
            low = middle + 1
    return low / shared


def learnt(tokens: Mapping[bytes, int]) -> dict[bytes, int]:
    """Tokens of several bytes that are no single character: those whose place training decided."""
    return {key: number for key, number in tokens.items() if len(key) > 4 or (len(key) > 1 and not _single(key))}


def _single(key: bytes) -> bool:
    try:
        return len(key.decode("utf-8")) == 1
    except UnicodeDecodeError:
        return False


def arranged(a: Mapping[bytes, int], b: Mapping[bytes, int]) -> str:
    """How both list their shared tokens by a rule ("in alphabetical order", "by length"), "" when they do not."""
    shared = [key for key in a if key in b]
    if len(shared) < LEAST:
        return ""
    limit = threshold(INDICATED, chance_agreement(len(shared)))
    for words, rule in (
        ("in alphabetical order", lambda k: k),
        ("by length", lambda k: (len(k), k)),
        ("by length", lambda k: (-len(k), k)),
    ):
        place = {key: n for n, key in enumerate(sorted(shared, key=rule))}
        if all(longest_increasing([place[k] for k in sorted(shared, key=v.__getitem__)]) >= limit * len(shared) for v in (a, b)):
            return words
    return ""
