"""Aligned on the units of one layer, tested on all others: a rotated residual stream whose embeddings were replaced."""

from __future__ import annotations

from begat.alignment import RouteResult
from begat.pipeline.frames import from_layer
from begat.pipeline.own import ONE_DRAW
from begat.pipeline.routes.base import Context, Route, result, route, skipped
from begat.pipeline.search import depth_of


@route(
    "layer-units",
    "aligned on one layer's units",
    "The map between the residual streams is a function of one layer, which is then left out; the order of units in the other layers was drawn "
    "independently of it. Two layers are tried and averaged.",
)
def layer_units(context: Context, which: Route) -> RouteResult:
    """The first and the middle layer in turn."""
    depth = depth_of(context.a)
    if not context.same_shape or depth < 2:
        return skipped(which, "needs equal depth of at least two layers")
    if context.one_draw:
        return skipped(which, ONE_DRAW)
    frames = [from_layer(context.a, context.b, i, context.seed, context.features) for i in sorted({0, depth // 2})]
    usable = [f for f in frames if f is not None]
    if not usable:
        return skipped(which, "no layer has MLPs of one shape in both")
    return result(which, [(f, context.search(f)) for f in usable])
