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
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from begat.alignment import Alignment, LayerLook, LayerMatch, PairTest, RouteResult, ThreeViews
from begat.canon.model import Canonical
from begat.errors import InputError
from begat.pipeline.aligned_map import aligned_cells
from begat.pipeline.frames import Frame, same_basis
from begat.pipeline.merged import merged_units
from begat.pipeline.resemblance import like_heads
from begat.pipeline.rest import look_at_rest, other_tower
from begat.pipeline.routes import ROUTES, Context
from begat.pipeline.search import best_layers, depth_of, needed_of
from begat.pipeline.views import frame_at, three_views, views_layers
from begat.source.tokens import read_vocabulary
from begat.stats.order import LN10, log_mean_exp, max_log_e
from begat.types import Progress
from begat.verdict.policy import POLICY

#: weight of the plain tests' e-value against alignment's
PLAIN = 0.9
#: why a route was left out because of what others had found
NOT_NEEDED = "not needed: another way had found enough"
#: tests of a route that are all shown
_SHOWN = 1000
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


def align(
    a: Canonical, b: Canonical, seed: int, why: str, held: Collection[int] | None, towers: Mapping[str, Collection[int]] | None = None,
    text: bool = True, progress: Progress | None = None,
) -> Alignment:  # fmt: skip
    """Try the routes in order.

    Args:
        why: why this is run, for the report.
        held: layers of B's text tower that are A's by the plain tests, where dependence is established in that tower and only the
            places are asked for; None where it is not.
        towers: other towers with layers that the plain tests left open, and their layers that are A's.
        text: the text tower is asked about at all.
    """
    if progress:
        progress.start("alignment", len(ROUTES) + 2)
    (a, of_a), (b, of_b) = merged_units(a, b, seed)
    context = Context(a, b, seed)
    routes = _routes(context, progress) if text else []
    log10_e = _mean(routes)
    strong = log10_e is not None and log10_e >= POLICY.dependence_log10_e
    views = three_views(context) if text and not strong and held is None else None
    if progress:
        progress.step()
    layers: tuple[LayerMatch, ...] = ()
    rest = _searched(context, routes)
    if text and (strong or held is not None or (views is not None and views.shown)):
        layers = _layers(routes) or (views_layers(context) if views is not None else ())
        known = {m.layer_b for m in layers} | set(held or ())
        late = look_at_rest(context, [i for i in range(depth_of(b)) if i not in known], _frame_for(context, routes, views))
        layers, rest = tuple(sorted((*layers, *late.found), key=lambda m: m.layer_b)), late.left
    cells = aligned_cells(context, layers)
    beside = [other_tower(a, b, tower, theirs, seed) for tower, theirs in sorted((towers or {}).items())]
    if progress:
        progress.step()
        progress.done()
    found = (*layers, *(m for x in beside for m in x.found))
    routes = [replace(r, tests=_shown(r.tests, layers)) for r in routes]
    undone = tuple(f"{name}: {words}" for name, words in (("A", of_a), ("B", of_b)) if words)
    return Alignment(why, tuple(routes), log10_e, views, found, cells, (*rest, *(look for x in beside for look in x.left)), undone)


def _routes(context: Context, progress: Progress | None) -> list[RouteResult]:
    """Every route in turn; once one has found enough, the others are left out."""
    out: list[RouteResult] = []
    for _, route in ROUTES.items():
        done = any(r.log10_e is not None and r.log10_e >= ENOUGH for r in out)
        out.append(_left_out(route.name, route.title, route.null) if done else route.run(context))
        if progress:
            progress.step()
    return out


def _shown(tests: tuple[PairTest, ...], layers: Sequence[LayerMatch]) -> tuple[PairTest, ...]:
    """Of very many tests those a report shows: of layers that match, at a place's own index, and the best of every place in B."""
    if len(tests) <= _SHOWN:
        return tests
    pairs = {(m.layer_b, m.layer_a) for m in layers}
    best: dict[tuple[str, int, int], PairTest] = {}
    for t in tests:
        at = t.axis, t.layer_b, t.expert_b
        best[at] = max(best.get(at, t), t, key=lambda x: x.hits)
    kept = {id(t) for t in best.values()}
    return tuple(t for t in tests if t.layer_a == t.layer_b or (t.layer_b, t.layer_a) in pairs or id(t) in kept)


def _searched(context: Context, routes: Sequence[RouteResult]) -> tuple[LayerLook, ...]:
    """The layers of B that were held against all of A in the order of their units; said where nothing of A's was found anywhere."""
    tested: dict[int, set[int]] = defaultdict(set)
    for t in (t for r in routes if r.log10_e is not None for t in r.tests):
        tested[t.layer_b].add(t.layer_a)
    depth = depth_of(context.a)
    why = f"no order of any of A's {depth} layers is kept in it"
    out = []
    for layer in (i for i, ours in sorted(tested.items()) if i >= 0 and len(ours) >= depth):
        like = like_heads(context.resemblance, layer)
        resembles = f"no order is kept in it, but its attention heads resemble those of layer {like} of A"
        out.append(LayerLook(layer, "no-evidence", why) if like is None else LayerLook(layer, "undetermined", resembles))
    return tuple(out)


def _frame_for(context: Context, routes: Sequence[RouteResult], views: ThreeViews | None) -> Callable[[int], Frame | str]:
    """The frame for a layer of B in which other parts were found."""
    ran = [r for r in routes if r.log10_e is not None and r.log10_e >= POLICY.part_log10_e]
    if ran and (views is None or not views.shown):
        frame = context.frames[max(ran, key=lambda r: r.log10_e or 0.0).route]
        return lambda _: frame
    if views is not None and views.shown:
        return lambda layer: frame_at(context, layer)
    return lambda _: same_basis() if context.same_width else "the residual streams are not equally wide"


def _left_out(name: str, title: str, null: str) -> RouteResult:
    return RouteResult(name, title, "", null, (), None, NOT_NEEDED)


def _mean(routes: list[RouteResult]) -> float | None:
    """log10 of the mean e-value over all routes, one ruled out counting as 1, one left out as 0; None when none was run."""
    if all(r.log10_e is None for r in routes):
        return None
    logs = [(r.log10_e or 0.0) * LN10 for r in routes if r.not_run != NOT_NEEDED]
    return (log_mean_exp(logs) + math.log(len(logs) / len(routes))) / LN10


def _layers(routes: Sequence[RouteResult]) -> tuple[LayerMatch, ...]:
    """For every layer of B the layer of A that an exact route finds in it, the strongest evidence of all routes."""
    ran = [r for r in routes if r.log10_e is not None and r.log10_e >= POLICY.part_log10_e]
    out: dict[int, LayerMatch] = {}
    for r in ran:
        shares = {(t.layer_b, t.layer_a): t for t in r.tests}
        for layer_b, (layer_a, log10_e) in best_layers(r.tests, needed_of(r.tests, len(ran))).items():
            if layer_b not in out or log10_e > (out[layer_b].log10_e or 0.0):
                test = shares[layer_b, layer_a]
                out[layer_b] = LayerMatch(layer_b, layer_a, r.title, log10_e, test.hits / test.m)
    return tuple(out[i] for i in sorted(out))
