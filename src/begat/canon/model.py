"""The canonical model: what `resolve` delivers and every signal walks.

Enters (from `resolve.py`): a checkpoint's entries, renamed and un-fused.  Leaves: `Canonical.read(key, rows)`, the accounting
of every stored tensor, and the geometry (head counts, expert groups, symmetric axes) per tower.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from begat.source.pieces import PIECE
from begat.types import F32, I64, U8, Checkpoint, Rows, TensorKey


@dataclass(frozen=True, slots=True)
class CanonTensor:
    """Where a canonical tensor lies inside a stored one.

    A canonical matrix is [out, in] as in torch's Linear: `stored[rows][:, cols]`, transposed afterwards when `transposed`.
    A canonical vector is `stored.ravel()[rows]`.

    Attributes:
        name: the stored tensor.
        shape: canonical shape, (out, in) or (n,).
        rows: rows of the stored matrix view (of a vector: its elements).
        cols: columns of the stored matrix view, None = all (an index array only where `transposed`).
        transposed: stored as [in, out]; canonical rows are then stored columns and costly to sample.
    """

    key: TensorKey
    name: str
    shape: tuple[int, ...]
    rows: Rows
    cols: slice | I64 | None = None
    transposed: bool = False

    @property
    def is_vector(self) -> bool:
        """One-dimensional."""
        return len(self.shape) == 1


@dataclass(frozen=True, slots=True)
class Geometry:
    """What a tower's config and shapes say about its axes; None = unknown, and then nothing that needs it is tested.

    Attributes:
        width: size of the residual stream.
        heads, kv_heads, head_dim, value_dim: attention geometry (value_dim differs from head_dim under MLA).
        expert_groups: number of equal groups routing is limited to (1 = ungrouped); None = unknown.
        symmetric: axis name → why it is a symmetry, for the axes that are (`families.toml`).
        asymmetric: axis name → why it is not, or why that is unknown.
    """

    width: int | None
    heads: int | None
    kv_heads: int | None
    head_dim: int | None
    value_dim: int | None
    expert_groups: int | None
    symmetric: Mapping[str, str] = field(default_factory=dict)
    asymmetric: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Canonical:
    """A checkpoint under canonical names. Every stored tensor is in exactly one of the three lists.

    Attributes:
        family: the matched family ("llama", "gpt2", …; "" when only generic names matched).
        tensors: canonical key → place, ordered by key.
        mapped: stored names that are used.
        dropped: (stored name, reason).
        unmapped: stored names no rule knows.
        geometry: tower → geometry.
    """

    checkpoint: Checkpoint
    family: str
    tensors: Mapping[TensorKey, CanonTensor]
    mapped: tuple[str, ...]
    dropped: tuple[tuple[str, str], ...]
    unmapped: tuple[str, ...]
    geometry: Mapping[str, Geometry]

    def read(self, key: TensorKey, rows: Rows | None = None) -> F32:
        """Canonical rows (all by default) as float32 [len(rows), in]; of a vector its elements, [len(rows)]."""
        t = self.tensors[key]
        _check_bounds(t, rows)
        if t.is_vector:
            return self._elements(t.name, _pick(t.rows, rows))
        if not t.transposed:
            assert not isinstance(t.cols, np.ndarray)
            return self.checkpoint.read(t.name, _pick(t.rows, rows), t.cols)
        return self._read_transposed(t, rows)

    def raw(self, key: TensorKey, rows: Rows | None = None) -> U8 | None:
        """Stored bytes of canonical rows, or None where they are no whole stored rows."""
        t = self.tensors[key]
        _check_bounds(t, rows)
        if t.is_vector or t.transposed or t.cols is not None:
            return None
        return self.checkpoint.raw(t.name, _pick(t.rows, rows))

    def read_columns(self, key: TensorKey, columns: Rows) -> F32:
        """Canonical columns of a matrix stored transposed (whole stored rows, cheap), as float32 [len(columns), out]."""
        t = self.tensors[key]
        assert t.transposed
        return self.checkpoint.read(t.name, _pick(t.rows, columns), t.cols)

    def _elements(self, name: str, at: Rows) -> F32:
        """Elements of a stored tensor, counted row by row, reading little more than them: a vector may be of any length."""
        entry = self.checkpoint.entries[name]
        if not isinstance(at, range) or at.step != 1:
            want = np.asarray(at, dtype=np.int64)
            out = np.empty(len(want), dtype=np.float32)
            window = want // PIECE
            for w in np.unique(window):
                here = window == w
                out[here] = self._elements(name, range(w * PIECE, min((w + 1) * PIECE, entry.size)))[want[here] - w * PIECE]
            return out
        if not len(at):
            return np.empty(0, dtype=np.float32)
        if entry.rows == 1:
            return self.checkpoint.read(name, None, slice(at.start, at.stop)).ravel()
        first, last = at.start // entry.cols, (at.stop - 1) // entry.cols
        values = self.checkpoint.read(name, range(first, last + 1)).ravel()
        return values[at.start - first * entry.cols :][: len(at)]

    def _read_transposed(self, t: CanonTensor, rows: Rows | None, chunk: int = 1 << 22) -> F32:
        """Stored columns as canonical rows, reading at most `chunk` values at a time."""
        want = np.arange(t.shape[0]) if rows is None else np.asarray(rows)
        out = np.empty((len(want), t.shape[1]), dtype=np.float32)
        stored_cols = self.checkpoint.entries[t.name].cols
        at_cols = want if t.cols is None else np.arange(stored_cols)[t.cols][want]
        step = max(1, chunk // max(1, stored_cols))
        for first in range(0, t.shape[1], step):
            at = _pick(t.rows, range(first, min(first + step, t.shape[1])))
            out[:, first : first + step] = self.checkpoint.read(t.name, at, at_cols).T
        return out


def _check_bounds(t: CanonTensor, rows: Rows | None) -> None:
    """Raise IndexError on rows that the tensor does not have: they would be its neighbour's in a fused one, or be left out."""
    if rows is None or not len(rows):
        return
    low, high = (min(rows[0], rows[-1]), max(rows[0], rows[-1])) if isinstance(rows, range) else (rows.min(), rows.max())
    if low < 0 or high >= t.shape[0]:
        raise IndexError(f"rows {low} to {high} of a tensor of {t.shape[0]} rows ('{t.name}')")


def _pick(outer: Rows, inner: Rows | None) -> Rows:
    """outer[inner] for ranges and index arrays, staying a range where possible."""
    if inner is None:
        return outer
    if isinstance(outer, range):
        if isinstance(inner, range):
            return outer[inner.start : inner.stop : inner.step]
        return outer.start + outer.step * inner
    return outer[inner.start : inner.stop : inner.step] if isinstance(inner, range) else outer[inner]
