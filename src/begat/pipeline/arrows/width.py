"""Width: MLP units left out, or added.

The smaller model's units are units of the larger, in their order. Extra units that are copies of others came of widening. Others were left out by pruning: by
strength when the strongest extra unit is just below the weakest kept one (one distribution cut in two; units added fresh leave a gap), by another score when
extra and kept units are equally strong.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from begat.canon.model import Canonical
from begat.pipeline.arrows.base import ARROWS, EQUAL, Pair, Sign
from begat.pipeline.sampling import generator
from begat.types import F64, TensorKey

_LAYERS = 4
#: cosine of a unit with the one it is; share of a layer's units that must have one
_SAME, _FOUND = 0.5, 0.98
#: share of (kept, extra) pairs in which the kept one is stronger: cut by strength, or by something else
_CUT, _EVEN = 0.99, (0.2, 0.8)
#: strongest extra over weakest kept unit where one distribution was cut
_NEXT = (0.8, 1.25)
#: share of the extra units that are copies of kept ones
_COPIES = 0.9


@dataclass(frozen=True, slots=True)
class _Layer:
    kept: int
    extra: int
    copies: float
    stronger: float
    following: float
    exact: bool


@ARROWS.add("width")
def width(pair: Pair) -> Iterator[Sign]:
    """`child` is `parent` without some MLP units, or with copies of some."""
    yield from _fewer(_subset(pair.child, pair.parent, pair.seed))
    yield from _copied(_subset(pair.parent, pair.child, pair.seed))


def _subset(small: Canonical, large: Canonical, seed: int) -> list[_Layer]:
    """How the units of the smaller model lie in the larger's, layer by layer; [] unless they are a subset everywhere."""
    keys = [k for k, t in small.tensors.items() if k.role == "mlp.up.weight" and k in large.tensors
            and t.shape[1] == large.tensors[k].shape[1] and t.shape[0] < large.tensors[k].shape[0]]  # fmt: skip
    pick = np.sort(generator(seed, "width").permutation(len(keys))[:_LAYERS])
    found = [_layer(small, large, keys[i]) for i in pick]
    layers = [f for f in found if f is not None]
    return layers if len(layers) == len(found) else []


def _words(layers: list[_Layer]) -> str:
    first = layers[0]
    return f"the smaller model's MLP units are units of the larger in their order ({first.kept} of {first.kept + first.extra}, {len(layers)} layers looked at)"


def _fewer(layers: list[_Layer]) -> Iterator[Sign]:
    if not layers or all(f.copies >= _COPIES for f in layers):
        return
    missing = "units-missing" if all(f.exact for f in layers) else "units-missing-changed"
    if all(f.stronger >= _CUT and _NEXT[0] <= f.following <= _NEXT[1] for f in layers):
        yield Sign(missing, f"{_words(layers)}; those missing are its weakest, cut from one distribution")
    elif all(_EVEN[0] <= f.stronger <= _EVEN[1] and f.copies < 0.1 for f in layers):
        yield Sign(missing, f"{_words(layers)}; those missing are as strong as those kept")
    else:
        yield Sign("units-more-or-fewer", _words(layers))


def _copied(layers: list[_Layer]) -> Iterator[Sign]:
    if layers and all(f.copies >= _COPIES for f in layers):
        yield Sign(
            "units-repeated" if all(f.exact for f in layers) else "units-repeated-changed",
            f"{_words(layers)}; the others are copies of these",
        )


def _layer(fewer: Canonical, more: Canonical, key: TensorKey) -> _Layer | None:
    """How one layer's units lie in the other model's; None when they are not a subset in order."""
    small, large = _rows(fewer, key), _rows(more, key)
    cosines = _unit(small) @ _unit(large).T
    best, score = cosines.argmax(1), cosines.max(1)
    if (score >= _SAME).mean() < _FOUND or (np.diff(best) <= 0).any():
        return None
    extra = np.setdiff1d(np.arange(len(large)), best)
    strength = _strength(more, key, large)
    kept, gone = strength[best], strength[extra]
    copies = float(((_unit(large[extra]) @ _unit(large[best]).T).max(1) > 0.9).mean())
    stronger = float((kept[:, None] > gone[None, :]).mean())
    exact = bool(score.min() >= EQUAL)
    return _Layer(len(best), len(extra), copies, stronger, float(gone.max() / max(float(kept.min()), 1e-30)), exact)


def _rows(model: Canonical, key: TensorKey) -> F64:
    gate = TensorKey(key.tower, key.layer, "mlp.gate.weight")
    rows = [model.read(key)] + ([model.read(gate)] if gate in model.tensors else [])
    return np.hstack([r.astype(np.float64) for r in rows])


def _strength(model: Canonical, key: TensorKey, rows: F64) -> F64:
    """Product of the norms of what a unit is read from and written to."""
    down = TensorKey(key.tower, key.layer, "mlp.down.weight")
    half = rows.shape[1] // 2 if TensorKey(key.tower, key.layer, "mlp.gate.weight") in model.tensors else rows.shape[1]
    out: F64 = np.linalg.norm(rows[:, :half], axis=1)
    if half < rows.shape[1]:
        out = out * np.linalg.norm(rows[:, half:], axis=1)
    if down in model.tensors:
        out = out * np.linalg.norm(model.read(down).astype(np.float64), axis=0)
    return out


def _unit(x: F64) -> F64:
    out: F64 = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-30)
    return out
