"""Are layers of this model copies of each other? (depth up-scaling, arXiv:2312.15166; stacking, arXiv:1904.06376 §3)

Every two layers of a tower whose MLPs have one shape are compared by the order of their units; the search over pairs is paid for
(`begat.stats.pairs`).  Arithmetic: `copies.py`; experts of one layer: `experts.py`.
"""

from __future__ import annotations

import math
from collections import defaultdict
from itertools import combinations

import numpy as np

from begat.inspection import Found, Item, PairTest, Value
from begat.signals.axes import Site
from begat.signals.axes.base import is_symmetric
from begat.signals.axes.mlp_units import unit_views, units_of
from begat.signals.inspect.base import FINDINGS, Inspector, Look, runs, tower_words
from begat.signals.inspect.copies import groups, hits_of_pairs, members, sorted_units
from begat.stats.pairs import paid, search_pairs
from begat.types import TensorKey

#: units compared; with 64 of them a pair of copies has p <= 10^-89
UNITS = 64
#: what is said of a place that was not tested
SORTED = "units lie sorted by size: their order is no lottery and was not tested"
#: rows of every other matrix of a copied layer that are compared
_ROWS = 8


def _run(look: Look) -> Found:
    pairs, p, e, ordered = tested(look, _layers(look), "layers")
    items = [Item(f"{tower_words(s.tower)}layer {s.layer}", SORTED) for s in ordered]
    if not pairs:
        return Found("not-run", "no two layers have MLP units of one shape, in an order drawn by lottery", tuple(items))
    for tower in sorted({x.tower for x in pairs}):
        items += _tower_items(look, tower, [x for x in pairs if x.tower == tower])
    copied = [i for i in items if i.numbers.get("copies")]
    once = any(x.stored_once for x in pairs)
    shown = "; ".join(f"{i.where} are copies of one layer" for i in copied[:4]) + (
        f" and {len(copied) - 4} more groups" if len(copied) > 4 else ""
    )
    nothing = "layers stored once are shared by design" if once else f"no two of {_count(pairs)} layers share an order of units"
    return Found(
        "found" if copied else "nothing", shown or nothing, tuple(items), pairs, e, p, bool(copied),
        f"{max(x.m for x in pairs)} units of each layer, {len(pairs):,} pairs of layers",
    )  # fmt: skip


def _count(pairs: tuple[PairTest, ...]) -> int:
    return len({(x.tower, n) for x in pairs for n in (x.i, x.j)})


def _layers(look: Look) -> list[list[Site]]:
    """Sites of layers that can be compared: one tower, one kind of MLP, one shape; in a mixture the same expert stands for
    its layer.
    """
    model, out = look.model, defaultdict(list)
    seen: set[tuple[str, int]] = set()
    for kind, axis in (("mlp", "mlp-units"), ("shared", "mlp-units"), ("expert", "expert-units")):
        for key in sorted(k for k in model.tensors if k.role == f"{kind}.up.weight" and k.layer >= 0):
            if (key.tower, key.layer) in seen or not is_symmetric(model, model, key.tower, axis):
                continue
            views = unit_views(model, model, key, kind)
            units = units_of(model, model, views)
            if units > 1:
                seen.add((key.tower, key.layer))
                shape = tuple((v.key.role, v.take, model.tensors[v.key].shape) for v in views)
                out[key.tower, key.expert, shape].append(Site(key.tower, key.layer, key.expert, units, views))
    return [sites for sites in out.values() if len(sites) > 1]


def tested(look: Look, sets: list[list[Site]], kind: str) -> tuple[tuple[PairTest, ...], float | None, float | None, list[Site]]:
    """Every two sites of each set compared: the pairs, log10 p and log10 e of the whole search (None when no pair could be
    tested), and the sites that were left out.

    Sites that are one stored tensor are no test: they are listed as stored once and left out of the search. So are sites whose units
    lie sorted by size: their order is no lottery. Leaving sites out by their own order alone can only lower the chance of a false pair.
    """
    raw: list[PairTest] = []
    ordered: list[Site] = []
    places = sum(len(sites) for sites in sets)
    for sites in sets:
        blocks = look.units(sites, UNITS)
        look.step()
        if blocks is None:
            continue
        lottery = [sorted_units(np.concatenate(views, axis=1)) + math.log10(places) > -look.needed for views in blocks]
        ordered += [s for s, drawn in zip(sites, lottery, strict=True) if not drawn]
        sites = [s for s, drawn in zip(sites, lottery, strict=True) if drawn]
        blocks = [b for b, drawn in zip(blocks, lottery, strict=True) if drawn]
        if len(sites) < 2:
            continue
        hits, cosine, m = hits_of_pairs(blocks, look.rng("features", kind, len(sites)))
        for i, j in combinations(range(len(sites)), 2) if m > 1 else ():
            a, b = sites[i], sites[j]
            x, y, layer = (a.layer, b.layer, -1) if kind == "layers" else (a.expert, b.expert, a.layer)
            once = all(_place(look, v.key) == _place(look, w.key) for v, w in zip(a.views, b.views, strict=True))
            raw.append(PairTest(kind, a.tower, layer, x, y, m, int(hits[i, j]), float(cosine[i, j]), 0.0, False, once))
    real = [x for x in raw if not x.stored_once]
    if not real:
        return tuple(raw), None, None, ordered
    e, p, single = search_pairs([x.hits for x in real], [x.m for x in real])
    worth = dict(zip(map(id, real), single, strict=True))

    def judged(x: PairTest) -> PairTest:
        log10_e = worth.get(id(x), 0.0)
        copies = id(x) in worth and paid(log10_e, len(real)) >= look.needed
        return PairTest(x.kind, x.tower, x.layer, x.i, x.j, x.m, x.hits, x.cosine, log10_e, copies, x.stored_once)

    return tuple(judged(x) for x in raw), p, e, ordered


