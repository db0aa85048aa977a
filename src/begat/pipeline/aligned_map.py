"""The inheritance map after alignment: how much of each role of a layer of B the layer of A explains that it holds.

Enters: a `Context` and matched layers.  Leaves: `AlignedCell`s. A description, never evidence.

Units are paired by all three views together, heads by the subspaces their rows span (so that another basis inside a head, disguise T4, hides nothing).
Both look for the best partner, which finds something in strangers too: the same search in another layer of A is the chance level, and r2
is what lies above it: (found - chance) / (1 - chance).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from begat.alignment import AlignedCell, LayerMatch
from begat.pipeline.heads import HEADS, head_rows
from begat.pipeline.mlps import Block, blocks_of, views_of
from begat.pipeline.routes.base import Context
from begat.pipeline.sampling import generator
from begat.pipeline.search import depth_of
from begat.pipeline.views import frame_at
from begat.signals.quadratic import unit
from begat.types import F32

# Shape suffixes: M sampled units of B, F units of A, D residual width, H heads, C dims of a head

_UNITS = 96
_ROLES = ("gate", "up", "down")


def aligned_cells(context: Context, layers: Sequence[LayerMatch]) -> tuple[AlignedCell, ...]:
    """Cells of every matched layer; none where there is no frame."""
    cells: list[AlignedCell] = []
    chance: dict[str, float] = {}  # of one layer, for all: it hardly differs, and costs as much as a layer of the map
    for match in layers:
        frame = frame_at(context, match.layer_b)
        if isinstance(frame, str):
            continue
        for by_layer in (_mlp(context, match, frame.q_DE), _attention(context, match, frame.q_DE)):
            found = by_layer(match.layer_a)
            if not set(found) <= set(chance):
                chance |= by_layer(_control(context, match.layer_a))
            for role, r2 in found.items():
                floor = chance.get(role, 0.0)
                r2 = max(0.0, (r2 - floor) / max(1e-9, 1 - floor))
                cells.append(AlignedCell(match.layer_a, match.layer_b, role, r2, floor))
    return tuple(cells)


def _control(context: Context, layer: int) -> int:
    """Another layer of A, as far away as there is."""
    depth = depth_of(context.a)
    return (layer + max(1, depth // 2)) % depth


def _mlp(context: Context, match: LayerMatch, q_DE: F32 | None) -> Callable[[int], dict[str, float]]:
    """Explained share of gate, up and down of B's layer (of its first MLP or expert) by a layer of A."""
    theirs = [x for x in blocks_of(context.b) if x.layer == match.layer_b]
    ours = blocks_of(context.a)
    if not theirs:
        return lambda _layer: {}
    block = theirs[0]
    rng = generator(context.seed, "aligned map", block.layer)
    units = np.sort(rng.permutation(block.units)[:_UNITS]).astype(np.int64)
    b_views = [unit(x) for x in views_of(context.b, block, units, None, context.features)]

    def explain(layer: int) -> dict[str, float]:
        partners = [x for x in ours if x.layer == layer]
        if not partners:
            return {}
        return _explained_units(context, partners[0], b_views, q_DE, block.kind)

    return explain


def _explained_units(context: Context, block: Block, b_views: list[F32], q_DE: F32 | None, kind: str) -> dict[str, float]:
    if q_DE is not None and q_DE.shape[0] == q_DE.shape[1]:
        b_views, q_DE = [b @ q_DE.T for b in b_views], None  # few units are cheaper to turn than all
    a_views = [unit(x) for x in views_of(context.a, block, None, q_DE, context.features)]
    cosines = [b @ a.T for b, a in zip(b_views, a_views, strict=True)]
    partner_M = np.sum([np.abs(c) for c in cosines], axis=0).argmax(axis=1)
    at = np.arange(len(partner_M))
    return {f"{kind}.{role}": float((c[at, partner_M] ** 2).mean()) for role, c in zip(_ROLES, cosines, strict=True)}


def _attention(context: Context, match: LayerMatch, q_DE: F32 | None) -> Callable[[int], dict[str, float]]:
    """Explained share of q, k, v and o of B's layer: every head by the head of A whose rows span most of it."""
    theirs = {role: head_rows(context.b, role, match.layer_b, None, context.features) for role in HEADS}

    def explain(layer: int) -> dict[str, float]:
        out = {}
        for role, b_HCD in theirs.items():
            a_HCD = head_rows(context.a, role, layer, q_DE, context.features)
            if a_HCD is not None and b_HCD is not None and a_HCD.shape[1:] == b_HCD.shape[1:]:
                out[role] = spanned(a_HCD, b_HCD)
        return out

    return explain


def spanned(a_HCD: F32, b_HCD: F32) -> float:
    """Share of the squares of B's heads that lie in the rows of the head of A that spans most of each.

    The part of b in the span of a's rows is |W b a^T|^2 with W^T W = (a a^T)^-1: products of small matrices, without a basis of each head.
    """
    heads, dims, width = a_HCD.shape
    values_HC, vectors_HCC = np.linalg.eigh((a_HCD @ a_HCD.transpose(0, 2, 1)).astype(np.float64))
    solid_HC = values_HC > 1e-6 * np.maximum(values_HC[:, -1:], 1e-30)  # a head whose rows depend on each other spans less
    whiten_HCC = (vectors_HCC * np.where(solid_HC, 1 / np.sqrt(np.where(solid_HC, values_HC, 1)), 0)[:, None, :]).astype(np.float32)
    total = best_sum = 0.0
    for b_CD in b_HCD:
        cross_HCC = (b_CD @ a_HCD.reshape(-1, width).T).reshape(dims, heads, dims).transpose(1, 0, 2)
        total += float(np.square(b_CD).sum())
        best_sum += float(np.square(cross_HCC @ whiten_HCC).sum(axis=(1, 2)).max())
    return best_sum / total if total > 0 else 0.0

