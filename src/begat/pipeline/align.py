"""Alignment: what is tried when the plain order test found nothing, or could not speak of some parts.

Enters: two canonical models and what the plain tests found.  Leaves: an `Alignment`, or None where there is nothing to align.  Exact ways:
`begat.pipeline.routes`; three views of a unit: `begat.pipeline.views`; the map afterwards: `begat.pipeline.aligned_map`.

How the search pays (statistics.md §3). Every route yields an e-value that is exact on its own. Their mean over all routes is an e-value whatever
their dependence; a route that shapes rule out counts as 1, one left out because another had found enough as 0, so one may stop at the first that
suffices. With the plain tests it is mixed in fixed proportions, `PLAIN` to 1 - `PLAIN`, alignment counting as 0 where the plain tests made it
needless: the plain e-value loses 0.05 in its log10, alignment loses 1.
"""

from __future__ import annotations

import math

from begat.alignment import Alignment, LayerMatch, RouteResult
from begat.canon.model import Canonical
from begat.errors import InputError
from begat.pipeline.aligned_map import aligned_cells
from begat.pipeline.routes import ROUTES, Context
from begat.pipeline.search import best_layers
from begat.pipeline.views import three_views, views_layers
from begat.source.tokens import read_vocabulary
from begat.stats.order import LN10, log_mean_exp, max_log_e
from begat.types import Progress
from begat.verdict.policy import POLICY

#: weight of the plain tests' e-value against alignment's
PLAIN = 0.9
#: why a route was left out because of what others had found
NOT_NEEDED = "not needed: another way had found enough"
#: log10 e-value of a route after which no other is tried
ENOUGH = 15.0


def mixed_log10_e(plain: float | None, aligned: float | None) -> float | None:
    """log10 of the mixture of the two e-values. None when neither was made.

    Plain tests that shapes rule out count as 1, alignment that was not run as 0: whether it is run depends on the plain tests.
    """
    if plain is None and aligned is None:
        return None
    logs = [math.log(PLAIN) + (plain or 0.0) * LN10]
    logs += [] if aligned is None else [math.log(1 - PLAIN) + aligned * LN10]
    return (log_mean_exp(logs) + math.log(len(logs))) / LN10


def mixed_log10_p(plain: float | None, aligned: float | None) -> float | None:
    """log10 of a p bound from both: each gets its share of the error, and an e-value E is a p bound 1/E (Markov)."""
    if plain is None and aligned is None:
        return None
    bounds = [(plain or 0.0) - math.log10(PLAIN), -(aligned or 0.0) - math.log10(1 - PLAIN)]
    return min(0.0, *bounds)


def best_log10_e(alignment: Alignment | None) -> float:
    """log10 of what alignment's share of the e-value would have been, had every sampled unit of its best route kept its order."""
    if alignment is None:
        return 0.0
    best = 0.0
    for r in alignment.routes:
        by_place = {(t.axis, t.layer_b, t.expert_b): t.m for t in r.tests if t.counted}
        best = max(best, max_log_e(list(by_place.values())) / LN10 if by_place else 0.0)
    return best + math.log10((1 - PLAIN) / len(ROUTES))


def same_build(a: Canonical, b: Canonical) -> bool:
    """Equal depth, both dense or both mixtures, and MLPs of one size."""
    context = Context(a, b, 0)
    return context.same_shape and context.units[0] == context.units[1]


def both_name_tokens(a: Canonical, b: Canonical) -> bool:
    """A tokenizer lies beside both, so that their embeddings can be matched by string."""
    try:
        return all(read_vocabulary(m.checkpoint.path) is not None for m in (a, b))
    except InputError:
        return False


def align(a: Canonical, b: Canonical, seed: int, why: str, exact: bool, progress: Progress | None = None) -> Alignment:
    """Try the routes in order.

    Args:
        why: why this is run, for the report.
        exact: dependence is established already and only the places are asked for, so that calibrated evidence is not needed.
    """
    context = Context(a, b, seed)
    routes: list[RouteResult] = []
    if progress:
        progress.start("alignment", len(ROUTES) + 2)
    for _, route in ROUTES.items():
        done = any(r.log10_e is not None and r.log10_e >= ENOUGH for r in routes)
        routes.append(_left_out(route.name, route.title, route.null) if done else route.run(context))
        if progress:
            progress.step()
    log10_e = _mean(routes)
    strong = log10_e is not None and log10_e >= POLICY.dependence_log10_e
    views = None if strong or exact else three_views(context)
    if progress:
        progress.step()
    layers = _layers(routes, views_layers(context) if views is not None and views.shown else ())
    cells = aligned_cells(context, layers) if strong or exact or (views is not None and views.shown) else ()
    if progress:
        progress.step()
        progress.done()
    return Alignment(why, tuple(routes), log10_e, views, layers, cells)


def _left_out(name: str, title: str, null: str) -> RouteResult:
    return RouteResult(name, title, "", null, (), None, NOT_NEEDED)


def _mean(routes: list[RouteResult]) -> float | None:
    """log10 of the mean e-value over all routes, one ruled out counting as 1, one left out as 0; None when none was run."""
    if all(r.log10_e is None for r in routes):
        return None
    logs = [(r.log10_e or 0.0) * LN10 for r in routes if r.not_run != NOT_NEEDED]
    return (log_mean_exp(logs) + math.log(len(logs) / len(routes))) / LN10


def _layers(routes: list[RouteResult], from_views: tuple[LayerMatch, ...]) -> tuple[LayerMatch, ...]:
    """For every layer of B the layer of A that the strongest exact route finds in it; else what three views say."""
    ran = [r for r in routes if r.log10_e is not None and r.log10_e >= POLICY.part_log10_e]
    if not ran:
        return from_views
    strongest = max(ran, key=lambda r: r.log10_e or 0.0)
    shares = {(t.layer_b, t.layer_a): t for t in strongest.tests}
    found = best_layers(strongest.tests, POLICY.part_log10_e + math.log10(max(1, len(shares))))
    return tuple(
        LayerMatch(layer_b, layer_a, strongest.route, log10_e, shares[layer_b, layer_a].hits / shares[layer_b, layer_a].m)
        for layer_b, (layer_a, log10_e) in sorted(found.items())
    )
