"""Do the experts of a layer share an ancestor? (sparse upcycling, arXiv:2212.05055)

Experts grown from one MLP, with or without noise, keep the order of its units. Every two experts of a layer are compared, the
shared expert
among them where it has their shape; the search over all pairs of all layers is paid for (`begat.stats.pairs`).  Arithmetic:
`copies.py`.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from begat.inspection import Found, Item, PairTest, Value
from begat.signals.axes import Site
from begat.signals.axes.base import is_symmetric
from begat.signals.axes.mlp_units import unit_views, units_of
from begat.signals.inspect.base import FINDINGS, Inspector, Look, runs, tower_words
from begat.signals.inspect.copies import groups, members
from begat.signals.inspect.layers import SORTED, UNITS, tested

#: bytes that may be read for this finding, experts of one layer, and layers at least, unless everything is asked for
_BUDGET, _EXPERTS, _LAYERS = 256 << 20, 32, 2


def _run(look: Look) -> Found:
    every = _mixtures(look)
    if not every:
        return Found("not-run", "the model has no routed experts whose units begat knows")
    chosen = every if look.full else _some(look, every)
    pairs, p, e, ordered = tested(look, chosen, "experts")
    items = [Item(f"{tower_words(s.tower)}layer {s.layer}, expert {s.expert}", SORTED) for s in ordered]
    if e is None:
        why = "their units lie sorted" if ordered else "stored quantisation blocks leave too few units that are treated alike"
        return Found("not-run", f"no two experts could be compared: {why}", tuple(items))
    for sites in chosen:
        mine = [x for x in pairs if (x.tower, x.layer) == (sites[0].tower, sites[0].layer)]
        items += _layer_items([s for s in sites if s not in ordered], mine)
    copied = [i for i in items if i.numbers.get("siblings")]
    layers = {i.where for i in copied}
    looked = f"{UNITS} units of {len(chosen[0])} experts of {len(chosen)} of {len(every)} layers, {len(pairs):,} pairs"
    if not copied:
        return Found("nothing", "no two experts of a layer share an order of units", tuple(items), pairs, e, p, False, looked)
    least = min(int(i.numbers["siblings"] or 0) for i in copied)
    most = max(int(i.numbers["siblings"] or 0) for i in copied)
    share = f"{least}" if least == most else f"{least} to {most}"
    sentence = f"{share} of {len(chosen[0])} experts of a layer share an ancestor, in {len(layers)} of {len(chosen)} layers"
    return Found("found", sentence, tuple(items), pairs, e, p, True, looked)


def _mixtures(look: Look) -> list[list[Site]]:
    """Per layer its experts (and the shared one) that have the commonest shape."""
    model = look.model
    layers: dict[tuple[str, int], dict[object, list[Site]]] = defaultdict(lambda: defaultdict(list))
    for kind in ("shared", "expert"):
        for key in sorted(k for k in model.tensors if k.role == f"{kind}.up.weight" and k.layer >= 0):
            if not is_symmetric(model, model, key.tower, "expert-units"):
                continue
            views = unit_views(model, model, key, kind)
            units = units_of(model, model, views)
            shape = tuple((v.key.role.split(".", 1)[1], v.take, model.tensors[v.key].shape) for v in views)
            if units > 1:
                layers[key.tower, key.layer][shape].append(Site(key.tower, key.layer, key.expert, units, views))
    largest = [max(shapes.values(), key=len) for _, shapes in sorted(layers.items())]
    return [sites for sites in largest if len(sites) > 1]


def _some(look: Look, every: list[list[Site]]) -> list[list[Site]]:
    """As many experts and layers as the budget pays for; which, is drawn publicly."""
    one = max(1, look.cost(every[0][0], UNITS))
    experts = min(_EXPERTS, max(len(s) for s in every))
    layers = max(_LAYERS, min(len(every), _BUDGET // (one * experts)))
    experts = max(8, min(experts, _BUDGET // (one * layers)))
    at = np.unique(np.linspace(0, len(every) - 1, layers).round().astype(int)) if layers < len(every) else range(len(every))
    out = []
    for i in at:
        sites = every[int(i)]
        pick = np.sort(look.rng("experts", sites[0].tower, sites[0].layer).permutation(len(sites))[:experts])
        out.append([sites[int(n)] for n in pick])
    return out


def _layer_items(sites: list[Site], pairs: list[PairTest]) -> list[Item]:
    experts = [s.expert for s in sites]
    at = {e: i for i, e in enumerate(experts)}
    where = f"{tower_words(sites[0].tower)}layer {sites[0].layer}"
    out = []
    for group in members(groups(len(experts), [(at[x.i], at[x.j]) for x in pairs if x.copies])):
        inside = [x for x in pairs if x.copies and at[x.i] in group]
        weakest = min(inside, key=lambda x: x.log10_e)
        numbers: dict[str, Value] = {
            "siblings": len(group), "experts": len(experts), "hits": weakest.hits, "of": weakest.m, "log10_e": weakest.log10_e,
            "unit_cosine": float(np.mean([x.cosine for x in inside])),
        }  # fmt: skip
        routed = [experts[i] for i in group if experts[i] >= 0]
        shared = "shared expert and " if len(routed) < len(group) else ""
        out.append(Item(where, f"{shared}experts {runs(routed)} share one order of units", numbers))
    once = members(groups(len(experts), [(at[x.i], at[x.j]) for x in pairs if x.stored_once]))
    out += [Item(where, f"experts {runs([experts[i] for i in g])} are stored once: layout, not evidence", {"stored_once": len(g)}) for g in once]  # fmt: skip
    return out


FINDINGS.add("experts")(
    Inspector(
        "Experts that share an ancestor",
        "exact",
        "Each expert of a layer drew the order of its hidden units for itself, and training treats units alike; so for any "
        "two experts P(H >= k) <= 1/k! for the H units that look most like the unit at their own index in the other. The "
        "e-value is the mean over all pairs of experts of all layers looked at; a pair counts when its own, divided by the "
        "number of pairs, reaches the threshold.",
        "Whether the ancestor was a trained dense model. Experts initialised as clones (DeepSpeed's MoE layer copies one "
        "expert) or with equal seeds share an order too. Experts that split one MLP's units among them (arXiv:2406.16554) "
        "have no unit in common, and nothing in their order shows it; nor do experts whose units were reordered, or drawn "
        "anew in part, where too few are left.",
        _run,
    )
)
