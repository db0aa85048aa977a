"""Residual streams as they are, counterparts searched: layers moved, depth pruned or up-scaled, a dense MLP inside experts."""

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
    """Every layer against every other, also at equal depth: there the plain order test has looked at each layer's own index only."""
    if not context.same_width:
        return skipped(which, "the residual streams are not equally wide")
    frame = frame_of()
    return result(context, which, [(frame, context.search_everywhere(frame))])
