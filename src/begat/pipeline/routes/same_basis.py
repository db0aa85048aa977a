"""Residual streams as they are, counterparts searched: depth pruned or up-scaled, a dense MLP inside experts."""

from __future__ import annotations

from begat.alignment import RouteResult
from begat.pipeline.frames import same_basis as frame_of
from begat.pipeline.routes.base import Context, Route, result, route, skipped


@route(
    "same-basis",
    "layers and experts searched",
    "The units of every layer are drawn alike, independently of the other model, and trained alike; so whichever layer or expert of the other model they "
    "are held against, a unit finds its own index with chance at most 1 in the sample. Counterparts searched over are averaged.",
)
def same_basis(context: Context, which: Route) -> RouteResult:
    """Only where the plain order test could not see all: other depth, or experts on one side."""
    if not context.same_width:
        return skipped(which, "the residual streams are not equally wide")
    if context.same_shape:
        return skipped(which, "equal depth and kind: the plain order test has done it")
    frame = frame_of()
    return result(which, [(frame, context.search(frame))])
