"""Agreement of three views, the calibrated way that is left when units, heads and the residual stream were all disguised.

Enters: a `Context`.  Leaves: `ThreeViews` and which layer agrees with which.  The statistic: `begat.signals.views`; its banks of independent pairs:
`begat.stats.views`.

Two ways, each with a bank of its own: in the frame from shared tokens; and, where that shows nothing, in frames from invariants of units
(`invariants.py`; where no layer's partner is known `partners.py`), for models whose embeddings were replaced as well. Both look, so the second's
p counts the chance that the first would have been shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from begat.alignment import LayerMatch, ThreeViews
from begat.canon.model import Canonical
from begat.pipeline.frames import Frame, same_basis
from begat.pipeline.invariants import Fold, folds, layerwise
from begat.pipeline.mlps import EXPERTS, SIGNED, Block, blocks_of, chosen_layers, likest, router_rows, views_of
from begat.pipeline.partners import searched
from begat.pipeline.routes.base import Context
from begat.pipeline.sampling import generator
from begat.pipeline.search import depth_of
from begat.signals.indexed import INDEXED, index_scores
from begat.signals.views import agreement
from begat.stats.views import INVARIANTS, SEARCHED, TOKENS, Bank, load_bank
from begat.types import F32
from begat.verdict.policy import POLICY

#: units of each layer of B that are looked at
UNITS = 256
_NONE_LEFT = "none of the layers looked at is left to test"
#: neighbouring units that are looked at for a pattern
_INDEX_UNITS = 128
_INVARIANT = "invariant quadratic forms of the units of other layers"


@dataclass(frozen=True, slots=True)
class _Found:
    """A block of B, the block of A that it agrees with most, and the median share of those that it does not belong to."""

    block: Block
    agreeing: int
    m: int
    partner: Block
    apart: float


def three_views(context: Context) -> ThreeViews:
    """The share of sampled units of B that agree in all views with the layer of A that they agree with most."""
    frame = frame_of(context)
    first = _judged(_by_tokens(context), "" if isinstance(frame, str) else frame.fitted_on, load_bank(TOKENS))
    if first.shown:
        return first
    second = _judged(_by_invariants(context), _INVARIANT, load_bank(second_way(context)), before=first)
    if second.not_run is None and (second.shown or first.not_run is not None):
        return second
    if first.not_run is None:
        tried = second.not_run or f"{second.share:.1%}"
        return replace(first, laid_by=f"{first.laid_by} (by {_INVARIANT}: {tried})")
    return first if second.not_run == first.not_run else replace(first, not_run=f"{first.not_run}; {second.not_run}")


def _judged(found: list[_Found] | str, laid_by: str, bank: Bank, before: ThreeViews | None = None) -> ThreeViews:
    """What the agreement is worth; `before`: the way tried before, which showed nothing."""
    if isinstance(found, str):
        return ThreeViews(0, 0, 0.0, len(bank.shares), bank.most, 0.0, 1.0, False, laid_by, found)
    agreeing, sampled = sum(f.agreeing for f in found), sum(f.m for f in found)
    share, apart = agreeing / sampled, sum(f.apart * f.m for f in found) / sampled
    chance = 0.0 if before is None or before.not_run is not None else 1 / (before.null_pairs + 1)
    shown = share >= _needed(bank, apart)
    return ThreeViews(agreeing, sampled, share, len(bank.shares), bank.most, apart, min(1.0, bank.p(share) + chance), shown, laid_by)


def _needed(bank: Bank, apart: float) -> float:
    """The share from which agreement is shown."""
    return max(POLICY.views_share, POLICY.views_factor * max(bank.most, apart))


def largest_share(context: Context, way: str) -> float | None:
    """The share of sampled units of B that agree with *any* layer of A, the best for each layer of B: what the banks are made of, since it bounds
    the share at one layer and that of a search. None where three views cannot be compared.

    Args:
        way: `TOKENS`, `INVARIANTS` or `SEARCHED`, as in `begat.stats.views`.
    """
    if way not in (TOKENS, second_way(context)):
        return None
    found = _by_tokens(context, everywhere=True) if way == TOKENS else _by_invariants(context, everywhere=True)
    return None if isinstance(found, str) else sum(f.agreeing for f in found) / sum(f.m for f in found)


def views_layers(context: Context) -> tuple[LayerMatch, ...]:
    """Which layer of A each layer of B agrees with, where the layer alone would be shown."""
    way, found = _shown(context)
    bank = load_bank(way)
    by = "three views (calibrated)" if way == TOKENS else "three views after invariants (calibrated)"
    return tuple(
        LayerMatch(f.block.layer, f.partner.layer, by, None, f.agreeing / f.m)
        for f in found if f.agreeing / f.m >= _needed(bank, f.apart)
    )  # fmt: skip


def _shown(context: Context) -> tuple[str, list[_Found]]:
    """Of the ways looked at the one that is shown, and what it found; nothing where none is."""
    for way in (TOKENS, second_way(context)):
        found = context.kept.get(way, "not looked at")
        if not isinstance(found, str) and _judged(found, "", load_bank(way)).shown:
            return way, found
    return TOKENS, []


def second_way(context: Context) -> str:
    """What is looked at beside shared tokens: `INVARIANTS` where it is known which layer belongs to which, else `SEARCHED`."""
    mine, theirs = layerwise(context.a, context.b)
    known = depth_of(context.a) == depth_of(context.b) and len(mine.keys() & theirs.keys()) > 1
    return INVARIANTS if known else SEARCHED


def _folds(context: Context) -> list[Fold] | str:
    return folds(context) if second_way(context) == INVARIANTS else searched(context)


def frame_of(context: Context) -> Frame | str:
    """The frame from shared tokens; without shared tokens the stored basis, where both are equally wide."""
    if not isinstance(context.token_frame, str):
        return context.token_frame
    return same_basis() if context.same_width else context.token_frame


def frame_at(context: Context, layer: int) -> Frame | str:
    """The frame for a layer of B: that in which three views were shown, else `frame_of`."""
    if _shown(context)[0] != TOKENS:
        found = _folds(context)
        at = [] if isinstance(found, str) else [f.frame for f in found if layer in f.tested]
        return at[0] if at else frame_of(context)
    return frame_of(context)


def _by_tokens(context: Context, everywhere: bool = False) -> list[_Found] | str:
    """In the frame from shared tokens."""

    def look() -> list[_Found] | str:
        frame, why = frame_of(context), _why_not(context)
        if why or isinstance(frame, str):
            return why or str(frame)
        return _match(context, frame, None, everywhere) or _NONE_LEFT

    return look() if everywhere else context.once(TOKENS, look)


def _by_invariants(context: Context, everywhere: bool = False) -> list[_Found] | str:
    """In the frames from invariants of units: every layer in one that it had no part in."""

    def look() -> list[_Found] | str:
        why = _why_not(context)
        found = why or _folds(context)
        if isinstance(found, str):
            return found
        agreed = [f for fold in found for f in _match(context, fold.frame, fold.tested, everywhere)]
        return sorted(agreed, key=lambda f: f.block.layer) or _NONE_LEFT

    return look() if everywhere else context.once(second_way(context), look)


def _why_not(context: Context) -> str:
    """Why three views cannot be compared, "" where they can."""
    ours, theirs = blocks_of(context.a), blocks_of(context.b)
    if not ours or not theirs:
        return "calibrated on gated MLPs only, and one of the models has none"
    if min(x.units for x in (*ours, *theirs)) < POLICY.views_units or depth_of(context.a) < 2:
        return f"calibrated on MLPs of at least {POLICY.views_units} units in at least two layers only"
    for name, model in (("A", context.a), ("B", context.b)):
        if all(_by_index(context, model, x) for x in blocks_of(model)):
            return f"the units of {name} stand in an order that their index fixes: models initialised so are alike in every view"
    return ""


def _by_index(context: Context, model: Canonical, block: Block) -> bool:
    """The units of this MLP follow a pattern that their index fixes. In the banks no model's do, so they say nothing of one whose do: one is enough."""
    at = f"by index {id(model)} {block}"
    if at not in context.kept:
        units = np.arange(min(block.units, _INDEX_UNITS), dtype=np.int64)
        scores = index_scores([model.read(block.key(role), units) for role in ("gate", "up")], units, units[:0])
        context.kept[at] = bool(scores.size and float(scores.max()) >= INDEXED)
    return bool(context.kept[at])


