"""Which units and rows are read, and reading them.

Enters: two canonical models, a nonce, sites of `begat.signals.axes`.  Leaves: feature arrays of the same units of A and B.

The sampled indices come from a public seed mixed with the header digests of both models and an optional nonce of the examiner's
(statistics.md §2), so neither side can choose them and anybody can draw them again. The digests are sorted first: the same rows are
read whichever model is named A.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from begat.canon.model import Canonical
from begat.errors import InputError
from begat.signals.axes import Site, View
from begat.source.dtypes import DTYPES
from begat.types import F32, I64

PUBLIC_SEED = "begat order test, version 1"
#: rows of an embedding table that serve as features of the residual stream
_TOKENS = 64


def seed_of(a: Canonical, b: Canonical, nonce: str) -> int:
    """The public 128-bit seed of a comparison."""
    digests = sorted((a.checkpoint.header_digest, b.checkpoint.header_digest))
    text = "\n".join([PUBLIC_SEED, *digests, nonce])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big")


def generator(seed: int, *path: object) -> np.random.Generator:
    """The generator for one purpose of a comparison (`path` names it), so that reading more of one thing changes no other."""
    word = hashlib.sha256(repr((seed, *path)).encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(word[:16], "big")))


@dataclass(frozen=True, slots=True)
class Plan:
    """One planned order test: `units` (canonical unit indices) of a site; views that cannot be read exactly are already gone."""

    site: Site
    units: I64
    tokens: I64
    cost: int


def plan_site(a: Canonical, b: Canonical, site: Site, m: int, tests: int, rng: np.random.Generator) -> list[Plan]:
    """Up to `tests` disjoint samples of `m` units of a site.

    Disjoint samples may be multiplied like layers: given the units of one sample, the order inside another is still uniform. Where
    stored values share a quantisation scale along the axis (fp8 blocks, columns of GGUF), a quantiser is symmetric only inside one
    aligned block, so a sample is then taken from inside one block; views whose blocks are too small for that are left out, and those
    along which a quantiser walks from unit to unit (GPTQ's inputs). Where that leaves nothing, but the pattern of scales repeats (block
    maxima quantised 256 at a time, blocks that run over the ends of rows), one unit of each repetition is taken, all from the same place in
    it: a quantiser is symmetric in whole repetitions.
    """
    along = {view: [block_along(x, view) for x in (a, b)] for view in site.views}
    blocks = {view: max(found) if min(found) else 0 for view, found in along.items()}
    floor, run = min(16, site.units), 1
    views = tuple(v for v in site.views if blocks[v] == 1 or floor <= blocks[v])
    wide = [v for v in views if v.take != "elements"]
    if not views or (not wide and any(v.take != "elements" for v in site.views)):
        views = tuple(v for v in site.views if all(_repeats(x, v) for x in (a, b)))
        run = math.lcm(*(_repeats(x, v) for x in (a, b) for v in views))
        if site.units // run < 16 or all(v.take == "elements" for v in views):
            return []
    block = max([1, *(blocks[v] for v in views)]) if run == 1 else 1
    site = Site(site.tower, site.layer, site.expert, site.units, views, site.label)
    tokens = _tokens(a, b, views, rng)
    plans, first = [], int(rng.integers(run)) if run > 1 else 0
    for draw in _draws(site.units // run, m, tests, block, rng):
        units = first + run * draw
        plans.append(Plan(site, units, tokens, sum(_cost(x, v, len(units), len(tokens)) for x in (a, b) for v in views)))
    return plans


def _draws(n: int, m: int, tests: int, block: int, rng: np.random.Generator) -> list[I64]:
    if block > 1 and block < n:
        starts = rng.permutation(n // block)[:tests] * block
        return [np.sort(s + rng.permutation(block)[:m]) for s in starts]
    order = rng.permutation(n)
    if n < 2 * m:
        return [np.sort(order[: min(n, max(m, 128))])]
    return [np.sort(order[t * m : (t + 1) * m]) for t in range(min(tests, n // m))]


def _tokens(a: Canonical, b: Canonical, views: Sequence[View], rng: np.random.Generator) -> I64:
    rows = [min(m.tensors[v.key].shape[0] for m in (a, b)) for v in views if v.take == "tokens"]
    if not rows:
        return np.empty(0, dtype=np.int64)
    return np.sort(rng.permutation(min(rows))[:_TOKENS]).astype(np.int64)


def block_along(model: Canonical, view: View) -> int:
    """How many neighbouring units share a quantisation scale in the stored tensor; 1 = none do, or all do; 0 = no two are treated alike."""
    t = model.tensors[view.key]
    entry = model.checkpoint.entries[t.name]
    along_rows = (view.take == "rows") != t.transposed
    n = t.shape[0] if view.take == "rows" else t.shape[-1]
    block = 1
    if view.take != "elements" and not along_rows:
        block = max(block, DTYPES[entry.dtype].alike)
    if entry.scaling is not None and view.take != "elements":
        found = (entry.scaling.alike or entry.scaling.block)[0 if along_rows else 1]
        if not found:
            return 0
        block = max(block, found)
    return 1 if block >= n else block


def _repeats(model: Canonical, view: View) -> int:
    """Units after which the pattern of scales along a view repeats; 1 = every unit is scaled alike, 0 = never."""
    t = model.tensors[view.key]
    entry = model.checkpoint.entries[t.name]
    if view.take == "elements":
        return 1
    along_rows = (view.take == "rows") != t.transposed
    scaling = entry.scaling
    found = 1 if scaling is None else (scaling.period or scaling.alike or scaling.block)[0 if along_rows else 1]
    return found if along_rows else math.lcm(found, DTYPES[entry.dtype].alike)


def _cost(model: Canonical, view: View, units: int, tokens: int) -> int:
    """Bytes that reading a view takes."""
    t = model.tensors[view.key]
    entry = model.checkpoint.entries[t.name]
    row = DTYPES[entry.dtype].row_bytes(entry.cols)
    if view.take == "elements":
        return entry.nbytes
    if view.take == "tokens":
        return row * tokens if not t.transposed else entry.nbytes
    if (view.take == "rows") == t.transposed:
        return entry.nbytes
    return row * units * len(view.offsets)


def read_views(model: Canonical, plan: Plan) -> list[F32]:
    """Features of the planned units, [m, D] per view. Raises InputError on NaN or infinity."""
    return [read_view(model, view, plan.units, plan.tokens) for view in plan.site.views]


def read_view(model: Canonical, view: View, units: I64, tokens: I64) -> F32:
    """Features of units in one view, [m, D]. Raises InputError on NaN or infinity."""
    values = take(model, view, units, tokens)
    check_finite(model, view.key, values)
    return values


def read_regular(model: Canonical, plan: Plan, rows: int) -> tuple[list[F32], I64]:
    """(features of the planned units at `_TOKENS` neighbouring rows that start at a multiple of it, those rows), of the views that sample rows.

    ([], none) where none does. What an index fixes (Walsh, sinusoid and cosine tables) shows at neighbouring rows and is lost at sampled ones.

    Args:
        rows: rows that both models' tables have at least.
    """
    views = [v for v in plan.site.views if v.take == "tokens"]
    start = rows // 2 // _TOKENS * _TOKENS
    at = np.arange(start, min(rows, start + _TOKENS), dtype=np.int64)
    return ([read_view(model, v, plan.units, at) for v in views], at) if views else ([], at[:0])


def take(model: Canonical, view: View, units: I64, tokens: I64) -> F32:
    """Features of units in one view, [m, D], unchecked."""
    t = model.tensors[view.key]
    at = (view.start + view.stride * units[:, None] + np.array(view.offsets)[None, :]).ravel()
    if view.take in ("rows", "elements"):
        return model.read(view.key, at).reshape(len(units), -1)
    if view.take == "tokens":
        return np.ascontiguousarray(model.read(view.key, tokens)[:, at].T)
    if t.transposed:  # columns of a canonical matrix are then stored rows
        return model.read_columns(view.key, at)
    return np.ascontiguousarray(model.read(view.key)[:, at].T)


def check_finite(model: Canonical, key: object, values: F32) -> None:
    """Raise InputError when weights are NaN or infinite."""
    if not np.isfinite(values).all():
        t = model.tensors[key]  # type: ignore[index]
        bad = "NaN" if np.isnan(values).any() else "infinity"
        raise InputError("weights are not finite", file=model.checkpoint.entries[t.name].file, tensor=t.name,
                         expected="finite numbers", found=bad, fix="use an undamaged checkpoint")  # fmt: skip
