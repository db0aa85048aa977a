"""Experts put in another order, or kept where all else was drawn anew: mixture against mixture, each expert with the one most like it."""

from __future__ import annotations

from begat.alignment import RouteResult
from begat.pipeline.experts import search_experts
from begat.pipeline.frames import same_basis
from begat.pipeline.routes.base import Context, Route, result, route, skipped
from begat.pipeline.search import depth_of, has_experts


@route(
    "expert-orders",
    "experts matched with experts",
    "The order of units inside an expert is drawn independently of the other model and of other experts; its partner is chosen by a likeness that is the "
    "same in whatever order the sampled units stand, so a unit finds its own index with chance at most 1 in the sample. Frames tried are averaged.",
)
def expert_orders(context: Context, which: Route) -> RouteResult:
    """In the same basis and, where tokens are shared, in the frame they give."""
    if not all(has_experts(m) for m in (context.a, context.b)):
        return skipped(which, "one of the models has no routed experts")
    if depth_of(context.a) != depth_of(context.b):
        return skipped(which, "needs equal depth")
    frames = [same_basis()] if context.same_width else []
    if not isinstance(context.token_frame, str):
        frames.append(context.token_frame)
    if not frames:
        return skipped(which, "the residual streams are not equally wide and no tokens are shared")
    return result(context, which, [(f, search_experts(context.a, context.b, f, context.seed, context.features)) for f in frames])
