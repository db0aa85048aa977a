"""Are two models the same numbers, or the same numbers rounded to a quantisation grid?

Enters: two canonical models and the map's cells.  Leaves: `EqualityResult`.  Grids: `begat.signals.grid`.

"Identical" is only said after every stored value was compared (names may differ, bytes may not); "on-grid" after sampled rows of
every matrix and every vector, of all experts too. Both are said of the whole: a layer more, a matrix trained, a gain moved, and it is
neither. What was not mapped counts as well, unless it is a buffer (dropped with a reason that says so).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from begat.canon.layout import UNCUT
from begat.canon.model import Canonical
from begat.canon.rules import Drop, load, template_of
from begat.pipeline.inherit import common_keys, full_map, stored_type
from begat.pipeline.sampling import generator
from begat.signals.grid import (
    FLOAT,
    NOTHING,
    Agreement,
    float_agreement,
    grid_agreement,
    has_grid,
    level_agreement,
    step_agreement,
)
from begat.source.dtypes import DTYPES
from begat.source.pieces import PIECE, pieces, runs
from begat.types import F32, EqualityResult, MapCell, Progress, TensorEntry, TensorKey

_ROWS = 16
#: rows of matrices of all experts but the first two
_EXPERT_ROWS = 2
_RUNS = (16, 32, 64, 128)
#: relative change of an unmapped tensor that its rounding explains (bf16: 0.0017)
_CHANGE = 0.004
#: heads that exports leave out and a re-encoding may lack; they are named
_SPARED = ("pooler.weight", "pooler.bias")
#: stored types whose values float32 does not hold
_WIDE = ("F64", "I64", "U64", "I32", "U32")


def equality(
    a: Canonical, b: Canonical, cells: tuple[MapCell, ...], seed: int, complete: bool, progress: Progress | None = None
) -> EqualityResult | None:
    """Decide identity and grid equality, reading more only where the map's cells leave it open. None when nothing is common."""
    if not cells:
        return None
    equal = all(c.identical for c in cells)
    if not equal and not _close(cells):
        return different(cells, complete)
    extra = _one_sided(a, b)
    heads = [k for k in extra if k.split(": ")[-1] in _SPARED]
    if len(extra) > len(heads) or (equal and heads):
        return replace(different(cells, complete), exceptions=tuple(extra[:20]))
    if equal and not complete:
        cells = full_map(a, b, progress)
        complete, equal = True, all(c.identical for c in cells)
    if equal:
        if not any(_varies(a, k) for k in common_keys(a, b)):
            return replace(different(cells, complete), exceptions=("every common tensor is one constant",))
        return _all_equal(a, b, cells)
    found = _on_grid(a, b, seed)
    return replace(found, exceptions=(*found.exceptions, *heads))


def different(cells: Sequence[MapCell], complete: bool) -> EqualityResult:
    """Not the same numbers: how many agree."""
    n = sum(c.n for c in cells)
    share = sum(c.n for c in cells if c.identical) / max(n, 1)
    return EqualityResult("different", complete, n, share, "", "", ())


def _varies(model: Canonical, key: TensorKey) -> bool:
    """Not all values are one: untrained gains and biases are equal in all models."""
    t = model.tensors[key]
    first: float | None = None
    for at in runs(t.shape[0], PIECE) if t.is_vector else _spans(*t.shape):
        values = model.read(key, at)
        first = float(values.flat[0]) if first is None else first
        if (values != first).any():
            return True
    return False


def _close(cells: Sequence[MapCell]) -> bool:
    """Could one be a rounding of the other? 2-bit grids keep a cosine above 0.9; a median spares single odd tensors."""
    matrices = [c.cosine for c in cells if c.n > 1]
    return bool(matrices) and float(np.median(matrices)) > 0.85


