"""Are two models the same numbers, or the same numbers rounded to a quantisation grid?

Enters: two canonical models and the map's cells.  Leaves: `EqualityResult`.  Grids: `begat.signals.grid`.

"Identical" is only said after every stored value was compared (names may differ, bytes may not); "on-grid" after sampled rows of
every matrix (all rows with a full map's budget of none: a sample is named as such).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from begat.canon.model import Canonical
from begat.pipeline.inherit import common_keys, full_map, stored_type
from begat.pipeline.sampling import generator
from begat.signals.grid import Agreement, float_agreement, grid_agreement
from begat.source.dtypes import DTYPES
from begat.types import F32, EqualityResult, MapCell, Progress, TensorKey

#: share of the matrices that must be roundings for "on-grid"
_TENSORS = 0.98
_ROWS = 16
_RUNS = (16, 32, 64, 128)


def equality(
    a: Canonical, b: Canonical, cells: tuple[MapCell, ...], seed: int, complete: bool, progress: Progress | None = None
) -> EqualityResult | None:
    """Decide identity and grid equality, reading more only where the map's cells leave it open. None when nothing is common."""
    if not cells:
        return None
    if all(c.identical for c in cells):
        if not complete:
            cells = full_map(a, b, progress)
        if all(c.identical for c in cells):
            return _all_equal(a, b, cells)
    return _on_grid(a, b, cells, seed) if _close(cells) else _different(cells, complete)


def _different(cells: tuple[MapCell, ...], complete: bool) -> EqualityResult:
    n = sum(c.n for c in cells)
    share = sum(c.n for c in cells if c.identical) / max(n, 1)
    return EqualityResult("different", complete, n, share, "", "", ())


def _close(cells: tuple[MapCell, ...]) -> bool:
    """Could one be a rounding of the other? 2-bit grids keep a cosine above 0.9; a median spares single odd tensors."""
    matrices = [c.cosine for c in cells if c.n > 1]
    return bool(matrices) and float(np.median(matrices)) > 0.85


def _all_equal(a: Canonical, b: Canonical, cells: tuple[MapCell, ...]) -> EqualityResult:
    """Every common value is equal. Identical if nothing differs besides: same types, no weights on one side only."""
    n = sum(c.n for c in cells)
    retyped = sorted({f"{stored_type(a, k)} / {stored_type(b, k)}" for k in common_keys(a, b) if stored_type(a, k) != stored_type(b, k)})  # fmt: skip
    extra = _one_sided(a, b)
    if not retyped and not extra:
        return EqualityResult("identical", True, n, 1.0, "", "", ())
    if not extra:
        # nothing was lost, so nothing says which was there first
        return EqualityResult("on-grid", True, n, 1.0, "the number types " + ", ".join(retyped), "", ())
    return EqualityResult("different", True, n, 1.0, "", "", tuple(extra[:20]))


def _one_sided(a: Canonical, b: Canonical) -> list[str]:
    """Weights that only one model has, or that differ in shape, or in bytes under one unmapped name."""
    common = set(common_keys(a, b))
    out = [f"{name} only: {k}" for name, m, o in (("A", a, b), ("B", b, a)) for k in m.tensors if k not in common and not _tied(m, k, o)]  # fmt: skip
    for key in common:
        if a.tensors[key].shape != b.tensors[key].shape:
            out.append(f"shapes differ: {key}")
    for name in sorted(set(a.unmapped) | set(b.unmapped)):
        if name not in a.unmapped or name not in b.unmapped:
            out.append(f"one side only: {name}")
        elif not _same_bytes(a, b, name):
            out.append(f"differs: {name}")
    return sorted(out)


def _tied(model: Canonical, key: TensorKey, other: Canonical) -> bool:
    """An output head stored beside an equal embedding is the tied head that the other file leaves out."""
    twin = TensorKey(key.tower, -1, "embed.tokens")
    if key.role != "head.weight" or twin not in model.tensors or twin not in other.tensors:
        return False
    x, y = model.tensors[key], model.tensors[twin]
    return x.shape == y.shape and bool(np.array_equal(model.read(key, range(min(256, x.shape[0]))), model.read(twin, range(min(256, x.shape[0])))))  # fmt: skip


