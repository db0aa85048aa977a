"""Which layer of A each layer of B resembles, seen in their attention heads: whom to hold against whom.

Enters: a `Context`.  Leaves: `Resemblance`, or why there is none; `partners_of`: layer of B → layer of A, the same
index where nothing better is known.  The numbers: `begat.signals.spectra`.

Why a choice by it costs an exact test nothing (statistics.md, "Behind disguises"): the spectra are the same in whatever
order the units of MLPs, the heads, the dims inside a head and the dims of the residual stream stand, so given which
layer is held against which, those orders are still uniform. (A config that states a false head size could cut heads
apart; then the choice might depend on an order of value dims, of which few layers are the worth.)
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from begat.canon.model import Canonical
from begat.pipeline.heads import HEADS, head_rows, head_shape
from begat.pipeline.pose import Features
from begat.pipeline.sampling import generator
from begat.signals.spectra import layer_distances, shapes_of, spectra
from begat.types import F64

#: heads of a layer of B that are looked for; floating-point operations beyond which it is left out: seconds
_HEADS, _MOST_WORK = 8, 4e11
#: how much nearer than the layer at its own index another must be, to be taken for the one behind a layer
_NEARER = 0.9
#: and to be called alike in shape: copies with a tenth of noise reach 0.1 to 0.35, layers of 66 trained pairs of strangers no less than 0.32
_ALIKE = 0.25
_PAIRS = (("attn.q", "attn.k"), ("attn.o", "attn.v"))


@dataclass(frozen=True, slots=True)
class Resemblance:
    """Distances of layers, [layers of B, layers of A], of the layers numbered in `theirs` (B) and `ours` (A).

    apart: by all that is known of their heads; shapes: without the sizes of heads.
    """

    ours: tuple[int, ...]
    theirs: tuple[int, ...]
    apart: F64
    shapes: F64

    def nearest(self) -> dict[int, int]:
        """Layer of B → the layer of A that resembles it most; its own index unless another is plainly nearer."""
        out = {}
        for row, layer in zip(self.apart, self.theirs, strict=True):
            best = int(row.argmin())
            own = float(row[self.ours.index(layer)]) if layer in self.ours else np.inf
            out[layer] = self.ours[best] if row[best] < _NEARER * own else layer
        return out

    def likest(self, layer: int, most: int) -> list[int]:
        """The layers of A that resemble one of B most, nearest first."""
        row = self.apart[self.theirs.index(layer)]
        return [self.ours[int(j)] for j in np.argsort(row, kind="stable")[:most]]


def like_heads(found: Resemblance | str, layer: int) -> int | None:
    """The layer of A whose heads are far nearer in shape to those of a layer of B than the heads of most layers are, None where none is.

    It is no evidence, but enough not to say of that layer that it holds nothing of A's.
    """
    if isinstance(found, str) or layer not in found.theirs or len(found.ours) < 2:
        return None
    row = found.shapes[found.theirs.index(layer)]
    usual = float(np.median(np.delete(row, row.argmin())))
    return found.ours[int(row.argmin())] if row.min() < _ALIKE * usual else None


def partners_of(found: Resemblance | str, layers: list[int]) -> dict[int, int]:
    """Layer of B → layer of A that it is held against; the same index where resemblance says nothing."""
    nearest = {} if isinstance(found, str) else found.nearest()
    return {i: nearest.get(i, i) for i in layers}


def resemblance(a: Canonical, b: Canonical, seed: int, features: Features) -> Resemblance | str:
    """Distances between all layers of the text tower that have heads, or why they are not known."""
    geometry = [m.geometry.get("text") for m in (a, b)]
    if any(g is None or not g.heads or not g.kv_heads for g in geometry):
        return "the attention heads of one of the models are not known"
    layers = [_with_heads(m) for m in (a, b)]
    if not all(layers):
        return "one of the models has no layer with attention heads of its own"
    if sum(_work(m, x) for m, x in zip((a, b), layers, strict=True)) > _MOST_WORK:
        return "the attention heads of models this large are not compared"
    ours, theirs = ({i: x for i in some if (x := _numbers(m, i, features)) is not None} for m, some in zip((a, b), layers, strict=True))
    if not ours or not theirs:
        return "the attention of one of the models is all zeros"
    rng = generator(seed, "resemblance")
    looked_for = [x[np.sort(rng.permutation(len(x))[:_HEADS])] for x in theirs.values()]
    if len({x.shape[1] for x in (*ours.values(), *looked_for)}) != 1:
        return "the attention heads of the two are not of one size"
    shapes = layer_distances(*([shapes_of(x, len(_PAIRS)) for x in side] for side in (ours.values(), looked_for)))
    return Resemblance(tuple(ours), tuple(theirs), layer_distances(list(ours.values()), looked_for), shapes)


def _with_heads(model: Canonical) -> list[int]:
    """Layers whose query, key, value and output matrices are cut into heads, of the sizes that most layers have."""
    layers = sorted({k.layer for k in model.tensors if k.tower == "text" and k.layer >= 0})
    shapes = {i: tuple(head_shape(model, role, i) for role in HEADS) for i in layers}
    whole = {i: x for i, x in shapes.items() if _in_pairs(x)}
    usual = Counter(whole.values()).most_common(1)
    return [i for i, x in whole.items() if x == usual[0][0]]


def _in_pairs(shapes: tuple[tuple[int, int] | None, ...]) -> bool:
    """Queries and keys, and outputs and values, are heads of one size."""
    q, k, v, o = shapes
    if q is None or k is None or v is None or o is None:
        return False
    return q[1] == k[1] and o[1] == v[1] and not q[0] % k[0] and not o[0] % v[0] and q[0] == o[0]


def _work(model: Canonical, layers: list[int]) -> float:
    """Floating-point operations of all spectra: Grams, and three decompositions of small matrices a head."""
    total = 0.0
    for role in HEADS:
        heads, dims = head_shape(model, role, layers[0]) or (0, 0)
        width = model.geometry["text"].width or 0
        total += 2.0 * heads * dims**2 * width + 30.0 * heads * dims**3
    return total * len(layers)


def _numbers(model: Canonical, layer: int, features: Features) -> F64 | None:
    """Spectra of queries with keys and of outputs with values, [heads, K]; None where a matrix is all zeros."""
    out = []
    for many, few in _PAIRS:
        x_HCD, y_HCD = (head_rows(model, role, layer, None, features) for role in (many, few))
        assert x_HCD is not None and y_HCD is not None
        found = spectra(x_HCD, np.repeat(y_HCD, len(x_HCD) // len(y_HCD), axis=0))
        if found is None:
            return None
        out.append(found)
    return np.concatenate(out, axis=1)