def _all_equal(a: Canonical, b: Canonical, cells: Sequence[MapCell]) -> EqualityResult:
    """Every mapped value is equal as float32 and nothing is one-sided. Identical if the rest and the types are equal too."""
    n = sum(c.n for c in cells)
    keys = common_keys(a, b)
    unequal = [f"differs: {name}" for name in _beside(a, b) if not _same_bytes(a, b, name, name)]
    unequal += [f"differs beyond float32: {k}" for k in keys if not _same_wide(a, b, k)]
    if unequal:
        return EqualityResult("different", True, n, 1.0, "", "", tuple(unequal[:20]))
    retyped = sorted({f"{stored_type(a, k)} / {stored_type(b, k)}" for k in keys if stored_type(a, k) != stored_type(b, k)})
    if retyped:
        # nothing was lost, so nothing says which was there first
        return EqualityResult("on-grid", True, n, 1.0, "the number types " + ", ".join(retyped), "", ())
    return EqualityResult("identical", True, n, 1.0, "", "", ())


def _one_sided(a: Canonical, b: Canonical) -> list[str]:
    """Weights that only one model has, mapped or not, or that differ in shape."""
    common = set(common_keys(a, b))
    out = [f"{name} only: {k}" for name, m, o in (("A", a, b), ("B", b, a)) for k in m.tensors if k not in common and not _tied(m, k, o)]  # fmt: skip
    out += [f"shapes differ: {key}" for key in common if a.tensors[key].shape != b.tensors[key].shape]
    x, y = _uncompared(a), _uncompared(b)
    out += [f"one side only: {name}" for name in x ^ y]
    out += [f"not read: {name}" for name in _unread(a) | _unread(b)]
    return sorted(out)


def _uncompared(model: Canonical) -> set[str]:
    """Stored weights without a place in the canonical model: unknown names, fused tensors that could not be cut, packed ones."""
    return {*model.unmapped, *(name for name, reason in model.dropped if reason in UNCUT or name in model.checkpoint.unread)}


def _unread(model: Canonical) -> set[str]:
    """Stored tensors of whose bytes nothing is known, but for buffers."""
    names = model.checkpoint.unread.keys() - model.checkpoint.entries.keys()
    return {name for name in names if not isinstance(load().match(template_of(name)[0]), Drop)}


def _beside(a: Canonical, b: Canonical) -> list[str]:
    """Stored tensors of both that are not mapped in either, buffers too."""
    x, y = ({*m.unmapped, *(name for name, _ in m.dropped)} for m in (a, b))
    return sorted(x & y)


def _tied(model: Canonical, key: TensorKey, other: Canonical) -> bool:
    """An output head stored beside an equal embedding is the tied head that the other file leaves out."""
    twin = TensorKey(key.tower, -1, "embed.tokens")
    if key.role != "head.weight" or twin not in model.tensors or twin not in other.tensors:
        return False
    x, y = model.tensors[key], model.tensors[twin]
    return x.shape == y.shape and all(np.array_equal(model.read(key, at), model.read(twin, at)) for at in _spans(*x.shape))