def _match(context: Context, frame: Frame, tested: frozenset[int] | None, everywhere: bool) -> list[_Found]:
    """Agreement of B's layers (those `tested`, if named) with A's in one frame."""
    ours, theirs = blocks_of(context.a, None), blocks_of(context.b)
    chosen = chosen_layers(x.layer for x in theirs)
    q_a, q_b = frame.q_DE, None
    if frame.q_DE is not None and frame.q_DE.shape[0] == frame.q_DE.shape[1]:
        q_a, q_b = None, frame.q_DE.T  # few units are cheaper to turn than all
    theirs = [x for x in theirs if x.layer in chosen and (tested is None or x.layer in tested) and not _by_index(context, context.b, x)]
    samples = {x: _sample(context, x, q_b) for x in theirs}
    near: dict[Block, list[Block]] = {}
    routers: dict[int, F32 | None] = {}
    for x in samples:
        layers = None if everywhere else _looked_at(context, x)
        for partner in _partners(context, [y for y in ours if layers is None or y.layer in layers], x, (q_a, q_b), routers):
            near.setdefault(partner, []).append(x)
    agreed: dict[Block, dict[Block, int]] = {x: {} for x in samples}
    for partner in (y for y in ours if y in near and not _by_index(context, context.a, y)):
        a_views = views_of(context.a, partner, None, q_a, context.features)
        for x in near[partner]:
            agreed[x][partner] = agreement(samples[x], a_views, SIGNED).agreeing
    return [
        _best(context, x, agreed[x], len(samples[x][0]), everywhere)
        for x in sorted(samples, key=lambda x: (x.layer, x.expert))
        if agreed[x]
    ]


