"""Layers of B in which no order of A's was found, although B holds something of A: copies with their units in another order, or none?

Enters: a `Context`, those layers, the frame in which other parts were found.  Leaves: `LayerMatch`es, and a `LayerLook` for each layer that is left.
The order tests before: `begat.pipeline.routes`; the numbers: `unit_matches.py`.

"No evidence" of a layer is said only where it was held against every layer of A, in a frame that is known to lie right because other parts of B
were found in it, and with its units in any order: an order test that finds nothing there may have met a reordered copy. Where a layer cannot be
looked at so, it is "undetermined" or "not-tested". What is found is calibrated, as three views are (`views.py`). Without a gate there are two views and
no bank; half of all units must agree in both there, four times what independent models of the lab reach (`_TWO_VIEWS`). A layer whose units are
not A's may still hold A's attention in another order, so its heads are held against A's as well: likeness there forbids "no evidence".
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from begat.alignment import LayerLook, LayerMatch, PairTest
from begat.canon.model import Canonical
from begat.pipeline.aligned_map import spanned
from begat.pipeline.frames import Frame, same_basis
from begat.pipeline.heads import head_rows
from begat.pipeline.mlps import Block, blocks_of
from begat.pipeline.pose import as_text
from begat.pipeline.resemblance import like_heads
from begat.pipeline.routes.base import Context
from begat.pipeline.search import best_layers, depth_of, needed_of
from begat.pipeline.unit_matches import UNITS, Found, match
from begat.pipeline.views import needed_share
from begat.stats.views import TOKENS, load_bank
from begat.verdict.policy import POLICY

#: units that choose which layers of A are looked at closely, and how many of those
_FEW, _CLOSE = 32, 3
#: floating-point operations that are spent on all layers
_MOST_WORK = 4e11
#: how many times what layers reach that do not belong together still says nothing
_APART = 1.5
#: shares of units that agree in two views: what is found, and what says nothing. Of 273 pairs of independent models of one recipe and text the
#: layer that agrees most reaches 0.125
_TWO_VIEWS, _TWO_NOTHING = 0.5, 0.15
#: share of a layer's heads that lies in those of a layer of A, beyond what other layers reach, from which they are alike: independent ones reach 0.2
_HEADS_HELD, _HEAD_LAYERS = 0.5, 8


class Rest(NamedTuple):
    """Layers that were found after all, and what is to be said of the others."""

    found: tuple[LayerMatch, ...]
    left: tuple[LayerLook, ...]


def look_at_rest(context: Context, layers: Sequence[int], frame_for: Callable[[int], Frame | str]) -> Rest:
    """Hold every unit of these layers of B against all of A.

    Args:
        frame_for: the frame for a layer of B in which other parts were found, or why there is none.
    """
    blocks: dict[int, Block] = {}
    for block in blocks_of(context.b, plain=True):
        blocks.setdefault(block.layer, block)
    out: dict[int, LayerMatch | LayerLook] = {}
    by_frame: dict[int, tuple[Frame, list[Block]]] = {}
    for layer in layers:
        frame, mlp = frame_for(layer), blocks.get(layer)
        if isinstance(frame, str) or mlp is None:
            why = frame if isinstance(frame, str) else "it has no MLP that begat can compare so"
            out[layer] = LayerLook(layer, "undetermined", f"no order is kept there, and units in any order were not compared: {why}")
        else:
            by_frame.setdefault(id(frame), (frame, []))[1].append(mlp)
    for frame, mlps in by_frame.values():
        out |= _look(context, mlps, frame)
    found = tuple(x for _, x in sorted(out.items()) if isinstance(x, LayerMatch))
    return Rest(found, tuple(x for _, x in sorted(out.items()) if isinstance(x, LayerLook)))


def _look(context: Context, blocks: Sequence[Block], frame: Frame) -> dict[int, LayerMatch | LayerLook]:
    """Layers in one frame: first against the layer of A that each resembles, then what is left of them against all of A."""
    depth = depth_of(context.a)
    likely = match(context, frame, blocks, lambda x: {x.layer, context.partner(x.layer), (x.layer + max(1, depth // 2)) % depth})
    out: dict[int, LayerMatch | LayerLook] = {f.block.layer: m for f in likely if (m := _found(f, f.apart)) is not None}
    left = [x for x in blocks if x.layer not in out]
    some = left[: max(1, int(_MOST_WORK / max(1.0, _work(context, left[0]))))] if left else []
    for block in left[len(some) :]:
        why = "no order is kept there; units in any order are not compared in so many layers of this size"
        out[block.layer] = LayerLook(block.layer, "not-tested", why)
    near: dict[Block, set[int]] = {x: set() for x in some}
    first = {f.block: f for f in match(context, frame, some, lambda _: None, _FEW)}
    for x, f in first.items():
        near[x] = set(sorted(f.by_layer, key=lambda y: (-f.by_layer[y], y != x.layer))[:_CLOSE])
    close = {f.block: f for f in match(context, frame, [x for x in some if near[x]], lambda x: near[x])}
    for x in some:
        out[x.layer] = _judged(context, close[x], first[x], frame) if x in close else LayerLook(
            x.layer, "undetermined", "no order is kept there, and its units stand by index in one of the models or have no like in A"
        )  # fmt: skip
    return out


def _work(context: Context, block: Block) -> float:
    width = context.b.geometry["text"].width or 0 if "text" in context.b.geometry else 0
    return 2.0 * len(block.signed) * block.units * width * (_FEW * depth_of(context.a) + UNITS * _CLOSE)


def _found(found: Found, apart: float) -> LayerMatch | None:
    """The layer of A that all views find in a layer of B."""
    share = found.agreeing / found.m
    needed = needed_share(load_bank(TOKENS), apart) if found.block.gated else max(_TWO_VIEWS, POLICY.views_factor * apart)
    if min(found.block.units, found.partner.units) < POLICY.views_units or share < needed:
        return None
    by = "three views (calibrated)" if found.block.gated else "two views of its units"
    return LayerMatch(found.block.layer, found.partner.layer, by, None, share)


def _judged(context: Context, found: Found, first: Found, frame: Frame) -> LayerMatch | LayerLook:
    """What a close look says; `first`: the look at all layers of A before."""
    layer, share = found.block.layer, found.agreeing / found.m
    others = [n / first.m for y, n in first.by_layer.items() if y != found.partner.layer]
    apart = min(found.apart, float(np.median(others)) if others else 1.0)
    shown = _found(found, apart)
    if shown is not None:
        return shown
    usual = load_bank(TOKENS).most if found.block.gated else _TWO_NOTHING
    if share > max(usual, _APART * apart) or min(found.block.units, found.partner.units) < POLICY.views_units:
        return LayerLook(layer, "undetermined", f"no order is kept there, but {share:.0%} of its units have their like in layer {found.partner.layer} of A")
    like = like_heads(context.resemblance, layer)
    like = _held_heads(context, layer, frame) if like is None else like
    if like is not None:
        return LayerLook(layer, "undetermined", f"its units are not A's, but its attention heads resemble those of layer {like} of A")
    return LayerLook(layer, "no-evidence", f"held against all {depth_of(context.a)} layers of A, with its units in any order: nothing of A's is in it")


def _held_heads(context: Context, layer: int, frame: Frame) -> int | None:
    """The layer of A in whose heads those of a layer of B lie, in any order and basis of their insides; None where they lie in none's."""
    alike, depth = context.resemblance, depth_of(context.a)
    ours = range(depth) if isinstance(alike, str) or layer not in alike.theirs else alike.likest(layer, depth)
    near = sorted({*list(ours)[:_HEAD_LAYERS], min(layer, depth - 1)})
    for role in ("attn.k", "attn.v"):
        b_HCD = head_rows(context.b, role, layer, None, context.features)
        a_heads = {i: head_rows(context.a, role, i, frame.q_DE, context.features) for i in near}
        held = {i: spanned(x, b_HCD) for i, x in a_heads.items() if x is not None and b_HCD is not None and x.shape[1:] == b_HCD.shape[1:]}
        best = max(held, key=lambda i: held[i], default=None)
        if best is None or len(held) < 2:
            continue
        usual = float(np.median([x for i, x in held.items() if i != best]))
        if held[best] - usual >= _HEADS_HELD * (1 - usual):
            return best
    return None


