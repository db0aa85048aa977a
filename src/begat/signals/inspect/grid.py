"""Are the stored numbers on a coarser grid than their type? (a quantised model written back as floats; a narrow float in a wide one)

Enters: rows of every matrix stored in floats.  Leaves: bits, run length and how many tensors lie on it; types that say it
themselves are listed too.
Arithmetic and null of one run: `lattice.py`.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from begat.inspection import Found, Item, Value
from begat.signals.inspect import lattice
from begat.signals.inspect.base import FINDINGS, Inspector, Look, is_float, matrices
from begat.signals.inspect.lattice import Fit
from begat.source.dtypes import DTYPES
from begat.types import F32, TensorKey

#: lengths of runs that may share a scale, besides a row and the whole tensor
_RUNS = (512, 256, 128, 64, 32, 16)
#: rows read of each matrix, runs looked at, share of them that must fit
_ROWS, _MOST, _SHARE = 16, 32, 0.95
#: non-zero values, and different ones, from which a narrower type can be told
_NARROW, _DIFFERENT = 64, 16


@dataclass(frozen=True, slots=True)
class _Grid:
    """What one tensor's values lie on: words without the run, the run in words, bits, and whether weights were rounded to it."""

    words: str
    run: str
    bits: float
    rounded: bool
    log10_p: float


def _run(look: Look) -> Found:
    keys = [k for k in matrices(look) if k.expert <= 0 or look.full]
    declared: list[TensorKey] = []
    plain: list[TensorKey] = []
    for key in keys:
        (plain if is_float(look.entry(key)) else declared).append(key)
    found: dict[tuple[str, str], list[tuple[TensorKey, _Grid]]] = defaultdict(list)
    narrow: dict[str, list[TensorKey]] = defaultdict(list)
    for key in plain:
        grid = _grid_of(look, key, len(plain))
        look.step()
        if grid is not None:
            found[grid.words, grid.run].append((key, grid))
        elif (name := _narrower(look, key)) is not None:
            narrow[name].append(key)
    total = sum(_size(look, k) for k in keys) or 1
    items = [_declared_item(look, name, ks, total) for name, ks in sorted(_by_type(look, declared).items())]
    for (words, run), hits in sorted(found.items(), key=lambda x: -len(x[1])):
        items.append(_grid_item(look, words, run, hits, len(keys), total))
    for name, ks in sorted(narrow.items()):
        items.append(Item(_roles(ks), f"{_stored(look, ks[0])} holding {name} values", _numbers(look, ks, len(keys), total)))
    rounded = [g for hits in found.values() for _, g in hits if g.rounded]
    looked = f"{_ROWS} rows of {len(keys):,} matrices" if not look.full else f"every value of {len(keys):,} matrices"
    if not items:
        return Found("nothing", "no matrix lies on a coarser grid than its type", looked_at=looked)
    best = max((hits for hits in found.values()), key=len, default=None)
    sentence = items[0].what if best is None else next(i.what for i in items if i.what.startswith(best[0][1].words))
    log10_p = None if not found else max(g.log10_p for hits in found.values() for _, g in hits)
    return Found("found", sentence, tuple(items), (), None, log10_p, bool(rounded), looked)


def _grid_of(look: Look, key: TensorKey, tested: int) -> _Grid | None:
    """The grid that at least `_SHARE` of the runs of every piece read lie on, the longest run first."""
    best: _Grid | None = None
    for number, values in enumerate(look.chunks(key, _ROWS)):
        grid = _grid_in(look, key, values, tested)
        if grid is None or (number and best is not None and (grid.words, grid.run) != (best.words, best.run)):
            return None
        best = grid
    return best


def _grid_in(look: Look, key: TensorKey, values: F32, tested: int) -> _Grid | None:
    kind = DTYPES[look.entry(key).dtype]
    assert kind.mantissa is not None
    mantissa, n = min(kind.mantissa, 23), values.shape[1]
    rng = look.rng("grid", n)
    lengths = [
        ("the whole tensor", values.size),
        ("row", n),
        *((f"{r} values of a row", r) for r in _RUNS if r < n and n % r == 0),
    ]
    best: tuple[tuple[bool, float, bool], _Grid] | None = None
    for words, length in lengths:
        if length < 16 or (words == "the whole tensor" and len(values) < 2):
            continue
        runs = values.reshape(-1, length)
        runs = runs[np.sort(rng.permutation(len(runs))[:_MOST])]
        u = lattice.spacing(runs, mantissa, 2.0**kind.tiny)
        fits = [
            lattice.significands(runs, mantissa, 2.0 ** (kind.tiny + mantissa), rng),
            *([lattice.nf4(runs, u)] if length == 64 else []),
        ]
        if lattice.screen("even", runs, u, rng):
            fits.append(lattice.even(runs, u, rng))
        if not (fits[-1].kind == "even" and _holds(fits[-1], look.needed, tested)) and lattice.screen("offset", runs, u, rng):
            fits.append(lattice.offset(runs, u, rng))
        for fit in fits:
            if _holds(fit, look.needed, tested):
                grid = _described(fit, words, runs)
                if grid.bits > 8:  # several grids side by side, seen as one
                    continue
                # a step says more than floats do; then the fewest bits, since several grids side by side look like one of more; then the longest run
                order = (fit.kind == "float", grid.bits, fit.kind == "offset")
                if best is None or order < best[0]:
                    best = order, grid
    return None if best is None else best[1]


def _holds(fit: Fit, needed: float, tested: int) -> bool:
    """Nearly all runs fit, and chance would not do that; every tensor tried, every length (8) and every kind of grid (4) is
    paid for.
    """
    return fit.share >= _SHARE and fit.log10_total <= -(needed + np.log10(32.0 * tested))


