"""Aligned on the embeddings of tokens that both know: a rotated or reordered residual stream (T1, T3, with T5), layers searched where depths differ."""

from __future__ import annotations

from begat.alignment import RouteResult
from begat.pipeline.routes.base import Context, Route, result, route, skipped


@route(
    "embedding",
    "aligned on shared tokens",
    "The map between the residual streams is a function of the embeddings alone, which do not depend on the order of MLP units, heads, value dims or "
    "experts; given it that order is uniform, and a unit finds its own index with chance at most 1 in the sample. Counterparts searched over are averaged.",
)
def embedding(context: Context, which: Route) -> RouteResult:
    """One frame for the whole model."""
    frame = context.token_frame
    if isinstance(frame, str):
        return skipped(which, frame)
    return result(context, which, [(frame, context.search(frame))])
