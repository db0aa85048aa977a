"""How much of each model a comparison spoke of, in parameters.

Enters: canonical models, the order tests that ran, parts, alignment.  Leaves: a `Coverage` for A and for B: shares of their
parameters that were not decoded, have unknown names, or were in no order test; and towers that only one of them has.
The words: `headline.py`.

A parameter is *tested* where an order test of its layer ran, or, outside the layers, of its tower's residual stream.
Layers and experts that the other model lacks cannot be tested and are no gap. Buffers are no parameters.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from begat.alignment import Alignment
from begat.canon.model import Canonical
from begat.canon.unread import unread_parameters
from begat.types import AxisResult, Coverage, Gap, TensorKey

#: why parameters were not read or not tested
UNTESTED = "read, but in no order test"


def coverage(
    a: Canonical, b: Canonical, axes: Sequence[AxisResult], alignment: Alignment | None, tested: bool = True
) -> tuple[Coverage, Coverage]:
    """Coverage of A and of B; `tested` False: no order test was asked for, so none is missed (equal weights)."""
    sides = []
    for number, (model, other) in enumerate(((a, b), (b, a))):
        places = _tested(axes, alignment, number)
        sides.append(_coverage("AB"[number], model, other, places if tested else None))
    return sides[0], sides[1]


def unread(model: Canonical) -> tuple[Gap, ...]:
    """What of one model was not read, as shares of all its parameters, largest first."""
    found = unread_parameters(model)
    total = sum(found.values()) + sum(math.prod(t.shape) for t in model.tensors.values())
    return tuple(Gap(why, n / total) for why, n in sorted(found.items(), key=lambda x: -x[1]) if n)


def _tested(axes: Sequence[AxisResult], alignment: Alignment | None, side: int) -> set[tuple[str, int]]:
    """(tower, layer) of every order test, of A (side 0) or B (side 1)."""
    places = {(t.tower, t.layer) for x in axes for t in x.tests}
    for route in alignment.routes if alignment is not None else ():
        if route.log10_e is not None:
            places |= {("text", (t.layer_a, t.layer_b)[side]) for t in route.tests}
            places.add(("text", -1))
    return places


def _coverage(name: str, model: Canonical, other: Canonical, places: set[tuple[str, int]] | None) -> Coverage:
    found = unread_parameters(model)
    sizes = {key: math.prod(t.shape) for key, t in model.tensors.items()}
    towers: dict[str, int] = {}
    for key, n in sizes.items():
        towers[key.tower] = towers.get(key.tower, 0) + n
    hidden = sum(unread_parameters(other).values())  # a tower of that size may be among them
    theirs = {k.tower for k in other.tensors}
    alone = tuple(sorted(t for t, n in towers.items() if t not in theirs and 2 * hidden < n))
    common = {key: n for key, n in sizes.items() if _has_counterpart(key, other)}
    if places is not None:
        missed = sum(n for key, n in common.items() if (key.tower, key.layer) not in places)
        found |= {UNTESTED: missed} if missed else {}
    total = sum(common.values()) + sum(n for why, n in found.items() if why != UNTESTED)
    gaps = tuple(Gap(why, n / total) for why, n in sorted(found.items(), key=lambda x: -x[1]) if n and total)
    return Coverage(name, sum(sizes.values()), total, gaps, alone)


def _has_counterpart(key: TensorKey, other: Canonical) -> bool:
    """The other model has this tower and, in it, something at this layer that could be compared."""
    return any(k.tower == key.tower and (k.layer >= 0) == (key.layer >= 0) for k in other.tensors)