def _described(fit: Fit, run: str, runs: F32) -> _Grid:
    if fit.kind == "float":
        few = int(np.quantile(fit.high[fit.fits], 0.75))
        name = "E5M2" if few <= 4 else "E4M3"
        return _Grid(f"floats of {2 if few <= 4 else 3} mantissa bits ({name}) times a scale", run, 8.0, True, fit.log10_total)
    if fit.kind == "nf4":
        return _Grid("NF4 levels times a scale", run, 4.0, True, fit.log10_total)
    # nearly all runs, not all: now and then a finer grid fits one by chance
    low, high = (int(np.quantile(x[fit.fits], q, method="nearest")) for x, q in ((fit.low, 0.1), (fit.high, 0.9)))
    if fit.half_units:
        return _Grid("4-bit floats (E2M1) times a scale", run, 4.0, True, fit.log10_total)
    if (low, high) == (-1, 1):
        zero = bool((runs == 0).any())
        return _Grid("ternary values" if zero else "binary values", run, 1.58 if zero else 1.0, False, fit.log10_total)
    levels = int(np.quantile((fit.high - fit.low)[fit.fits], 0.9, method="nearest")) + 1
    bits = float(np.ceil(np.log2(levels)))
    shape = "from an offset" if fit.kind == "offset" else "symmetric" if abs(high + low) <= 1 else "with zero points"
    return _Grid(f"an even {bits:.0f}-bit grid, {shape}", run, bits, True, fit.log10_total)


def _narrower(look: Look, key: TensorKey) -> str | None:
    """The narrower float type that holds every value read, where the stored one holds more; None when there is none or too
    little to tell.

    A value of a smooth density has the lost bits all zero with probability 2^-13 (float32 holding float16) or less, but
    2^-3 for float16 holding bfloat16:
    64 such values are 10^-57.
    """
    name = look.entry(key).dtype
    fits = {"F32": ["BF16", "F16"], "F64": ["BF16", "F16"], "F16": ["BF16"]}.get(name, [])
    values = look.rows(key, _ROWS).ravel() if fits else np.empty(0, dtype=np.float32)
    if np.count_nonzero(values) < _NARROW or len(np.unique(values)) < _DIFFERENT:
        return None
    bits = values.astype(np.float32).view(np.uint32)
    for narrow in fits:
        with np.errstate(over="ignore"):
            held = (
                not (bits & 0xFFFF).any()
                if narrow == "BF16"
                else bool((values.astype(np.float16).astype(np.float32) == values).all())
            )
        if held:
            return {"BF16": "bfloat16", "F16": "float16"}[narrow]
    return None


def _by_type(look: Look, keys: list[TensorKey]) -> dict[str, list[TensorKey]]:
    out: dict[str, list[TensorKey]] = defaultdict(list)
    for key in keys:
        out[look.entry(key).dtype].append(key)
    return out


def _declared_item(look: Look, name: str, keys: list[TensorKey], total: int) -> Item:
    entry = look.entry(keys[0])
    block = f", one scale for each {entry.scaling.block[0]} × {entry.scaling.block[1]} block" if entry.scaling else ""
    return Item(
        _roles(keys),
        f"stored as {name}{block}: the file says so",
        _numbers(look, keys, len(keys), total) | {"bits": DTYPES[name].bits},
    )


def _grid_item(look: Look, words: str, run: str, hits: list[tuple[TensorKey, _Grid]], tensors: int, total: int) -> Item:
    keys = [k for k, _ in hits]
    numbers = _numbers(look, keys, tensors, total) | {
        "bits": hits[0][1].bits,
        "run": run,
        "log10_p": max(g.log10_p for _, g in hits),
    }
    return Item(
        _roles(keys),
        f"{words}, one scale for each {run}" if run != "the whole tensor" else f"{words}, one scale for the tensor",
        numbers,
    )


def _numbers(look: Look, keys: list[TensorKey], tensors: int, total: int) -> dict[str, Value]:
    return {"tensors": len(keys), "of": tensors, "share": sum(_size(look, k) for k in keys) / total}


def _size(look: Look, key: TensorKey) -> int:
    return int(np.prod(look.model.tensors[key].shape))


def _stored(look: Look, key: TensorKey) -> str:
    return {"F32": "float32", "F64": "float64", "F16": "float16", "BF16": "bfloat16"}.get(
        look.entry(key).dtype, look.entry(key).dtype
    )


def _roles(keys: list[TensorKey]) -> str:
    parts = {
        "attn": "attention",
        "mlp": "MLP",
        "embed": "embedding",
        "expert": "experts",
        "shared": "shared experts",
        "moe": "router",
    }
    names = dict.fromkeys(parts.get(k.role.split(".")[0], k.role.split(".")[0]) for k in keys)
    return ", ".join(names)


FINDINGS.add("grid")(
    Inspector(
        "Numbers on a coarse grid",
        "counted",
        "Were the values not rounded, neighbouring numbers of the stored type would be about equally likely, and each value "
        "would meet a point of a coarser grid by chance with the share of numbers that are grid points. The bound over all "
        "runs of a tensor pays for the grids, run lengths and tensors tried.",
        "How the grid was made (rounding to nearest, GPTQ, AWQ, training on the grid) and from which weights. Groups "
        "scattered by activation order, scales multiplied into the weights afterwards, or any training after rounding are "
        "not seen. A float type inside a wider one says how weights were stored, not where they come from.",
        _run,
    )
)


def grid_levels(look: Look, key: TensorKey, values: F32) -> bool:
    """Do these rows of a tensor lie on a grid, by their stored type or by their values? Zero is then one of its levels."""
    return not is_float(look.entry(key)) or _grid_in(look, key, values, 1) is not None
