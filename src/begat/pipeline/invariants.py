"""Frames from invariants of units: how A's residual stream lies in B's when no order is left and no token's embedding is shared.

Enters: a `Context` of two models of equal depth with gated MLPs.  Leaves: `Fold`s: a frame each, and the layers of B that it may be tested on.  The
numbers: `begat.signals.quadratic`; the test: `views.py`; its bank of independent pairs: `begat.stats.views`.

A layer of B is held against the layer of A that its heads resemble (`resemblance.py`), which is the one at its own index unless layers were moved.

Two folds: a frame is fitted on some even layers and tested on the odd ones, and the other way about. So a layer's result comes from a frame in which it
had no part, nor had a copy of it. Inside a fold units of the fitted layers are matched by their signatures, the frame is the Procrustes map of the
pairs, and pairs and map improve each other until the pairs stay. It starts from all fitted layers; where their own units then do not agree, from
each alone, and the start that reaches most is gone on with. Starts are judged on the fitted layers; those to be tested are looked at once.

The frame is no evidence, and three views in it are calibrated, not exact: units in any order are *meant* to be found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from begat.canon.model import Canonical
from begat.pipeline.frames import Frame
from begat.pipeline.mlps import SIGNED, Block, blocks_of, chosen_layers, views_of
from begat.pipeline.routes.base import Context
from begat.pipeline.sampling import generator
from begat.pipeline.search import depth_of
from begat.signals.procrustes import rotation
from begat.signals.quadratic import Pairs, assigned, gram, mutual, pulls, signatures, span, unit
from begat.signals.views import agreement
from begat.types import F32
from begat.verdict.policy import POLICY

# Shape suffixes: F units of A, M sampled units of B, D residual width, R dims of the span

#: layers that a fold is fitted on, units of B in each, and rounds from a start
_LAYERS, UNITS, ROUNDS = 3, 512, 5
#: dims of the span that signatures are taken in: a share of the residual stream, and at least
_SPAN_SHARE, _SPAN = 0.5, 64
#: share of a first match that a map is fitted on
TRUSTED = 0.5
#: units of a layer that are looked for in a fitted one, and the share found from which it is its copy
_COPY_UNITS, _COPY_SHARE = 32, 0.25
#: floating-point operations beyond which it is left out: a few minutes on two cores
MOST_WORK = 1e13


@dataclass(frozen=True, slots=True)
class Fold:
    """A frame and the layers of B that had no part in it."""

    frame: Frame
    tested: frozenset[int]


@dataclass(frozen=True, slots=True)
class Side:
    """One model in one fold: by fitted layer (or another name) its views, rows of length 1, and their signatures."""

    views: dict[int, list[F32]]
    signatures: dict[int, F32]


def folds(context: Context) -> list[Fold] | str:
    """The two folds, or why there are none."""
    return context.once("folds", lambda: _folds(context))


def _folds(context: Context) -> list[Fold] | str:
    a, b = context.a, context.b
    if depth_of(a) != depth_of(b):
        return "invariants of units are compared between models of equal depth only"
    if not context.same_width:
        return "the residual streams are not equally wide"
    every, theirs = layerwise(a, b)
    mine = {i: every[context.partner(i)] for i in theirs if context.partner(i) in every}
    layers = sorted(mine.keys() & theirs.keys())
    if len(layers) < 2:
        return "fewer than two layers with gated MLPs that are no routed experts in one of them"
    if _work(context, mine[layers[0]].units) > MOST_WORK:
        return "invariants of units of models this large are not computed: it would take minutes"
    looked_at, out = chosen_layers(theirs), []
    for parity in (0, 1):
        fitted = _spread(layers[parity::2])
        others = [i for i in layers[1 - parity :: 2] if i in looked_at]
        tested = _without_copies(context, others, fitted, (mine, theirs)) if others else frozenset()
        if tested:
            q_DD = _fit(context, fitted, mine, theirs)
            words = f"invariant quadratic forms of the units of layers {', '.join(map(str, fitted))}, which are not counted"
            out.append(Fold(Frame(q_DD, words, frozenset(mine[i].layer for i in fitted), frozenset(fitted)), tested))
    return out or "every layer is a copy of one that the frame would be fitted on"


def layerwise(a: Canonical, b: Canonical) -> tuple[dict[int, Block], dict[int, Block]]:
    """Layer → the gated MLP that stands for it, in A and in B: its only one, or where the other model has only one, a routed expert (upcycled)."""
    dense = [{x.layer: x for x in blocks_of(m) if x.expert < 0} for m in (a, b)]
    first = [{x.layer: x for x in reversed(blocks_of(m)) if x.kind == "expert"} for m in (a, b)]
    mine, theirs = ({i: x for i, x in first[k].items() if i in dense[1 - k]} | dense[k] for k in (0, 1))
    return mine, theirs


def _spread(layers: Sequence[int]) -> list[int]:
    """At most `_LAYERS` of them, evenly spread."""
    at = np.linspace(0, len(layers) - 1, min(_LAYERS, len(layers))).round().astype(int)
    return [layers[i] for i in sorted(set(at.tolist()))]


def _work(context: Context, units: int) -> float:
    """Floating-point operations of both folds: Grams of both models, eigenvectors, and similarities in every round."""
    width = context.b.geometry["text"].width or 0
    sample, rounds = min(units, UNITS), 2 * ROUNDS - 1 + _LAYERS
    similar = 6.0 * sample * width * (units + width) * _LAYERS + 20.0 * width**3
    return 2 * (2 * 3 * _LAYERS * 2.0 * units * width**2 + 40.0 * width**3 + rounds * similar)


def _without_copies(
    context: Context, layers: Sequence[int], fitted: Sequence[int], blocks: tuple[dict[int, Block], dict[int, Block]]
) -> frozenset[int]:
    """The layers that in neither model are a copy of a fitted one, seen in each model alone and whatever the order of units."""
    out = frozenset(layers)
    for model, mlps in zip((context.a, context.b), blocks, strict=True):
        out &= without_copies_of(context, model, layers, [mlps[i] for i in fitted], mlps)
    return out


def without_copies_of(
    context: Context, model: Canonical, layers: Sequence[int], fitted: Sequence[Block], mlps: Mapping[int, Block]
) -> frozenset[int]:
    """The layers of one model whose MLPs are no copies of a fitted one, whatever the order of units."""
    parts, owners = [], []
    for layer in layers:
        units = np.sort(generator(context.seed, "copies", layer).permutation(mlps[layer].units)[:_COPY_UNITS]).astype(np.int64)
        parts.append(views_of(model, mlps[layer], units, None, context.features))
        owners += [layer] * len(units)
    together = [np.concatenate(x) for x in zip(*parts, strict=True)]
    out = set(layers)
    for block in fitted:
        found = np.array(owners)[agreement(together, views_of(model, block, None, None, context.features), SIGNED).partner_M >= 0]
        out -= {i for i in layers if np.count_nonzero(found == i) >= _COPY_SHARE * owners.count(i)}
    return frozenset(out)


def _fit(context: Context, fitted: Sequence[int], mine: dict[int, Block], theirs: dict[int, Block]) -> F32:
    """The frame of the start that reaches most pairs on the fitted layers: [D, D]."""
    a = side(context, context.a, {i: mine[i] for i in fitted}, None)
    b = side(context, context.b, {i: theirs[i] for i in fitted}, UNITS)
    matched = {i: assigned(a.signatures[i] @ b.signatures[i].T, TRUSTED) for i in fitted}
    first, _ = refitted(a, b, matched, None, ROUNDS)
    found = agreeing(a, b, first)
    if found >= POLICY.views_share or len(fitted) == 1:
        return first
    begun = [refitted(a, b, {i: matched[i]}, None, 1) for i in fitted]
    start, pairs = max(begun, key=lambda reached: agreeing(a, b, reached[0]))
    second, _ = refitted(a, b, pairs, start, ROUNDS - 1)
    return second if agreeing(a, b, second) > found else first


def agreeing(a: Side, b: Side, q_DD: F32) -> float:
    """Share of units of the fitted layers that agree in all views."""
    found = [agreement([x @ q_DD.T for x in b.views[i]], a.views[i], SIGNED) for i in a.views]
    return sum(x.agreeing for x in found) / sum(x.m for x in found)


def side(context: Context, model: Canonical, blocks: Mapping[int, Block], most: int | None) -> Side:
    """Views and signatures of some layers, of at most so many units of each, under names that both models share."""
    views, grams = {}, []
    for name, block in blocks.items():
        whole = [unit(x) for x in views_of(model, block, None, None, context.features)]
        grams += [gram(x) for x in whole]
        if most is not None and block.units > most:
            units = np.sort(generator(context.seed, "invariants", block.layer).permutation(block.units)[:most])
            whole = [np.ascontiguousarray(x[units]) for x in whole]
        views[name] = whole
    e_DR = span(grams, max(_SPAN, int(_SPAN_SHARE * len(grams[0]))))
    inside = [np.asarray(e_DR.T @ g @ e_DR, dtype=np.float32) for g in grams]
    return Side(views, {i: signatures([x @ e_DR for x in found], inside) for i, found in views.items()})


def refitted(a: Side, b: Side, pairs: dict[int, Pairs], q_DD: F32 | None, rounds: int) -> tuple[F32, dict[int, Pairs]]:
    """Map from pairs, pairs from the map, at most so many times and until the pairs stay."""
    for _ in range(rounds):
        cross = sum(
            pulls(a.views[i], b.views[i], found, None if q_DD is None else _signs(a.views[i], b.views[i], found, q_DD))
            for i, found in pairs.items()
        )
        turned, q_DD = q_DD is not None, rotation(np.asarray(cross))
        before, pairs = pairs, {i: mutual(_similar(a.views[i], b.views[i], q_DD, turned)) for i in a.views}
        if turned and _same(before, pairs):
            break
    assert q_DD is not None
    return q_DD, pairs


def _same(before: dict[int, Pairs], after: dict[int, Pairs]) -> bool:
    return before.keys() == after.keys() and all(np.array_equal(before[i][0], after[i][0]) and np.array_equal(before[i][1], after[i][1]) for i in after)


def _similar(a_views: Sequence[F32], b_views: Sequence[F32], q_DD: F32, all_views: bool) -> F32:
    """Cosines [F, M] of gate rows, and where asked those of up rows and down columns, which may flip together."""
    out: F32 = a_views[0] @ (b_views[0] @ q_DD.T).T
    if all_views:
        out += np.abs(sum(x @ (y @ q_DD.T).T for x, y in zip(a_views[1:], b_views[1:], strict=True)))
    return out


def _signs(a_views: Sequence[F32], b_views: Sequence[F32], pairs: Pairs, q_DD: F32) -> F32:
    """Per pair, whether its up row and down column are flipped: +1 or -1."""
    a, b, _ = pairs
    out: F32 = np.sign(sum(np.einsum("pd,pd->p", x[a], (y[b] @ q_DD.T)) for x, y in zip(a_views[1:], b_views[1:], strict=True)))
    return out
