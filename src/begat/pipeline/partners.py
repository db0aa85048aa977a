"""A frame from invariants of units where no layer's partner is known: unequal depth, or experts against experts.

Enters: a `Context` of two models with gated MLPs and residual streams of one width.  Leaves: a `Fold`: a frame fitted on one MLP of B and one of A, and
the layers of B that it may be tested on; once partners are found, a second one for the layers that the first leaves out.  Where partners are known,
`invariants.py` fits on several layers at once; the test: `views.py`, with a bank of independent pairs of its own (`SEARCHED` of `begat.stats.views`).

The MLP of B is held against every one of A that may be its partner: those of its layer and of the one that its heads resemble, or of all layers where
depths differ. Units are matched by
signatures within the pair; the pairs whose signatures match best are fitted and refitted, and the frame is kept in which most units of *that* MLP agree
(units that were not fitted on, where there are enough: a map bends to any 500). So the search is judged by that MLP alone: its layer, and copies of
it in B, are never tested, and the other layers of B are looked at once, in one frame. Where the first MLP of B finds no partner a second one is tried.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from begat.canon.model import Canonical
from begat.pipeline.frames import Frame
from begat.pipeline.invariants import ROUNDS, TRUSTED, UNITS, Fold, Side, agreeing, refitted, side, without_copies_of
from begat.pipeline.mlps import SIGNED, Block, blocks_of, chosen_layers, views_of
from begat.pipeline.routes.base import Context
from begat.pipeline.sampling import generator
from begat.pipeline.search import depth_of
from begat.signals.quadratic import Pairs, assigned
from begat.signals.views import agreement
from begat.types import F32

# Shape suffixes: D residual width

#: where in B's layers the MLPs lie that are tried in turn, as shares of its depth
_PLACES = (0.4, 0.7)
#: partners that are fitted, of those whose signatures match best, and rounds before they are judged
_FITTED, _FIRST = 4, 2
#: units that judge a frame and were not fitted on, and fewest of them
_JUDGES, _LEAST = 256, 64
#: share of agreeing units from which a partner is taken for found, and no other is fitted
_FOUND = 0.5
#: floating-point operations beyond which it is left out: a few minutes on two cores
_MOST_WORK = 1e13


def searched(context: Context) -> list[Fold] | str:
    """The fold or folds, or why there is none."""
    return context.once("fold of partners", lambda: _searched(context))


def _searched(context: Context) -> list[Fold] | str:
    a, b = context.a, context.b
    if not context.same_width:
        return "the residual streams are not equally wide"
    ours, theirs = blocks_of(a, None), blocks_of(b)
    layers = sorted(chosen_layers(x.layer for x in theirs))
    if len(layers) < 2 or not ours:
        return "fewer than two layers with gated MLPs"
    places = sorted({layers[int(share * len(layers))] for share in _PLACES})
    mlps = {x.layer: x for x in reversed(theirs)}  # the first of every layer
    blocks = [mlps[i] for i in places]
    tried = [_may_be(context, x, ours) for x in blocks]
    width = b.geometry["text"].width or 0
    if sum(len(found) for found in tried) * _work(width, max(x.units for x in ours)) > _MOST_WORK:
        return "which MLP is the partner of which is not searched in models this large: it would take minutes"
    best: tuple[float, F32, Block] | None = None
    for block, partners in zip(blocks, tried, strict=True):
        if partners and (best is None or best[0] < _FOUND):
            share, q_DD = _fit(context, block, partners)
            best = (share, q_DD, block) if best is None or share > best[0] else best
    if best is None:
        return "no MLP that could be the partner of another"
    share, q_DD, block = best
    tested = without_copies_of(context, b, [i for i in layers if i != block.layer], [block], mlps)
    if not tested:
        return "every layer is a copy of the one that the frame was fitted on"
    first = Fold(_frame(q_DD, block.layer), tested)
    return [first] if share < _FOUND else [first, *_second(context, first, mlps, ours)]


def _second(context: Context, first: Fold, mlps: dict[int, Block], ours: Sequence[Block]) -> list[Fold]:
    """A fold for the layers that the first left out, fitted on another one with the partner that it has in the first's frame."""
    left = sorted(chosen_layers(mlps) - first.tested)
    block = mlps[sorted(first.tested)[len(first.tested) // 2]]
    tested = without_copies_of(context, context.b, left, [block], mlps)
    if not tested or first.frame.q_DE is None:
        return []
    units = np.sort(generator(context.seed, "invariants", block.layer).permutation(block.units)[:UNITS])
    sample = [x @ first.frame.q_DE.T for x in views_of(context.b, block, units, None, context.features)]
    partners = _may_be(context, block, ours)
    partner = max(partners, key=lambda y: agreement(sample, views_of(context.a, y, None, None, context.features), SIGNED).agreeing)
    _, q_DD = _fit(context, block, [partner])
    return [Fold(_frame(q_DD, block.layer), tested)]


def _frame(q_DD: F32, layer: int) -> Frame:
    words = f"invariant quadratic forms of the units of layer {layer}, whose partner was searched for, and which is not counted"
    return Frame(q_DD, words, frozenset(), frozenset({layer}))


def _may_be(context: Context, x: Block, ours: Sequence[Block]) -> list[Block]:
    """The MLPs of A that may be the partner of one of B."""
    everywhere = depth_of(context.a) != depth_of(context.b)
    return [y for y in ours if everywhere or y.layer in (x.layer, context.partner(x.layer))]


def _work(width: int, units: int) -> float:
    """Floating-point operations of one partner: Grams, eigenvectors, signatures, similarities."""
    return 6.0 * units * width**2 + 40.0 * width**3 + 6.0 * min(units, UNITS) * width * units


def _fit(context: Context, block: Block, partners: Sequence[Block]) -> tuple[float, F32]:
    """(share of units of the MLP that agree, map [D, D]) of the partner that reaches most."""
    b, judges = side(context, context.b, {0: block}, UNITS), _judges(context, block)

    def share(a: Side, q_DD: F32) -> float:
        if judges is None:
            return agreeing(a, b, q_DD)
        found = agreement([x @ q_DD.T for x in judges], a.views[0], SIGNED)
        return found.agreeing / found.m

    begun = sorted((_matched(context, context.a, y, b) for y in partners), key=lambda x: -x[0])[:_FITTED]
    best: tuple[float, F32] | None = None
    for _, y, pairs in begun:
        a = side(context, context.a, {0: y}, None)
        q_DD, found = refitted(a, b, {0: pairs}, None, _FIRST)
        reached = share(a, q_DD)
        if best is None or reached > best[0]:
            best, last = (reached, q_DD), (a, found)
        if judges is not None and reached >= _FOUND:  # fitted units would take a stranger for found
            break
    assert best is not None
    again, _ = refitted(last[0], b, last[1], best[1], ROUNDS - _FIRST)
    reached = share(last[0], again)
    return (reached, again) if reached > best[0] else best


def _judges(context: Context, block: Block) -> list[F32] | None:
    """Views of units that are not fitted on; None where too few are left, and the fitted ones judge: a map can be bent to any 500 units."""
    units = generator(context.seed, "invariants", block.layer).permutation(block.units)[UNITS : UNITS + _JUDGES]
    return views_of(context.b, block, np.sort(units), None, context.features) if len(units) >= _LEAST else None


def _matched(context: Context, model: Canonical, y: Block, b: Side) -> tuple[float, Block, Pairs]:
    """How well the signatures of a partner match, and the pairs."""
    a = side(context, model, {0: y}, None)
    pairs = assigned(a.signatures[0] @ b.signatures[0].T, TRUSTED)
    return float(np.mean(pairs[2])), y, pairs
