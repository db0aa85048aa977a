"""Aligned on the units of one layer, tested on all others: a rotated residual stream whose embeddings were replaced."""

from __future__ import annotations

import numpy as np

from begat.alignment import RouteResult
from begat.pipeline.frames import from_layers
from begat.pipeline.own import ONE_DRAW
from begat.pipeline.routes.base import Context, Route, result, route, skipped
from begat.pipeline.search import depth_of


@route(
    "layer-units",
    "aligned on one layer's units",
    "The map between the residual streams is a function of units of one layer of each, which are then left out; the order of all others was drawn "
    "independently of it. Which two layers is chosen by what no order of units changes. Two pairs of layers are tried and averaged.",
)
def layer_units(context: Context, which: Route) -> RouteResult:
    """Two layers of B in turn, each with the layer of A that its heads resemble: those that resemble theirs most, else the first and the middle one."""
    depth = depth_of(context.a)
    if not context.same_shape or depth < 2:
        return skipped(which, "needs equal depth of at least two layers")
    if context.one_draw:
        return skipped(which, ONE_DRAW)
    frames = [from_layers(context.a, context.b, context.partner(i), i, context.seed, context.features) for i in _fitted(context)]
    usable = [f for f in frames if f is not None]
    if not usable:
        return skipped(which, "no layer has MLPs of one shape in both")
    return result(context, which, [(f, context.search(f, everywhere=False)) for f in usable])


def _fitted(context: Context) -> list[int]:
    """Layers of B whose units the maps are fitted on."""
    depth, alike = depth_of(context.b), context.resemblance
    if isinstance(alike, str):
        return sorted({0, depth // 2})
    nearest = np.argsort(alike.apart.min(axis=1), kind="stable")[:2]
    return sorted(alike.theirs[int(i)] for i in nearest)