def _same_bytes(a: Canonical, b: Canonical, name: str) -> bool:
    x, y = a.checkpoint.entries[name], b.checkpoint.entries[name]
    if (x.dtype, x.shape) != (y.dtype, y.shape):
        return False
    step = max(1, (1 << 22) // max(1, x.cols))
    spans = (range(i, min(i + step, x.rows)) for i in range(0, x.rows, step))
    return all(np.array_equal(a.checkpoint.raw(name, s), b.checkpoint.raw(name, s)) for s in spans)


def _on_grid(a: Canonical, b: Canonical, cells: tuple[MapCell, ...], seed: int) -> EqualityResult:
    """Is B a rounding of A, or A of B? On sampled rows of every common matrix.

    When both hold, the one on the finer grid is the rounding: an 8-bit copy of a 4-bit model stays within half an 8-bit step of
    it, while a 4-bit copy of an 8-bit model does not.
    """
    found = [_rounded(a, b, "B", [c for c in cells if c.n > 1], seed), _rounded(b, a, "A", [c for c in cells if c.n > 1], seed)]
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
            kind = DTYPES[stored_type(model, key)]
            bits.append(8.0 * kind.block_bytes / kind.block)
    return float(np.median(bits)) if bits else 0.0


def _rounded(fine: Canonical, coarse: Canonical, name: str, cells: list[MapCell], seed: int) -> EqualityResult:
    """Test tensor by tensor; give up once too many are no rounding."""
    keys = [TensorKey(c.tower, c.layer, c.role, c.expert) for c in cells]
    keys = [k for k in keys if not coarse.tensors[k].is_vector]
    shares, grids, misses, n = [], [], [], 0
    for key in keys:
        x, y = _rows(fine, coarse, key, seed)
        n += x.size
        if np.array_equal(x, y):
            shares.append(1.0)
            continue
        found = _one_tensor(fine, coarse, key, x, y)
        shares.append(found.share)
        if found.rounded:
            grids.append(found.grid)
        else:
            misses.append(str(key))
        if len(misses) > (1 - _TENSORS) * len(keys):
            break
    share = float(np.mean(shares)) if shares else 0.0
    done = len(shares) == len(keys) and len(misses) <= (1 - _TENSORS) * len(keys)
    if done and grids and not _vectors_moved(fine, coarse, cells):
        return EqualityResult("on-grid", False, n, share, max(sorted(set(grids)), key=grids.count), name, tuple(misses[:20]))
    return EqualityResult("different", False, n, share, "", "", tuple(misses[:20]))


def _vectors_moved(fine: Canonical, coarse: Canonical, cells: list[MapCell]) -> bool:
    """Norm gains and biases are hardly ever quantised; when they moved, the model was trained, not only rounded.

    Rounding to the coarse model's own float type is no move, nor is a constant added to all gains (some converters store gain - 1).
    """
    vectors = [c for c in cells if c.role.endswith((".gain", ".bias")) and c.n > 8]
    moved = 0
    for c in vectors:
        if c.change > 0.02 and c.cosine < 0.9999:
            key = TensorKey(c.tower, c.layer, c.role, c.expert)
            kind, finer = DTYPES[stored_type(coarse, key)], DTYPES[stored_type(fine, key)]
            narrower = kind.mantissa is not None and (finer.mantissa or 0) > kind.mantissa
            x, y = fine.read(key), coarse.read(key)
            if not narrower or float_agreement(x, y, kind.mantissa or 0, 2.0**kind.tiny, kind.name).share < 0.99:
                moved += 1
    return moved > 0.02 * len(vectors)


def _rows(fine: Canonical, coarse: Canonical, key: TensorKey, seed: int) -> tuple[F32, F32]:
    n = min(m.tensors[key].shape[0] for m in (fine, coarse))
    at = np.sort(generator(seed, "grid", str(key)).permutation(n)[:_ROWS]).astype(np.int64)
    return fine.read(key, at), coarse.read(key, at)


def _one_tensor(fine: Canonical, coarse: Canonical, key: TensorKey, x: F32, y: F32) -> Agreement:
    """Are the sampled values of the coarse tensor a rounding of the fine one's, by how the coarse one is stored?"""
    t = coarse.tensors[key]
    entry = coarse.checkpoint.entries[t.name]
    kind, finer = DTYPES[entry.dtype], DTYPES[stored_type(fine, key)]
    if kind.mantissa is not None and (entry.scaling is not None or finer.mantissa is None or finer.mantissa > kind.mantissa):
        scale = 1.0 if entry.scaling is None else float(np.abs(entry.scaling.scale).max(initial=0))
        found = float_agreement(x, y, kind.mantissa, 2.0**kind.tiny * scale, kind.name)
        if found.rounded or entry.scaling is not None:
            return found
    if entry.scaling is not None:  # integers whose scale covers a run of each row (of each column when stored transposed)
        run = min(entry.scaling.block[0 if t.transposed else 1], x.shape[1])
        return _named(grid_agreement(x, y, (run if x.shape[1] % run == 0 else x.shape[1],)), kind.name)
    if kind.grid > 1:
        return _named(grid_agreement(x, y, (kind.grid,)), kind.name)
    return grid_agreement(x, y, (*_RUNS, x.shape[1]), kind.mantissa or 23)


def _named(found: Agreement, kind: str) -> Agreement:
    return replace(found, grid=f"{kind}, {found.grid}")