def _spans(rows: int, cols: int) -> Iterator[range]:
    return runs(rows, max(1, PIECE // max(1, cols)))


def _same_bytes(a: Canonical, b: Canonical, x_name: str, y_name: str) -> bool:
    x, y = a.checkpoint.entries[x_name], b.checkpoint.entries[y_name]
    if (x.dtype, x.shape) != (y.dtype, y.shape):
        return False
    cuts = pieces(x)
    return all(np.array_equal(a.checkpoint.raw(x_name, *at), b.checkpoint.raw(y_name, *at)) for at in cuts)


def _same_values(a: Canonical, b: Canonical, name: str) -> bool:
    """Unmapped tensors of one name: equal bytes, or equal values up to the rounding of bf16."""
    x, y = a.checkpoint.entries[name], b.checkpoint.entries[name]
    if x.shape != y.shape:
        return False
    if x.dtype == y.dtype:
        return _same_bytes(a, b, name, name)
    far = size = 0.0
    for at in pieces(x):
        u, v = a.checkpoint.read(name, *at), b.checkpoint.read(name, *at)
        far, size = far + float(np.square(u - v).sum()), size + float(np.square(u).sum())
    return far <= _CHANGE**2 * size


def _same_wide(a: Canonical, b: Canonical, key: TensorKey) -> bool:
    """Types that float32 cannot hold are compared by their bytes."""
    kind = stored_type(a, key)
    return kind not in _WIDE or kind != stored_type(b, key) or _same_bytes(a, b, a.tensors[key].name, b.tensors[key].name)


def _on_grid(a: Canonical, b: Canonical, seed: int) -> EqualityResult:
    """Is B a rounding of A, or A of B? On sampled rows of every common matrix.

    When both hold, the one on the finer grid is the rounding: an 8-bit copy of a 4-bit model stays within half an 8-bit step of
    it, while a 4-bit copy of an 8-bit model does not.
    """
    unequal = [f"differs: {name}" for name in _beside(a, b) if not _same_values(a, b, name)]
    if unequal:
        return EqualityResult("different", False, 0, 0.0, "", "", tuple(unequal[:20]))
    keys = common_keys(a, b)
    found = [_rounded(a, b, "B", keys, seed), _rounded(b, a, "A", keys, seed)]
    yes = [f for f in found if f.relation == "on-grid"]
    if len(yes) == 2:
        bits = [_median_bits(b, a), _median_bits(a, b)]
        if bits[0] != bits[1]:
            return found[0] if bits[0] > bits[1] else found[1]
        return replace(found[0], coarser="")
    return yes[0] if yes else max(found, key=lambda f: f.share)


def _median_bits(model: Canonical, other: Canonical) -> float:
    """Stored bits per value of the common matrices."""
    bits = []
    for key in common_keys(model, other):
        if not model.tensors[key].is_vector:
            bits.append(DTYPES[stored_type(model, key)].bits)
    return float(np.median(bits)) if bits else 0.0


def _rounded(fine: Canonical, coarse: Canonical, name: str, keys: Sequence[TensorKey], seed: int) -> EqualityResult:
    """Test tensor by tensor until one is no rounding.

    The arrow (`coarser`) needs more than the rounding: two roundings of one source agree nearly as well (8 and 4 bits: within 0.53
    steps; f16 and bf16: but for ties). So where the finer side may be a rounding itself its values must round exactly, else the
    coarser side stays unnamed.
    """
    total, grids, vectors, miss, arrow = NOTHING, [], [], "", True
    for key in sorted(keys, key=lambda k: (k.expert >= 0, not fine.tensors[k].is_vector)):
        found = _vector(fine, coarse, key) if fine.tensors[key].is_vector else _matrix(fine, coarse, key, seed)
        total += found
        if found.n > found.inside == 0 and found.ok == found.n:  # equal, or a vector that no more than rounding moved
            vectors += [found.grid] if found.grid else []
            continue
        if not found.rounded:
            miss = str(key)
            break
        grids.append(found.grid)
        arrow = arrow and (found.tightly or not (found.grid.endswith(FLOAT) or _quantised(fine, key, seed)))
    if miss or not (grids or vectors) or (grids and not total.rounded):
        return EqualityResult("different", False, total.n, total.share, "", "", (miss,) if miss else ())
    words = max(sorted(set(grids or vectors)), key=(grids or vectors).count)
    return EqualityResult("on-grid", False, total.n, total.share, words, name if arrow else "", ())


def _equal(n: int) -> Agreement:
    return Agreement(n, n, n, 0, 0, "")


def _vector(fine: Canonical, coarse: Canonical, key: TensorKey) -> Agreement:
    """Norm gains and biases are hardly ever quantised; when they moved, the model was trained, not only rounded.

    Rounding to a float type (the coarse model's own, or one it passed through) is no move, nor is a one added to all gains (some converters
    store gain - 1).
    """
    n, each = fine.tensors[key].shape[0], [_piece(fine, coarse, key, at) for at in runs(fine.tensors[key].shape[0], PIECE)]
    words = {found.grid for found in each}
    if any(found.ok < found.n for found in each) or len(words - {""}) > 1:
        return Agreement(n, 0, 0, n, 0, "")
    return replace(_equal(n), grid=max(words, default=""))


def _piece(fine: Canonical, coarse: Canonical, key: TensorKey, at: range) -> Agreement:
    """The same of a run of a vector; nobody's gains are longer than one."""
    x, y = fine.read(key, at), coarse.read(key, at)
    offset = float(np.median(y - x))
    if key.role.endswith(".gain") and abs(abs(offset) - 1) < 0.02:
        x = x + np.float32(np.sign(offset))
    if np.linalg.norm(y - x) <= 1e-6 * np.linalg.norm(x):
        return _equal(x.size)
    for kind in (DTYPES[stored_type(coarse, key)], DTYPES["F16"], DTYPES["BF16"]):
        if kind.mantissa is not None and float_agreement(x, y, kind.mantissa, 2.0**kind.tiny, kind.name).rounded:
            return replace(_equal(x.size), grid=f"{kind.name}{FLOAT}")
    return Agreement(x.size, 0, 0, x.size, 0, "")


def _matrix(fine: Canonical, coarse: Canonical, key: TensorKey, seed: int) -> Agreement:
    """Are the sampled values of the coarse tensor a rounding of the fine one's, by how the coarse one is stored?"""
    at = _at(fine, coarse, key, seed)
    x, y = fine.read(key, at), coarse.read(key, at)
    if np.array_equal(x, y):
        return _equal(x.size)
    t = coarse.tensors[key]
    entry = coarse.checkpoint.entries[t.name]
    kind, finer = DTYPES[entry.dtype], DTYPES[stored_type(fine, key)]
    if entry.scaling is not None:
        scale, levels = _scales(coarse, key, at), entry.scaling.levels
        if levels is not None:
            again = isinstance(entry.scaling.scale, TensorEntry) and entry.scaling.scale.scaling is not None
            rough = entry.scaling.block[1] if again and not t.transposed and t.cols is None else 0
            return level_agreement(x, y, scale, levels, f"{len(np.unique(levels))} levels", rough=rough)
        if kind.mantissa is None:
            return step_agreement(x, y, scale, f"{kind.name} steps")
        return float_agreement(x, y, kind.mantissa, 2.0**kind.tiny, kind.name, scale, kind.largest)
    # a type of more bits can still be the coarser one near zero: float16 below 2^-14, against bfloat16
    if kind.mantissa is not None and (finer.mantissa is None or finer.mantissa > kind.mantissa or finer.tiny < kind.tiny):
        found = float_agreement(x, y, kind.mantissa, 2.0**kind.tiny, kind.name)
        if found.rounded:
            return found
    if kind.grid > 1:
        found = grid_agreement(x, y, (kind.grid,))
        return replace(found, grid=f"{kind.name}, {found.grid}")
    return grid_agreement(x, y, (*_RUNS, x.shape[1]), kind.mantissa or 23)


def _at(fine: Canonical, coarse: Canonical, key: TensorKey, seed: int) -> np.ndarray:
    n = min(m.tensors[key].shape[0] for m in (fine, coarse))
    order = generator(seed, "grid", str(key)).permutation(n)
    return np.sort(order[: _EXPERT_ROWS if key.expert > 1 else _ROWS]).astype(np.int64)


def _scales(model: Canonical, key: TensorKey, at: np.ndarray) -> F32:
    """The stored scale of every value of canonical rows `at`."""
    t = model.tensors[key]
    entry = model.checkpoint.entries[t.name]
    rows = np.asarray(t.rows)
    cols = np.arange(entry.cols) if t.cols is None else np.arange(entry.cols)[t.cols]
    rows, cols = (rows, cols[at]) if t.transposed else (rows[at], cols)
    found: F32 = model.checkpoint.reader.scales(entry, rows, cols)
    return found.T if t.transposed else found


def _quantised(model: Canonical, key: TensorKey, seed: int) -> bool:
    """The model's values lie on a coarse grid themselves, by storage or by value."""
    entry = model.checkpoint.entries[model.tensors[key].name]
    if DTYPES[entry.dtype].mantissa is None or entry.scaling is not None:
        return True
    at = _at(model, model, key, seed)
    return has_grid(model.read(key, at), (*_RUNS, model.tensors[key].shape[-1]))
