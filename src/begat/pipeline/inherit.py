"""The inheritance map: same-index agreement of every tensor, from a few rows or from all.

Enters: two canonical models.  Leaves: `MapCell`s.  Numbers: `begat.signals.agreement`.

Full maps stream both files once: tensors of one layout are cut into runs of rows, equal bytes are recognised before decoding, and two
threads share the work (numpy and pread release the interpreter lock).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from begat.canon.model import Canonical
from begat.errors import InputError
from begat.pipeline.sampling import check_finite, generator
from begat.signals.agreement import Sums, cell
from begat.source.dtypes import DTYPES
from begat.source.pieces import runs
from begat.types import MapCell, Progress, Rows, TensorKey

#: values per run of rows in a full map; two runs and their decoded copies live at once in each thread
_RUN_VALUES = 1 << 20
_THREADS = 2
#: rows of each matrix in a sampled map, and routed experts of each layer
SAMPLED_ROWS = 4
SAMPLED_EXPERTS = 2


def common_keys(a: Canonical, b: Canonical) -> list[TensorKey]:
    """Keys of comparable tensors: one shape in A and B, or token tables of one width (compared over the shorter vocabulary)."""

    def fits(key: TensorKey) -> bool:
        x, y = a.tensors[key].shape, b.tensors[key].shape
        return x == y or (key.role in ("embed.tokens", "head.weight") and x[1:] == y[1:])

    return [k for k in sorted(a.tensors) if k in b.tensors and 0 not in a.tensors[k].shape and fits(k)]


def sampled_map(a: Canonical, b: Canonical, seed: int) -> tuple[MapCell, ...]:
    """Cells from `SAMPLED_ROWS` public rows of every matrix (of a few experts) and from whole vectors."""
    return tuple(_sampled_cell(a, b, key, seed) for key in _some_experts(a, b, seed))


def full_map(a: Canonical, b: Canonical, progress: Progress | None = None) -> tuple[MapCell, ...]:
    """Cells from every value of every common tensor."""
    keys = common_keys(a, b)
    totals = {key: Sums() for key in keys}
    jobs = [job for key in keys for job in _runs(a, b, key)]
    if progress:
        progress.start("inheritance map", len(jobs))
    with ThreadPoolExecutor(_THREADS) as pool:
        for job, sums in zip(jobs, pool.map(lambda j: _add_run(a, b, j), jobs), strict=True):
            totals[job.key].merge(sums)
            if progress:
                progress.step()
    if progress:
        progress.done()
    return tuple(cell(k, totals[k], _cells(a, b, k), a.tensors[k].is_vector) for k in keys)


def _cells(a: Canonical, b: Canonical, key: TensorKey) -> int:
    return min(math.prod(m.tensors[key].shape) for m in (a, b))


def _some_experts(a: Canonical, b: Canonical, seed: int) -> list[TensorKey]:
    keys = common_keys(a, b)
    chosen: dict[tuple[str, int], set[int]] = {}
    for key in keys:
        if key.expert >= 0 and (key.tower, key.layer) not in chosen:
            here = sorted({k.expert for k in keys if (k.tower, k.layer) == (key.tower, key.layer) and k.expert >= 0})
            pick = generator(seed, "map experts", key.tower, key.layer).permutation(len(here))[:SAMPLED_EXPERTS]
            chosen[key.tower, key.layer] = {here[i] for i in pick}
    return [k for k in keys if k.expert < 0 or k.expert in chosen[k.tower, k.layer]]


def _sampled_cell(a: Canonical, b: Canonical, key: TensorKey, seed: int) -> MapCell:
    x, y = a.tensors[key], b.tensors[key]
    sums = Sums()
    if x.is_vector:
        for at in _some_elements(key, x.shape[0], seed):
            _add(a, b, key, at, sums)
    else:
        by_columns = x.transposed and y.transposed
        n = x.shape[1] if by_columns else min(x.shape[0], y.shape[0])
        rows = np.sort(generator(seed, "map", str(key)).permutation(n)[:SAMPLED_ROWS]).astype(np.int64)
        _add(a, b, key, rows, sums, by_columns)
    return cell(key, sums, _cells(a, b, key), x.is_vector)


def _some_elements(key: TensorKey, n: int, seed: int) -> Iterator[range]:
    """All of a vector; of one that no norm or bias has, a few runs."""
    every = list(runs(n, _RUN_VALUES))
    pick = generator(seed, "map", str(key)).permutation(len(every))[:SAMPLED_ROWS]
    return (every[i] for i in sorted(pick))


@dataclass(frozen=True, slots=True)
class _Run:
    key: TensorKey
    rows: range
    by_columns: bool


def _runs(a: Canonical, b: Canonical, key: TensorKey) -> Iterator[_Run]:
    x, y = a.tensors[key], b.tensors[key]
    if x.is_vector:
        yield from (_Run(key, at, False) for at in runs(x.shape[0], _RUN_VALUES))
        return
    by_columns = x.transposed and y.transposed
    n, width = (x.shape[1], x.shape[0]) if by_columns else (min(x.shape[0], y.shape[0]), x.shape[1])
    step = max(1, _RUN_VALUES // max(1, width))
    if x.transposed != y.transposed:  # every run then streams the transposed side whole, so runs are few and large
        step = max(1, 64 * _RUN_VALUES // max(1, width))
    for first in range(0, n, step):
        yield _Run(key, range(first, min(first + step, n)), by_columns)


def _add_run(a: Canonical, b: Canonical, run: _Run) -> Sums:
    sums = Sums()
    _add(a, b, run.key, run.rows, sums, run.by_columns)
    return sums


def _add(a: Canonical, b: Canonical, key: TensorKey, at: Rows, sums: Sums, by_columns: bool = False) -> None:
    """Add the cells of rows `at` (of stored rows of two transposed tensors when `by_columns`)."""
    if a.tensors[key].is_vector:
        x, y = a.read(key, at), b.read(key, at)
        sums.add_vector(x, y)
    else:
        x, y = (_read(m, key, at, by_columns) for m in (a, b))
        n = min(x.shape[1], y.shape[1])  # by columns, the longer vocabulary has more of them
        sums.add(*(v if v.shape[1] == n else np.ascontiguousarray(v[:, :n]) for v in (x, y)))
    if not math.isfinite(sums.aa) or not math.isfinite(sums.bb):
        for model, values in ((a, x), (b, y)):
            check_finite(model, key, values)
        raise InputError("weights are too large to square", file=a.checkpoint.path, tensor=a.tensors[key].name)


def _read(model: Canonical, key: TensorKey, at: Rows, by_columns: bool) -> np.ndarray:
    if by_columns:
        return np.ascontiguousarray(model.read_columns(key, at))
    return np.ascontiguousarray(model.read(key, at))


def stored_type(model: Canonical, key: TensorKey) -> str:
    """The stored dtype of a canonical tensor."""
    entry = model.checkpoint.entries[model.tensors[key].name]
    return DTYPES[entry.dtype].name
