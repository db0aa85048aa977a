"""What kind of descent lies between two dependent models, and which came first, where one-way evidence says so.

Enters: two canonical models with paired towers, map cells.  Leaves: a `Description`.  The signs: `begat.pipeline.arrows`, each asked with either
model as the parent; what they mean: `begat/verdict/kinds.toml`.  Call it after dependence was found: between strangers its words mean nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

import numpy as np

from begat.canon.model import Canonical
from begat.canon.roles import ROLES
from begat.pipeline.arrows import ARROWS, Pair
from begat.pipeline.arrows.base import EQUAL, Mixtures
from begat.pipeline.counterparts import layer_cosines
from begat.pipeline.expert_partners import NOTHING_LOOKED_AT, Matched, match_experts
from begat.pipeline.inherit import common_keys
from begat.pipeline.sampling import generator
from begat.pipeline.words import ranges
from begat.signals.grid import has_grid
from begat.source.dtypes import DTYPES
from begat.types import AxisResult, MapCell
from begat.verdict.kinds import Description, Evidence, describe_signs

#: median R² of matrices above which the change is one of training; of a layer that is no relative; of one that is
_NEAR, _NONE, _SOME = 0.6, 0.02, 0.3
#: cosine from which a layer is another layer of the other model; those of strangers stay below 0.1
_MOVED = 0.3
#: signs after which a change of weights goes without saying
_SHAPED = ("zeros", "layers", "units", "experts", "low-rank", "direction", "on-grid", "white-noise")
#: signs that look the same from both sides
_EITHER = ("low-rank", "experts-reordered", "experts-replaced", "white-noise")
_RUNS = (16, 32, 64, 128)
_GRID_MATRICES, _GRID_ROWS = 6, 8


def describe(
    a: Canonical, b: Canonical, cells: Sequence[MapCell], seed: int, experts: Matched = NOTHING_LOOKED_AT, axes: Sequence[AxisResult] = ()
) -> Description:  # fmt: skip
    """Kind and direction of two dependent models.

    Args:
        a, b: canonical models, towers paired (`begat.canon.pair`).
        experts: A's experts in B, where they do not all stand in their place; every expert looked for. axes: the order tests.
        cells: the inheritance map of the same two, sampled or full; () where shapes have nothing in common.
        seed: chooses rows (`begat.pipeline.sampling.seed_of`).
    """
    found: list[Evidence] = []
    posed = experts.posed or a
    for parent, child, name in ((posed, b, "A"), (b, posed, "B")):
        pair = Pair(parent, child, seed, _mixtures(a, b, name, cells, seed, experts, axes))
        found += [Evidence(s.fact, name, s.words) for _, look in ARROWS.items() for s in look(pair)]
    found = _without_weaker(found)
    found += _grids(posed, b, cells, seed)
    found += [] if any(e.fact.startswith("layers") for e in found) else _layers_replaced(posed, b, cells, seed)
    if any(e.fact.startswith(_SHAPED) and not e.fact.startswith("white-noise") for e in found):
        found = [e for e in found if not e.fact.startswith("white-noise")]  # a change of weights goes without saying
    elif cells and not any(e.fact.startswith("white-noise") for e in found):
        found += _changes(cells)
    return describe_signs(found)


def _mixtures(
    a: Canonical, b: Canonical, parent: str, cells: Sequence[MapCell], seed: int, experts: Matched, axes: Sequence[AxisResult]
) -> Mixtures | None:
    """The two mixtures with either as the parent; None where every expert stands in its place."""
    if experts.posed is None:
        return None
    named = {(m.tower, m.layer, m.expert_b) for m in experts.matches if m.experts_a}
    rest = all(c.identical or c.cosine >= EQUAL for c in cells if not c.role.startswith(("expert.", "moe.router")))
    equal = rest and all(c.identical or c.cosine >= EQUAL for c in cells if (c.tower, c.layer, c.expert) in named)
    if parent == "A":
        return Mixtures(a, b, experts.matches, sorted(experts.looked), equal, rest)
    back = match_experts(b, a, axes, seed, True)
    equal = equal and all(m.equal or m.cosine >= EQUAL for m in back.matches)
    return Mixtures(b, a, back.matches, sorted(back.looked), equal, rest)


def _without_weaker(found: list[Evidence]) -> list[Evidence]:
    """A low-rank difference is seen from both sides; its arrow, if there is one, says all. The signs without an arrow lose their side when both have it."""
    facts = {e.fact for e in found}
    out: list[Evidence] = []
    for e in found:
        if e.fact == "low-rank" and "low-rank-rounded" in facts:
            continue
        if e.fact == "experts-more-or-fewer" and facts & {"experts-repeated", "experts-repeated-changed"}:
            continue
        if e.fact in _EITHER:
            e = Evidence(e.fact, "", e.words)
        if e not in out and not (e.fact in _EITHER and any(x.fact == e.fact for x in out)):
            out.append(e)
    return out


def _matrices(cells: Sequence[MapCell]) -> list[MapCell]:
    return [c for c in cells if ROLES[c.role].kind in ("matrix", "table") and c.n > 1]


def _grids(a: Canonical, b: Canonical, cells: Sequence[MapCell], seed: int) -> Iterator[Evidence]:
    """One model's matrices lie on a quantisation grid, the other's do not, and they are near."""
    keys = [k for k in common_keys(a, b) if ROLES[k.role].kind == "matrix" and not a.tensors[k].is_vector]
    near = [c.cosine for c in _matrices(cells)]
    if not keys or not near or median(near) < 0.9:
        return
    pick = [keys[i] for i in generator(seed, "grids").permutation(len(keys))[:_GRID_MATRICES]]
    grids = [np.mean([_on_grid(m, k, seed) for k in pick]) for m in (a, b)]
    if max(grids) > 0.6 and min(grids) < 0.2:
        yield Evidence(
            "on-grid", "", f"{'A' if grids[0] > grids[1] else 'B'}'s matrices lie on a quantisation grid, the other's do not"
        )


def _on_grid(model: Canonical, key: object, seed: int) -> bool:
    t = model.tensors[key]  # type: ignore[index]
    entry = model.checkpoint.entries[t.name]
    if entry.scaling is not None or DTYPES[entry.dtype].mantissa is None:
        return True
    at = np.sort(generator(seed, "grid rows", str(key)).permutation(t.shape[0])[:_GRID_ROWS]).astype(np.int64)
    values = model.read(t.key, at)
    return bool((values == 0).mean() < 0.9) and has_grid(values, (*_RUNS, values.shape[1]))


def _layers_replaced(a: Canonical, b: Canonical, cells: Sequence[MapCell], seed: int) -> Iterator[Evidence]:
    """Some layers are related; of the others no matrix is, at its own place or as another layer."""
    layers: dict[int, list[float]] = {}
    for c in _matrices(cells):
        if c.layer >= 0 and c.tower == "text":
            layers.setdefault(c.layer, []).append(c.r2)
    kin = sorted(layer for layer, r2 in layers.items() if median(r2) >= _SOME)
    none = sorted(layer for layer, r2 in layers.items() if max(r2) <= _NONE)
    if not kin or not none or len(kin) + len(none) != len(layers):
        return
    for child, parent in ((b, a), (a, b)):
        mine, _, cosines = layer_cosines(child, parent, "text", seed)
        if any(cosines[mine.index(layer)].max() >= _MOVED for layer in none if layer in mine):
            return
    yield Evidence(
        "layers-replaced",
        "",
        f"{ranges([f'layer {x}' for x in kin])} agree, {ranges([f'layer {x}' for x in none])} do not at all",
    )


def _changes(cells: Sequence[MapCell]) -> Iterator[Evidence]:
    matrices = _matrices(cells)
    if not matrices or median(c.r2 for c in matrices) < _NEAR:
        return
    others = [c for c in cells if not c.identical]
    kept = len(cells) - len(others)
    moved = median(c.change for c in matrices)
    if kept and others:
        said = f"{kept} of {len(cells)} tensors are equal, the others are not"
        yield Evidence(_apart(others), "", said)
    elif others:
        yield Evidence("changed-throughout", "", f"no tensor is equal; the median matrix changed by {moved:.0%} of its size")


def _apart(others: Sequence[MapCell]) -> str:
    """What the tensors that differ are."""
    roles = {c.role.split(".")[0] for c in others if c.layer < 0}
    if any(c.layer >= 0 for c in others) or not roles <= {"head", "embed"}:
        return "changed-in-part"
    return "head-changed" if roles == {"head"} else "tokens-changed"