def _place(look: Look, key: TensorKey) -> tuple[str | int, ...]:
    """Where a tensor's bytes lie: two names for one place are one tensor.

    Tensors that are computed when read (a merged adapter) have no place but their name.
    """
    entry, rows = look.entry(key), look.model.tensors[key].rows
    if look.model.checkpoint.format == "peft":
        return (entry.name,)
    return str(entry.file), entry.offset, int(rows[0]) if len(rows) else 0


def _tower_items(look: Look, tower: str, pairs: list[PairTest]) -> list[Item]:
    numbers = sorted({n for x in pairs for n in (x.i, x.j)})
    at = {n: i for i, n in enumerate(numbers)}
    root = groups(len(numbers), [(at[x.i], at[x.j]) for x in pairs if x.copies])
    items = []
    for group in members(root):
        layers = [numbers[i] for i in group]
        items.append(_group_item(look, tower, layers, [x for x in pairs if x.copies and x.i in layers], len(numbers)))
    once = members(groups(len(numbers), [(at[x.i], at[x.j]) for x in pairs if x.stored_once]))
    for group in once:
        where = f"{tower_words(tower)}layers {runs([numbers[i] for i in group])}"
        items.append(Item(where, "stored once and shared: layout, not evidence", {"stored_once": len(group)}))
    if any(i.numbers.get("copies") for i in items):
        first = {r: n for n, r in enumerate(dict.fromkeys(root))}
        everywhere = _all_layers(look, tower)
        names = {n: str(first[root[at[n]]]) if n in at else "?" for n in everywhere}
        items.append(Item(f"{tower_words(tower)}layer map", " ".join(names[n] for n in everywhere), {}))
    return items


def _all_layers(look: Look, tower: str) -> list[int]:
    return sorted({k.layer for k in look.model.tensors if k.tower == tower and k.layer >= 0})


def _group_item(look: Look, tower: str, layers: list[int], pairs: list[PairTest], total: int) -> Item:
    cosines, same = _agreement(look, tower, layers)
    if len(layers) == total and total > 2:
        what = "all share one order of units: one layer initialised all of them, or they were stacked from one"
    elif same:
        what = "copies, every value read is equal"
    else:
        what = "copies that were changed since"
    weakest = min(pairs, key=lambda x: x.log10_e)
    numbers: dict[str, Value] = {
        "copies": len(layers), "layers": ",".join(map(str, layers)), "identical": same, "hits": weakest.hits, "of": weakest.m,
        "log10_e": weakest.log10_e, "unit_cosine": weakest.cosine, **cosines,
    }  # fmt: skip
    return Item(f"{tower_words(tower)}layers {runs(layers)}", what, numbers)


def _agreement(look: Look, tower: str, layers: list[int]) -> tuple[dict[str, Value], bool]:
    """Mean cosine of attention and of MLP matrices of the copies with the first of them, from a few rows; and whether all
    values read are equal.
    """
    model, first = look.model, layers[0]
    found: dict[str, list[float]] = defaultdict(list)
    same = True
    for key in [k for k in sorted(model.tensors) if (k.tower, k.layer) == (tower, first) and k.expert <= 0]:
        for layer in layers[1:]:
            other = TensorKey(tower, layer, key.role, key.expert)
            if other not in model.tensors or model.tensors[other].shape != model.tensors[key].shape:
                same = False
                continue
            dot = xx = yy = 0.0
            for x, y in zip(look.chunks(key, _ROWS), look.chunks(other, _ROWS), strict=True):
                same = same and bool(np.array_equal(x, y))
                x64, y64 = x.astype(np.float64).ravel(), y.astype(np.float64).ravel()
                dot, xx, yy = dot + float(x64 @ y64), xx + float(x64 @ x64), yy + float(y64 @ y64)
            part = key.role.split(".")[0]
            if not model.tensors[key].is_vector and xx > 0 and yy > 0 and part in ("attn", "mlp", "expert", "shared"):
                found["attention_cosine" if part == "attn" else "mlp_cosine"].append(dot / (xx * yy) ** 0.5)
    return {name: float(np.mean(values)) for name, values in found.items()}, same


FINDINGS.add("layers")(
    Inspector(
        "Layers that are copies",
        "exact",
        "Each layer drew the order of its MLP units for itself, and training treats units alike; so for any two layers P(H "
        ">= k) <= 1/k! for the H units that look most like the unit at their own index in the other layer. The e-value is "
        "the mean over all pairs; a pair counts when its own, divided by the number of pairs, reaches the threshold.",
        "Which copy came first, and from which model. Layers that were all initialised as clones of one (PyTorch's "
        "nn.TransformerEncoder does that) share an order too, without any parent. Copies whose units were reordered, or "
        "trained until nothing is left, are not seen.",
        _run,
    )
)