def _partners(
    context: Context, ours: list[Block], x: Block, maps: tuple[F32 | None, F32 | None], routers: dict[int, F32 | None]
) -> list[Block]:
    """Of A's MLPs those that B's `x` is held against: of the routed experts of a layer those whose router rows are most like its own.

    Experts stand in any order. Router rows are no part of a unit's views, so that choosing by them favours no agreement. `routers` keeps A's.
    """
    out = [y for y in ours if y.kind != "expert"]
    by_layer: dict[int, list[Block]] = {}
    for y in ours:
        if y.kind == "expert":
            by_layer.setdefault(y.layer, []).append(y)
    mine = router_rows(context.b, x.layer, [x.expert], maps[1], context.features) if x.kind == "expert" else None
    for layer, experts in sorted(by_layer.items()):
        chosen: Sequence[int] = range(min(EXPERTS, len(experts)))
        if mine is not None and len(experts) > EXPERTS:
            if layer not in routers:
                routers[layer] = router_rows(context.a, layer, [y.expert for y in experts], maps[0], context.features)
            all_ED = routers[layer]
            if all_ED is not None and mine.shape[1] == all_ED.shape[1]:
                chosen = likest(mine[0], all_ED, EXPERTS)
        out += [experts[i] for i in chosen]
    return out


def _best(context: Context, x: Block, agreed: dict[Block, int], m: int, everywhere: bool) -> _Found:
    """Between equal depths layers stay in their place, otherwise the best of all counts."""
    equal = depth_of(context.a) == depth_of(context.b) and not everywhere
    candidates = [y for y in agreed if y.layer == x.layer] if equal else list(agreed)
    partner = max(candidates or list(agreed), key=lambda y: agreed[y])
    others = [n for y, n in agreed.items() if y.layer != partner.layer]
    return _Found(x, agreed[partner], m, partner, float(np.median(others)) / m if others else 1.0)


def _looked_at(context: Context, x: Block) -> set[int] | None:
    """All layers of A (None) where depths differ; else the layer itself, and one far away as its control."""
    depth = depth_of(context.a)
    return None if depth != depth_of(context.b) else {x.layer, (x.layer + max(1, depth // 2)) % depth}


def _sample(context: Context, block: Block, q_ED: F32 | None) -> list[F32]:
    rng = generator(context.seed, "views", block.layer, block.expert)
    units = np.sort(rng.permutation(block.units)[:UNITS]).astype(np.int64)
    return views_of(context.b, block, units, q_ED, context.features)
