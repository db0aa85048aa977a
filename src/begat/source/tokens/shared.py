"""Which rows of two embedding tables stand for the same string.

Enters: two vocabularies and the tables' row counts.  Leaves: pairs of ids.  A wrong pair costs power and never an alarm: what is fitted
on shared tokens is tested on an order that the tokens do not touch (statistics.md).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from begat.source.tokens.base import Vocabulary
from begat.types import I64


@dataclass(frozen=True, slots=True)
class SharedTokens:
    """Rows that stand for the same string, one-to-one.

    Attributes:
        ids_a, ids_b: row of A and row of B, int64 [S], in the order of A's ids; S may be 0.
        rows_a, rows_b: rows of the two tables, echoed.
        how: what they were matched by, in words.
        notes: what was left out, in words.
    """

    ids_a: I64
    ids_b: I64
    rows_a: int
    rows_b: int
    how: str
    notes: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """S, shared tokens."""
        return len(self.ids_a)


def shared_tokens(a: Vocabulary, b: Vocabulary, rows_a: int, rows_b: int) -> SharedTokens:
    """Pair the text tokens of A and B by canonical spelling.

    Special tokens and unused rows are left out: the former are trained on one position of a template, the latter not at all.

    Args:
        a, b: from `read_vocabulary`.
        rows_a, rows_b: rows of the embedding tables; ids beyond them are left out.
    """
    other = b.tokens
    pairs = [(i, other[token]) for token, i in a.tokens.items() if token in other]
    ids_S2 = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    there_S = (ids_S2[:, 0] < rows_a) & (ids_S2[:, 1] < rows_b)
    kept_S2 = ids_S2[there_S]
    kept_S2 = kept_S2[np.argsort(kept_S2[:, 0], kind="stable")]
    notes = [
        _count(len(ids_S2) - len(kept_S2), "shared tokens have an id beyond the embedding"),
        _count(_both(a.special, b.special), "special tokens of the same name left out"),
        _count(_both(a.unused, b.unused), "unused tokens of the same name left out"),
        *(f"{side}: {note}" for side, v in (("A", a), ("B", b)) for note in v.notes),
    ]
    how = "by token string" if a.format == b.format else f"by token string ({a.format}, {b.format})"
    return SharedTokens(
        np.ascontiguousarray(kept_S2[:, 0]),
        np.ascontiguousarray(kept_S2[:, 1]),
        rows_a,
        rows_b,
        how,
        tuple(n for n in notes if n),
    )


def same_rows(rows: int) -> SharedTokens:
    """Row i of A with row i of B: for two tables of one size of which neither has a tokenizer. It is the caller who assumes so."""
    ids_S = np.arange(rows, dtype=np.int64)
    return SharedTokens(ids_S, ids_S.copy(), rows, rows, "by row number: neither has a tokenizer, and the tables have one size")


def _both(a: Iterable[str], b: Iterable[str]) -> int:
    return len(set(a) & set(b))


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n else ""
