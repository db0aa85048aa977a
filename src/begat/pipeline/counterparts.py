"""Which tensor of a parent stands behind which tensor of a child: the same key, or the same role in a layer that moved.

Enters: two canonical models (towers already paired by `begat.canon.pair`).  Leaves: child key → parent key, and the layer map.  The rows looked at are few;
a layer counts as moved only where it plainly resembles another layer of the parent and not the one at its own index.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from begat.canon.model import Canonical
from begat.pipeline.sampling import generator
from begat.types import F64, TensorKey

_TABLES = ("embed.tokens", "head.weight")
#: roles that a layer is known by, and rows of each
_ROLES = ("mlp.up.weight", "mlp.gate.weight", "attn.q.weight", "attn.v.weight", "mlp.down.weight", "attn.o.weight")
_ROWS = 8
#: cosine that another layer must reach, and by how much it must beat the one at the same index. Strangers of equal layers stay below 0.1
_COSINE, _LEAD = 0.5, 0.2


@dataclass(frozen=True, slots=True)
class Counterparts:
    """keys: child key → parent key (None: the parent has none of its shape); layers: (tower, child's layer) → (parent's layer, cosine)."""

    keys: dict[TensorKey, TensorKey | None]
    layers: dict[tuple[str, int], tuple[int, float]]

    @property
    def moved(self) -> bool:
        """Some layer stands behind one of another index."""
        return any(layer != source for (_, layer), (source, _) in self.layers.items())


def counterparts(child: Canonical, parent: Canonical, seed: int) -> Counterparts:
    """The parent's tensor behind every tensor of the child."""
    layers: dict[tuple[str, int], tuple[int, float]] = {}
    for tower in sorted({k.tower for k in child.tensors if k.layer >= 0}):
        mine, theirs, cosines = layer_cosines(child, parent, tower, seed)
        for i, layer in enumerate(mine):
            own = float(cosines[i, theirs.index(layer)]) if layer in theirs else -1.0
            best = int(cosines[i].argmax()) if theirs else -1
            if theirs and cosines[i, best] >= _COSINE and cosines[i, best] > own + _LEAD:
                layers[tower, layer] = (theirs[best], float(cosines[i, best]))
            elif layer in theirs:
                layers[tower, layer] = (layer, own)
    return Counterparts({key: _behind(child, parent, key, layers) for key in child.tensors}, layers)


def _behind(
    child: Canonical, parent: Canonical, key: TensorKey, layers: dict[tuple[str, int], tuple[int, float]]
) -> TensorKey | None:  # fmt: skip
    at = key if key.layer < 0 else replace(key, layer=layers.get((key.tower, key.layer), (key.layer, 0.0))[0])
    if at not in parent.tensors:
        return None
    x, y = child.tensors[key].shape, parent.tensors[at].shape
    fits = x == y or (key.role in _TABLES and x[1:] == y[1:])
    return at if fits and 0 not in x else None


def layer_cosines(a: Canonical, b: Canonical, tower: str, seed: int) -> tuple[list[int], list[int], F64]:
    """Layers of A, layers of B, and the mean cosine over a few rows of every role they have in common, [A's, B's] (0 where nothing compares)."""
    mine, theirs = (sorted({k.layer for k in m.tensors if k.tower == tower and k.layer >= 0}) for m in (a, b))
    total, count = (np.zeros((len(mine), len(theirs))) for _ in range(2))
    for role in _ROLES:
        xs, ys = (_layers_of(m, tower, role, layers) for m, layers in ((a, mine), (b, theirs)))
        shapes = {s for k, s in [*xs, *ys] if k is not None}
        widths = {s[1] for s in shapes}
        if len(widths) != 1 or len({s[0] for s in shapes}) != 1:
            continue
        n = next(iter(shapes))[0]
        at = np.sort(generator(seed, "layers", tower, role).permutation(n)[:_ROWS]).astype(np.int64)
        x, y = (_unit(m, ks, at, next(iter(widths))) for m, ks in ((a, xs), (b, ys)))
        total += x @ y.T
        count += np.outer([k is not None for k, _ in xs], [k is not None for k, _ in ys])
    return mine, theirs, total / np.maximum(count, 1)


def _layers_of(
    model: Canonical, tower: str, role: str, layers: Sequence[int]
) -> list[tuple[TensorKey | None, tuple[int, ...]]]:  # fmt: skip
    out: list[tuple[TensorKey | None, tuple[int, ...]]] = []
    for layer in layers:
        key = TensorKey(tower, layer, role)
        out.append((key, model.tensors[key].shape) if key in model.tensors else (None, ()))
    return out


def _unit(model: Canonical, keys: Sequence[tuple[TensorKey | None, tuple[int, ...]]], at: np.ndarray, width: int) -> F64:
    """Rows `at` of every layer's tensor as one unit vector, zeros where the layer has none."""
    out = np.zeros((len(keys), len(at) * width))
    for i, (key, _) in enumerate(keys):
        if key is not None:
            values = model.read(key, at).astype(np.float64).ravel()
            out[i] = values / max(float(np.linalg.norm(values)), 1e-300)
    return out
