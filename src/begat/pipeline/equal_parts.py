"""Single tensors that hold equal values in both models, whatever else they share.

Enters: two canonical models and the map's cells.  Leaves: names of tensors with equal values.  They prove no descent: a table that
both programs compute alike (sinusoids, filter banks) is equal in strangers too; but a headline that says "no evidence" may not
pass over them.  Equality of whole models: `equality.py`.

Mapped tensors are taken from cells that compared every value; tensors with unknown names are compared under their own, until the
first run that differs. Constants, and tensors of fewer than 64 values, say nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from begat.canon.model import Canonical
from begat.source.dtypes import DTYPES
from begat.source.pieces import pieces
from begat.types import MapCell, TensorEntry, TensorKey

#: fewer values may be equal by the same rule or by chance
LEAST = 64
_RUN = 1 << 20


def equal_parts(a: Canonical, b: Canonical, cells: Sequence[MapCell]) -> tuple[str, ...]:
    """Names of equal tensors: canonical ones of mapped tensors first, then stored ones."""
    mapped = []
    for c in cells:
        whole = c.identical and c.n == c.total >= LEAST
        if whole and _varies(a, TensorKey(c.tower, c.layer, c.role, c.expert)):
            mapped.append(str(TensorKey(c.tower, c.layer, c.role, c.expert)))
    x, y = a.checkpoint.entries, b.checkpoint.entries
    theirs = set(b.unmapped)
    unknown = [n for n in a.unmapped if n in theirs and _same_place(x[n], y[n])]
    return (*mapped, *(n for n in unknown if _equal(a, b, n)))


def _varies(model: Canonical, key: TensorKey) -> bool:
    t = model.tensors[key]
    at = range(min(t.shape[0], _RUN if t.is_vector else max(1, _RUN // max(1, t.shape[1]))))
    values = model.read(key, at)
    return bool((values != values.flat[0]).any())


def _same_place(x: TensorEntry, y: TensorEntry) -> bool:
    return x.shape == y.shape and x.dtype == y.dtype and x.scaling is None and y.scaling is None and x.size >= LEAST


def _equal(a: Canonical, b: Canonical, name: str) -> bool:
    entry = a.checkpoint.entries[name]
    varies = False
    # strangers differ at once, so the first piece is short
    few = [(range(1), slice(0, LEAST))] if DTYPES[entry.dtype].block == DTYPES[entry.dtype].tall == 1 else []
    for rows, cols in (*few, *pieces(entry, _RUN)):
        x = a.checkpoint.raw(name, rows, cols)
        if not np.array_equal(x, b.checkpoint.raw(name, rows, cols)):
            return False
        item = max(1, x.shape[1] // max(1, entry.cols if cols is None else len(range(*cols.indices(entry.cols)))))
        cells = x.reshape(-1, item)
        varies = varies or bool((cells != cells[:1]).any())
    return varies