def other_tower(a: Canonical, b: Canonical, tower: str, held: Collection[int], seed: int) -> Rest:
    """The layers of another tower than the text tower, each held against all of A's: in the order of their units, then with them in any order.

    Args:
        held: its layers that are A's by the plain tests.
    """
    context = Context(as_text(a, tower), as_text(b, tower), seed)
    if not context.same_width:
        return Rest((), ())
    tests = context.search_everywhere(same_basis()).tests
    best = best_layers(tests, needed_of(tests))
    found = [LayerMatch(i, j, "layers searched", log10_e, _share(tests, i, j), tower) for i, (j, log10_e) in sorted(best.items()) if i not in held]
    open_layers = sorted({t.layer_b for t in tests} - set(best) - set(held))
    if not held and not found:
        why = f"no order of any of A's {depth_of(context.a)} layers is kept in it"
        return Rest((), tuple(LayerLook(i, "no-evidence", why, tower) for i in open_layers))
    rest = look_at_rest(context, open_layers, lambda _: same_basis())
    return Rest((*found, *(replace(m, tower=tower) for m in rest.found)), tuple(replace(x, tower=tower) for x in rest.left))


def _share(tests: Sequence[PairTest], layer_b: int, layer_a: int) -> float:
    here = [t for t in tests if (t.layer_b, t.layer_a) == (layer_b, layer_a)]
    return sum(t.hits for t in here) / max(1, sum(t.m for t in here))
