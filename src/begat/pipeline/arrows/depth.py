"""Depth: layers left out, or used more than once.

Layers that repeat inside one model and are single in the other came of the single ones: nobody trains two layers into likeness. A model with more
layers, none of which repeat, had some taken out to make the other, unless the extra ones were inserted and trained. Inserted layers start as copies (block
expansion, then they still resemble a neighbour) or as fresh weights; fresh ones are told from old ones while their sizes differ. So the arrow of pruning
asks that the extra layers resemble no other layer and lie within the range of the others in the size of every matrix and gain. A layer inserted fresh and
trained until its sizes match is the case that this misreads.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from begat.canon.model import Canonical
from begat.canon.roles import ROLES
from begat.pipeline.arrows.base import ARROWS, EQUAL, Pair, Sign
from begat.pipeline.counterparts import layer_cosines
from begat.pipeline.words import ranges
from begat.types import F64, TensorKey

#: cosine of two layers that one was made of; of layers of one model that have nothing in common
_SAME, _APART = 0.4, 0.15
#: factor by which an extra layer's sizes may leave the range of the others
_RANGE = 1.25


@ARROWS.add("depth")
def depth(pair: Pair) -> Iterator[Sign]:
    """`child` is `parent` with layers repeated, or without some."""
    towers = sorted(
        {k.tower for k in pair.child.tensors if k.layer >= 0} & {k.tower for k in pair.parent.tensors if k.layer >= 0}
    )
    for tower in towers:
        mine, theirs, cosines = layer_cosines(pair.child, pair.parent, tower, pair.seed)
        if len(mine) == len(theirs):
            continue
        best = [int(c.argmax()) for c in cosines]
        matched = [float(c.max()) >= _SAME for c in cosines]
        exact = min((float(c.max()) for c, ok in zip(cosines, matched, strict=True) if ok), default=0.0) >= EQUAL
        if len(mine) > len(theirs):
            yield from _repeated(pair, tower, mine, theirs, best, matched, exact)
        else:
            yield from _left_out(pair, tower, mine, theirs, best, matched, exact)


def _repeated(
    pair: Pair, tower: str, mine: list[int], theirs: list[int], best: list[int], matched: list[bool], exact: bool
) -> Iterator[Sign]:  # fmt: skip
    used = Counter(b for b, ok in zip(best, matched, strict=True) if ok)
    twice = [theirs[b] for b, n in sorted(used.items()) if n > 1]
    if not all(matched) or not twice:
        return
    alike = _within(pair.parent, tower, pair.seed)
    if alike.max(initial=0) >= _SAME:  # the smaller one repeats layers too
        return
    where = ranges([f"layer {layer}" for layer in twice])
    fact = "layers-repeated" if exact else "layers-repeated-changed"
    yield Sign(
        fact, f"{len(mine)} layers, each of which is one of {len(theirs)}: {where} of the smaller model stand more than once"
    )


def _left_out(
    pair: Pair, tower: str, mine: list[int], theirs: list[int], best: list[int], matched: list[bool], exact: bool
) -> Iterator[Sign]:  # fmt: skip
    if not all(matched) or best != sorted(set(best)):
        return
    extra = [theirs[i] for i in range(len(theirs)) if i not in set(best)]
    where = ranges([f"layer {layer}" for layer in extra])
    alike = _within(pair.parent, tower, pair.seed)[[theirs.index(e) for e in extra]].max(initial=0)
    words = f"the smaller model's {len(mine)} layers are layers of the larger in their order; {where} of the larger are missing"
    odd = _odd_sizes(pair.parent, tower, extra, [theirs[b] for b in best])
    if alike >= _SAME:  # the larger one repeats layers: asked with the roles exchanged
        return
    if alike < _APART and not odd and len(best) >= 2:
        yield Sign(
            "layers-missing" if exact else "layers-missing-changed",
            f"{words}, which resemble no other layer and have the sizes of the rest",
        )
    else:
        reason = (
            "resemble other layers"
            if alike >= _APART
            else f"differ from the rest in the size of {odd}"
            if odd
            else "leave too few to compare"
        )
        yield Sign("layers-more-or-fewer", f"{words}, but they {reason}")


def _within(model: Canonical, tower: str, seed: int) -> F64:
    """Cosines of a model's layers with its other layers, zero on the diagonal."""
    _, _, cosines = layer_cosines(model, model, tower, seed)
    out: F64 = cosines - np.diag(np.diag(cosines))
    return out


def _odd_sizes(model: Canonical, tower: str, extra: Sequence[int], rest: Sequence[int]) -> str:
    """A role whose root mean square in an extra layer lies outside the range of the other layers, "" if none does."""
    roles = sorted({k.role for k in model.tensors if k.tower == tower and k.layer in extra and k.expert < 0})
    for role in roles:
        sizes = {
            layer: _size(model, TensorKey(tower, layer, role))
            for layer in (*extra, *rest)
            if TensorKey(tower, layer, role) in model.tensors
        }
        others = [sizes[layer] for layer in rest if layer in sizes]
        if not others or ROLES[role].kind not in ("matrix", "gain"):
            continue
        low, high = min(others) / _RANGE, max(others) * _RANGE
        if any(not low <= sizes[layer] <= high for layer in extra if layer in sizes):
            return role
    return ""


def _size(model: Canonical, key: TensorKey) -> float:
    t = model.tensors[key]
    rows = range(min(t.shape[0], 1 << 20)) if t.is_vector else np.arange(0, t.shape[0], max(1, t.shape[0] // 32), dtype=np.int64)
    values = model.read(key, rows)
    return float(np.sqrt(np.square(values, dtype=np.float64).mean()))
