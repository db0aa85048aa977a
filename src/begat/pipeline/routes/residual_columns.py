"""The order of the residual stream seen in the columns of layers: units reordered and embeddings replaced (T2 with a new vocabulary)."""

from __future__ import annotations

import numpy as np

from begat.alignment import PairTest, RouteResult
from begat.canon.model import Canonical
from begat.pipeline.by_index import WORTH, ByIndex
from begat.pipeline.frames import same_basis
from begat.pipeline.own import rows_are_fixed
from begat.pipeline.pose import relayered
from begat.pipeline.routes.base import Context, Route, route, skipped
from begat.pipeline.sampling import Plan, generator, plan_site, read_views
from begat.pipeline.search import depth_of
from begat.signals.axes import Site, View
from begat.signals.axes.base import equal_views, is_symmetric
from begat.signals.order import Hits, order_hits
from begat.stats.order import LN10, log_e_alternatives, log_e_single
from begat.types import OrderTest

_ATTENTION = ("attn.q.weight", "attn.k.weight", "attn.v.weight")
_MLP = ("mlp.gate.weight", "mlp.up.weight")


@route(
    "residual-columns",
    "residual order in the columns of layers",
    "The dims of the residual stream share one order over all layers, drawn at initialisation; no position vectors fixed by index are added to it. "
    "Read from columns of attention or of MLP matrices at sampled rows, two alternatives that share that one order and are averaged. Which layers lie beside "
    "each other is chosen by what that order does not change.",
)
def residual_columns(context: Context, which: Route) -> RouteResult:
    """One test a kind of matrix, pooled over layers."""
    a, b = _side_by_side(context), context.b
    if not context.same_width or not is_symmetric(a, b, "text", "residual"):
        return skipped(which, "the residual streams are not equally wide, or their order is no lottery")
    width = a.geometry["text"].width or 0
    tests = []
    for roles in (_ATTENTION, _MLP):
        keys = [k for k in sorted(a.tensors) if k.tower == "text" and k.role in roles]
        views = equal_views(a, b, [View(k, "tokens") for k in keys])
        views = tuple(v for v in views if a.tensors[v.key].shape == b.tensors[v.key].shape and not a.tensors[v.key].transposed)
        if not views:
            continue
        site = Site("text", -1, -1, width, views, roles[0].partition(".")[0])
        for plan in plan_site(a, b, site, 256, 1, generator(context.seed, "columns", roles[0])):
            blocks = [read_views(m, plan) for m in (a, b)]
            hits = order_hits(*blocks)
            if hits.m > 1 and not _by_index(a, b, plan, hits):
                tests.append(PairTest("residual", -1, -1, -1, -1, hits.m, hits.hits))
    if not tests:
        return skipped(which, "no matrices of one shape in common whose columns are not in an order that the index fixes")
    context.frames[which.name] = same_basis()
    log_e = log_e_alternatives([t.hits for t in tests], [t.m for t in tests])
    best = tests[int(np.argmax([t.hits for t in tests]))]
    return RouteResult(which.name, which.title, "nothing", which.null, (best,), log_e / LN10)


def _by_index(a: Canonical, b: Canonical, plan: Plan, hits: Hits) -> bool:
    """Both models' dims stand by index in these columns, or the rows that they are read in do."""
    if log_e_single(hits.hits, hits.m) < WORTH * LN10:
        return False
    test, by_index = OrderTest("residual", "text", -1, -1, hits.m, hits.hits, hits.noise_sd, hits.features), ByIndex(a, b)
    by_index.add(test, plan)
    return not by_index.keep([test]) or all(rows_are_fixed(m, [v.key for v in plan.site.views]) for m in (a, b))


def _side_by_side(context: Context) -> Canonical:
    """A, its layers in the places of the layers of B that they resemble, where both are equally deep."""
    layers = {i: context.partner(i) for i in range(depth_of(context.b))}
    return context.a if all(i == j for i, j in layers.items()) else relayered(context.a, layers)
