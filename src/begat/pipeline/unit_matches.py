"""Which units of B's MLPs agree with units of A's in all their views, in one frame: MLP against MLP, layers anywhere.

Enters: a `Context`, a frame, MLPs of B and the layers of A that each is held against.  Leaves: `Found`s.  The statistic: `begat.signals.views`; what it
is worth: `views.py` (does B descend from A?) and `rest.py` (does this layer, of a model that does?).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from begat.canon.model import Canonical
from begat.pipeline.frames import Frame
from begat.pipeline.mlps import EXPERTS, Block, blocks_of, likest, router_rows, views_of
from begat.pipeline.routes.base import Context
from begat.pipeline.sampling import generator
from begat.signals.indexed import INDEXED, index_scores
from begat.signals.views import agreement
from begat.types import F32

#: units of an MLP of B that are looked at, and neighbouring ones that are looked at for a pattern
UNITS, _INDEX_UNITS = 256, 128


@dataclass(frozen=True, slots=True)
class Found:
    """A block of B, the block of A that it agrees with most, and the median share of those that it does not belong to.

    by_layer: layer of A → units that agree with the likest block there.
    """

    block: Block
    agreeing: int
    m: int
    partner: Block
    apart: float
    by_layer: Mapping[int, int]



def match(
    context: Context, frame: Frame, theirs: Sequence[Block], layers_for: Callable[[Block], set[int] | None], units: int = UNITS
) -> list[Found]:
    """Agreement of MLPs of B with those of A in one frame, the best for each.

    Args:
        layers_for: layers of A that an MLP is held against, None for all.
        units: units of each that are looked at.
    """
    ours = blocks_of(context.a, None, plain=True)
    q_a, q_b = frame.q_DE, None
    if frame.q_DE is not None and frame.q_DE.shape[0] == frame.q_DE.shape[1]:
        q_a, q_b = None, frame.q_DE.T  # few units are cheaper to turn than all
    samples = {x: _sample(context, x, q_b, units) for x in theirs if not by_index(context, context.b, x)}
    near: dict[Block, list[Block]] = {}
    routers: dict[int, F32 | None] = {}
    for x in samples:
        layers = layers_for(x)
        like = [y for y in ours if y.gated == x.gated and (layers is None or y.layer in layers)]
        for partner in _partners(context, like, x, (q_a, q_b), routers):
            near.setdefault(partner, []).append(x)
    agreed: dict[Block, dict[Block, int]] = {x: {} for x in samples}
    for partner in (y for y in ours if y in near and not by_index(context, context.a, y)):
        a_views = views_of(context.a, partner, None, q_a, context.features)
        for x in near[partner]:
            agreed[x][partner] = agreement(samples[x], a_views, x.signed).agreeing
    return [
        _best(x, agreed[x], len(samples[x][0]))
        for x in sorted(samples, key=lambda x: (x.layer, x.expert))
        if agreed[x]
    ]


def _partners(
    context: Context, ours: list[Block], x: Block, maps: tuple[F32 | None, F32 | None], routers: dict[int, F32 | None]
) -> list[Block]:
    """Of A's MLPs those that B's `x` is held against: of the routed experts of a layer those whose router rows are most like its own.

    Experts stand in any order. Router rows are no part of a unit's views, so that choosing by them favours no agreement. `routers` keeps A's.
    """
    out = [y for y in ours if y.kind != "expert"]
    by_layer: dict[int, list[Block]] = {}
    for y in ours:
        if y.kind == "expert":
            by_layer.setdefault(y.layer, []).append(y)
    mine = router_rows(context.b, x.layer, [x.expert], maps[1], context.features) if x.kind == "expert" else None
    for layer, experts in sorted(by_layer.items()):
        chosen: Sequence[int] = range(min(EXPERTS, len(experts)))
        if mine is not None and len(experts) > EXPERTS:
            if layer not in routers:
                routers[layer] = router_rows(context.a, layer, [y.expert for y in experts], maps[0], context.features)
            all_ED = routers[layer]
            if all_ED is not None and mine.shape[1] == all_ED.shape[1]:
                chosen = likest(mine[0], all_ED, EXPERTS)
        out += [experts[i] for i in chosen]
    return out


def _best(x: Block, agreed: dict[Block, int], m: int) -> Found:
    """The best of all that it was held against, of equal ones that at its own index."""
    partner = max(agreed, key=lambda y: (agreed[y], y.layer == x.layer))
    others = [n for y, n in agreed.items() if y.layer != partner.layer]
    by_layer: dict[int, int] = {}
    for y, n in agreed.items():
        by_layer[y.layer] = max(n, by_layer.get(y.layer, 0))
    return Found(x, agreed[partner], m, partner, float(np.median(others)) / m if others else 1.0, by_layer)


def by_index(context: Context, model: Canonical, block: Block) -> bool:
    """The units of this MLP follow a pattern that their index fixes. In the banks no model's do, so they say nothing of one whose do: one is enough."""
    at = f"by index {id(model)} {block}"
    if at not in context.kept:
        units = np.arange(min(block.units, _INDEX_UNITS), dtype=np.int64)
        scores = index_scores([model.read(block.key(role), units) for role in block.inner], units, units[:0])
        context.kept[at] = bool(scores.size and float(scores.max()) >= INDEXED)
    return bool(context.kept[at])


def _sample(context: Context, block: Block, q_ED: F32 | None, most: int) -> list[F32]:
    rng = generator(context.seed, "views", block.layer, block.expert)
    units = np.sort(rng.permutation(block.units)[:most]).astype(np.int64)
    return views_of(context.b, block, units, q_ED, context.features)
