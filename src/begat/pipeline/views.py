"""Agreement of three views, the calibrated way that is left when units, heads and the residual stream were all disguised.

Enters: a `Context` with a frame from shared tokens.  Leaves: `ThreeViews` and which layer agrees with which.  The statistic: `begat.signals.views`;
its bank of independent pairs: `begat.stats.views`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from begat.alignment import LayerMatch, ThreeViews
from begat.pipeline.frames import Frame, same_basis
from begat.pipeline.mlps import Block, blocks_of, views_of
from begat.pipeline.routes.base import Context
from begat.pipeline.sampling import generator
from begat.pipeline.search import depth_of
from begat.signals.views import agreement
from begat.stats.views import load_bank
from begat.types import F32
from begat.verdict.policy import POLICY

#: layers of B that are looked at, and units of each
LAYERS, UNITS = 8, 256
_SIGNED = (True, False, False)  # up and down rows may be flipped together, gate rows may not (SwiGLU)


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
    found = _found(context)
    bank = load_bank()
    if isinstance(found, str):
        return ThreeViews(0, 0, 0.0, len(bank.shares), bank.most, 0.0, 1.0, False, found)
    agreeing, sampled = sum(f.agreeing for f in found), sum(f.m for f in found)
    share, apart = agreeing / sampled, sum(f.apart * f.m for f in found) / sampled
    shown = share >= max(POLICY.views_share, POLICY.views_factor * max(bank.most, apart))
    return ThreeViews(agreeing, sampled, share, len(bank.shares), bank.most, apart, bank.p(share), shown)


def largest_share(context: Context) -> float | None:
    """The share of sampled units of B that agree with *any* layer of A, the best for each layer of B: what the bank is made of, since it bounds
    the share at one layer and that of a search. None where three views cannot be compared.
    """
    found = _match(context, everywhere=True)
    return None if isinstance(found, str) else sum(f.agreeing for f in found) / sum(f.m for f in found)


def views_layers(context: Context) -> tuple[LayerMatch, ...]:
    """Which layer of A each layer of B agrees with, where the layer alone would be shown."""
    found = _found(context)
    if isinstance(found, str):
        return ()
    return tuple(
        LayerMatch(f.block.layer, f.partner.layer, "three views (calibrated)", None, f.agreeing / f.m)
        for f in found if f.agreeing / f.m >= max(POLICY.views_share, POLICY.views_factor * max(load_bank().most, f.apart))
    )  # fmt: skip


def frame_of(context: Context) -> Frame | str:
    """The frame from shared tokens; without shared tokens the stored basis, where both are equally wide."""
    if not isinstance(context.token_frame, str):
        return context.token_frame
    return same_basis() if context.same_width else context.token_frame


def _found(context: Context) -> list[_Found] | str:
    if "views" not in context.kept:
        context.kept["views"] = _match(context)
    kept: list[_Found] | str = context.kept["views"]
    return kept


def _match(context: Context, everywhere: bool = False) -> list[_Found] | str:
    frame = frame_of(context)
    if isinstance(frame, str):
        return frame
    ours, theirs = blocks_of(context.a), blocks_of(context.b)
    if not ours or not theirs:
        return "calibrated on gated MLPs only, and one of the models has none"
    if min(x.units for x in (*ours, *theirs)) < POLICY.views_units or depth_of(context.a) < 2:
        return f"calibrated on MLPs of at least {POLICY.views_units} units in at least two layers only"
    layers = sorted({x.layer for x in theirs})
    chosen = {layers[i] for i in np.linspace(0, len(layers) - 1, min(LAYERS, len(layers))).round().astype(int)}
    samples = {x: _sample(context, x) for x in theirs if x.layer in chosen}
    agreed: dict[Block, dict[Block, int]] = {x: {} for x in samples}
    for partner in ours:
        near = [x for x in samples if everywhere or _looked_at(context, partner, x)]
        if near:
            a_views = views_of(context.a, partner, None, frame.q_DE, context.features)
            for x in near:
                agreed[x][partner] = agreement(samples[x], a_views, _SIGNED).agreeing
    return [
        _best(context, x, agreed[x], len(samples[x][0]), everywhere)
        for x in sorted(samples, key=lambda x: (x.layer, x.expert))
        if agreed[x]
    ]


def _best(context: Context, x: Block, agreed: dict[Block, int], m: int, everywhere: bool) -> _Found:
    """Between equal depths layers stay in their place, otherwise the best of all counts."""
    equal = depth_of(context.a) == depth_of(context.b) and not everywhere
    candidates = [y for y in agreed if y.layer == x.layer] if equal else list(agreed)
    partner = max(candidates or list(agreed), key=lambda y: agreed[y])
    others = [n for y, n in agreed.items() if y.layer != partner.layer]
    return _Found(x, agreed[partner], m, partner, float(np.median(others)) / m if others else 1.0)


def _looked_at(context: Context, y: Block, x: Block) -> bool:
    """All layers of A where depths differ; else the layer itself, and one far away as its control."""
    depth = depth_of(context.a)
    return depth != depth_of(context.b) or y.layer in (x.layer, (x.layer + max(1, depth // 2)) % depth)


def _sample(context: Context, block: Block) -> list[F32]:
    rng = generator(context.seed, "views", block.layer, block.expert)
    units = np.sort(rng.permutation(block.units)[:UNITS]).astype(np.int64)
    return views_of(context.b, block, units, None, context.features)
