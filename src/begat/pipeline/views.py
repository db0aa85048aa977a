"""Agreement of three views, the calibrated way that is left when units, heads and the residual stream were all disguised.

Enters: a `Context`.  Leaves: `ThreeViews` and which layer agrees with which.  The statistic: `begat.signals.views`; its banks of independent pairs:
`begat.stats.views`.

Two ways, each with a bank of its own: in the frame from shared tokens; and, where that shows nothing, in frames from invariants of units
(`invariants.py`; where no layer's partner is known `partners.py`), for models whose embeddings were replaced as well. Both look, so the second's
p counts the chance that the first would have been shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from begat.alignment import LayerMatch, ThreeViews
from begat.pipeline.frames import Frame, same_basis
from begat.pipeline.invariants import Fold, folds, layerwise
from begat.pipeline.mlps import LAYERS, SIGNED, Block, blocks_of, chosen_layers, views_of
from begat.pipeline.partners import searched
from begat.pipeline.routes.base import Context
from begat.pipeline.search import depth_of
from begat.pipeline.unit_matches import UNITS, Found, by_index, match
from begat.signals.procrustes import rotation
from begat.signals.quadratic import pulls, unit
from begat.signals.views import agreement
from begat.stats.views import INVARIANTS, SEARCHED, TOKENS, Bank, load_bank
from begat.types import F64
from begat.verdict.policy import POLICY

#: floating-point operations that are spent on holding every layer against every other
_LITTLE_WORK = 2e10
#: layers whose units a new map is fitted on, and units of each
_REFITTED, _REFIT_UNITS = 3, 512
_NONE_LEFT = "none of the layers looked at is left to test"
_INVARIANT = "invariant quadratic forms of the units of other layers"


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


def _judged(found: list[Found] | str, laid_by: str, bank: Bank, before: ThreeViews | None = None) -> ThreeViews:
    """What the agreement is worth; `before`: the way tried before, which showed nothing."""
    if isinstance(found, str):
        return ThreeViews(0, 0, 0.0, len(bank.shares), bank.most, 0.0, 1.0, False, laid_by, found)
    agreeing, sampled = sum(f.agreeing for f in found), sum(f.m for f in found)
    share, apart = agreeing / sampled, sum(f.apart * f.m for f in found) / sampled
    chance = 0.0 if before is None or before.not_run is not None else 1 / (before.null_pairs + 1)
    shown = share >= needed_share(bank, apart)
    return ThreeViews(agreeing, sampled, share, len(bank.shares), bank.most, apart, min(1.0, bank.p(share) + chance), shown, laid_by)


def needed_share(bank: Bank, apart: float) -> float:
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
        for f in found if f.agreeing / f.m >= needed_share(bank, f.apart)
    )  # fmt: skip


def _shown(context: Context) -> tuple[str, list[Found]]:
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
    """The frame for a layer of B: that in which three views were shown, else `frame_of`. For a layer that was tested in none, a new one."""
    way, found = _shown(context)
    if way == TOKENS:
        return frame_of(context)
    folds_found = _folds(context)
    at = [] if isinstance(folds_found, str) else [f.frame for f in folds_found if layer in f.tested]
    return at[0] if at else context.once("frame from what was found", lambda: _from_found(context, found))


def _from_found(context: Context, found: Sequence[Found]) -> Frame:
    """The map fitted on units of some layers that agree, for layers that had no part in it."""
    strong = sorted(found, key=lambda f: -f.agreeing)[:_REFITTED]
    cross = sum(_pull(context, f) for f in strong)
    where = ", ".join(str(i) for i in sorted({f.block.layer for f in strong}))
    return Frame(rotation(np.asarray(cross)), f"units of layers {where} that agree in all views", frozenset(), frozenset(f.block.layer for f in strong))


def _pull(context: Context, found: Found) -> F64:
    """What the agreeing units of one MLP of B and their partners pull the map to."""
    frame = frame_at(context, found.block.layer)
    assert not isinstance(frame, str) and frame.q_DE is not None
    units = np.arange(min(found.block.units, _REFIT_UNITS), dtype=np.int64)
    b_views = [unit(x) for x in views_of(context.b, found.block, units, None, context.features)]
    a_views = [unit(x) for x in views_of(context.a, found.partner, None, None, context.features)]
    turned = [x @ frame.q_DE.T for x in b_views]
    partner_M = agreement(turned, a_views, SIGNED).partner_M
    at = np.flatnonzero(partner_M >= 0)
    together = sum(np.einsum("pd,pd->p", a[partner_M[at]], b[at]) for a, b in zip(a_views[1:], turned[1:], strict=True))
    return pulls(a_views, b_views, (partner_M[at], at, np.ones(len(at), dtype=np.float32)), np.sign(together))


def _by_tokens(context: Context, everywhere: bool = False) -> list[Found] | str:
    """In the frame from shared tokens."""

    def look() -> list[Found] | str:
        frame, why = frame_of(context), _why_not(context)
        if why or isinstance(frame, str):
            return why or str(frame)
        return _match(context, frame, None, everywhere) or _NONE_LEFT

    return look() if everywhere else context.once(TOKENS, look)


def _by_invariants(context: Context, everywhere: bool = False) -> list[Found] | str:
    """In the frames from invariants of units: every layer in one that it had no part in."""

    def look() -> list[Found] | str:
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
        if all(by_index(context, model, x) for x in blocks_of(model)):
            return f"the units of {name} stand in an order that their index fixes: models initialised so are alike in every view"
    return ""


def _match(context: Context, frame: Frame, tested: frozenset[int] | None, everywhere: bool) -> list[Found]:
    """Agreement of some layers of B (of those `tested`, if named) with A's in one frame."""
    theirs = blocks_of(context.b)
    chosen = chosen_layers(x.layer for x in theirs)
    some = [x for x in theirs if x.layer in chosen and (tested is None or x.layer in tested)]
    return match(context, frame, some, lambda x: None if everywhere else _looked_at(context, x))


def _looked_at(context: Context, x: Block) -> set[int] | None:
    """All layers of A (None) where depths differ, or where they are few enough to be looked at in a second; else the layer itself, the one that its heads
    resemble, and one far away as a control.
    """
    depth = depth_of(context.a)
    width = context.b.geometry["text"].width or 0 if "text" in context.b.geometry else 0
    if depth != depth_of(context.b) or depth * LAYERS * len(SIGNED) * 2.0 * UNITS * x.units * width <= _LITTLE_WORK:
        return None
    return {x.layer, context.partner(x.layer), (x.layer + max(1, depth // 2)) % depth}
