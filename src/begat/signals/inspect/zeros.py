"""Weights that are exactly zero (pruned), in which pattern; and units in sorted order.

Enters: a few rows of every matrix.  Leaves: shares of zeros, whole zero rows, 2:4 blocks, and layers whose units lie sorted by
size.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from begat.inspection import Found, Item, Value
from begat.signals.inspect.base import FINDINGS, Inspector, Look, matrices, runs, tower_words
from begat.signals.inspect.copies import sorted_units
from begat.signals.inspect.grid import grid_levels
from begat.types import F32

#: rows read of each matrix, and of one matrix of units in each layer
_ROWS, _UNIT_ROWS = 16, 128
#: share of zeros from which a matrix counts as pruned; above the second a grid's own zero level cannot explain it
_PRUNED, _NO_LEVEL = 0.02, 0.6
#: 2:4: share of blocks that keep at most two of four
_BLOCKS = 0.999


def _run(look: Look) -> Found:
    counted: dict[str, list[tuple[int, float, int, int, float]]] = defaultdict(list)
    every = [k for k in matrices(look) if not k.role.startswith("embed.") and (k.expert <= 0 or look.full)]
    for key in every:
        values = look.rows(key, _ROWS)
        zeros = float((values == 0).mean())
        look.step()
        if zeros < _PRUNED or (zeros < _NO_LEVEL and grid_levels(look, key, values)):
            continue
        if look.full:
            zeros = float(np.mean([float((c == 0).mean()) for c in look.chunks(key, _ROWS)]))
        blocks, log10_p = two_of_four(values)
        empty = int((values == 0).all(axis=1).sum())
        counted[key.role].append((values.size, zeros, empty, len(values), log10_p if blocks else 0.0))
    items = [_role_item(role, found) for role, found in counted.items()]
    items += _sorted_items(look)
    looked = f"{_ROWS} rows of {len(every):,} matrices, {_UNIT_ROWS} units of each layer"
    if not items:
        return Found("nothing", "no matrix is pruned, no layer's units are sorted", looked_at=looked)
    pruned = [i for i in items if "zeros" in i.numbers]
    share = [float(i.numbers["zeros"] or 0) for i in pruned]
    parts = (
        [f"{len(pruned)} kinds of matrices are pruned ({100 * min(share):.0f} to {100 * max(share):.0f} % zeros)"]
        if pruned
        else []
    )
    parts += [f"{i.where}: {i.what}" for i in items if "zeros" not in i.numbers]
    return Found("found", "; ".join(parts), tuple(items), looked_at=looked)


def _role_item(role: str, found: list[tuple[int, float, int, int, float]]) -> Item:
    n = sum(f[0] for f in found)
    numbers: dict[str, Value] = {"tensors": len(found), "zeros": sum(f[0] * f[1] for f in found) / n}
    what = "exact zeros"
    if all(f[4] < 0 for f in found):
        what += ", at most two of every four neighbours kept (2:4)"
        numbers["log10_p"] = max(f[4] for f in found)
    if empty := sum(f[2] for f in found):
        what += f"; {empty} of {sum(f[3] for f in found)} rows read are all zero"
    return Item(role, what, numbers)


def two_of_four(values_MN: F32) -> tuple[bool, float]:
    """Is the pattern 2:4 along the inputs, and log10 of the chance of it?

    Null and assumption: zeros fall anywhere, independently, at their share z; a block of four then has two or more with
    probability q(z), and all of G blocks with q^G.
    """
    if values_MN.shape[1] % 4 or not values_MN.size:
        return False, 0.0
    zero = values_MN == 0
    z = float(zero.mean())
    inside = (zero.reshape(-1, 4).sum(axis=1) >= 2).mean()
    q = 1 - (1 - z) ** 4 - 4 * z * (1 - z) ** 3
    log10_p = zero.size / 4 * float(np.log10(max(q, 1e-300)))
    return bool(inside >= _BLOCKS and 0.45 <= z <= 0.75 and log10_p <= -6), log10_p


def _sorted_items(look: Look) -> list[Item]:
    """Layers whose MLP units are ordered by size: pairs of units half the sample apart, an exact sign test, Bonferroni over
    layers.
    """
    model = look.model
    keys = [
        k
        for k in sorted(model.tensors)
        if k.role in ("mlp.up.weight", "expert.up.weight") and k.expert <= 0 and not model.tensors[k].transposed
    ]
    out: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for key in keys:
        rows = look.rows(key, _UNIT_ROWS)
        look.step()
        log10_p = sorted_units(rows) + float(np.log10(len(keys)))
        if log10_p <= -look.needed:
            out[key.tower].append((key.layer, log10_p))
    items = []
    for tower, found in out.items():
        where = f"{tower_words(tower)}layers {runs([layer for layer, _ in found])}"
        worst = max(p for _, p in found)
        items.append(Item(where, "MLP units lie sorted by size", {"layers": len(found), "log10_p": worst}))
    return items


FINDINGS.add("zeros")(
    Inspector(
        "Pruned weights, sorted units",
        "counted",
        "Exact zeros are counted; where the values lie on a quantisation grid its own zero level is not. 2:4: at most two of "
        "four neighbouring inputs kept in 999 of 1,000 blocks, where zeros falling anywhere would leave that to chance. "
        "Sorted: of exchangeable units, the later one is the larger with probability one half (exact sign test on disjoint "
        "pairs, times the number of layers).",
        "Who pruned, or from what: a pruned model shows neither. Units that were removed leave no zeros. A grid whose groups lie scattered "
        "has zeros of its own. Units that lie sorted were put in order after training, so the order tests above leave them out.",
        _run,
    )
)
