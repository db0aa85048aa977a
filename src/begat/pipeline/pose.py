"""A model posed beside another: its layers shifted, its MLPs read as an expert, its residual stream called as wide as the other's.

Enters: a canonical model.  Leaves: a `Pose`: a canonical model under other keys and shapes, for `begat.signals.axes` to find sites in, and the
way back to the real tensors. Weights are read through the real keys; what is read is then brought into one frame: norm gains folded into
the matrices that read behind them (disguise T5 of statistics.md §3), the residual stream mapped into the other model's.
Who poses models: `begat.pipeline.search`.  Frames: `begat.pipeline.frames`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from begat.canon.config import gain_offset
from begat.canon.model import Canonical, Geometry
from begat.canon.roles import ROLES
from begat.pipeline.sampling import check_finite, take
from begat.signals.axes import View
from begat.types import F32, I64, TensorKey

# Shape suffixes: M units, D residual width of the model, E residual width after mapping

#: bytes of features that are kept at a time, by each of the two that keep some
KEPT_BYTES = 192 << 20
K = TypeVar("K")
V = TypeVar("V")
#: role prefix → the norm whose gain stands before it
_NORM_BEFORE = {
    "attn.": "attn.norm.gain",
    "mlp.": "mlp.norm.gain",
    "expert.": "mlp.norm.gain",
    "shared.": "mlp.norm.gain",
    "moe.router": "mlp.norm.gain",
    "head.": "final.norm.gain",
}


@dataclass(frozen=True, slots=True)
class Pose:
    """A model under other keys.

    Attributes:
        model: the real one.
        canonical: under the keys and widths of the pose.
        real: key of the pose → real key.
    """

    model: Canonical
    canonical: Canonical
    real: Mapping[TensorKey, TensorKey]


def pose(
    model: Canonical,
    rename: Callable[[TensorKey], TensorKey | None],
    width: int | None = None,
    called: Mapping[str, str] | None = None,
) -> Pose:
    """Pose a model.

    Args:
        rename: gives a key's name in the pose, None to leave it out.
        width: what its residual stream is called.
        called: axis of the pose → the model's axis that it is: where that is a symmetry, it is one.
    """
    real: dict[TensorKey, TensorKey] = {}
    tensors = {}
    for key, t in model.tensors.items():
        new = rename(key)
        if new is None or new in real:
            continue
        real[new] = key
        axes = ROLES[key.role].axes
        shape = tuple(width if width and axis == "residual" else n for axis, n in zip(axes, t.shape, strict=False))
        tensors[new] = replace(t, key=new, shape=shape if len(axes) == len(t.shape) else t.shape)
    geometry = model.geometry
    if width:
        geometry = {tower: replace(g, width=width) for tower, g in geometry.items()}
    if called:
        geometry = {tower: _called(g, called) for tower, g in geometry.items()}
    return Pose(model, replace(model, tensors=dict(sorted(tensors.items())), geometry=geometry), real)


def as_text(model: Canonical, tower: str) -> Canonical:
    """The model as if one tower were its only trunk, for what looks at the text tower; it reads the same weights."""
    tensors = {replace(k, tower="text"): replace(t, key=replace(k, tower="text")) for k, t in model.tensors.items() if k.tower == tower}
    geometry = {"text": model.geometry[tower]} if tower in model.geometry else {}
    return replace(model, tensors=dict(sorted(tensors.items())), geometry=geometry)


def relayered(model: Canonical, layers: Mapping[int, int]) -> Canonical:
    """The model as if its text tower's layer i were its layer `layers[i]`; it reads the same weights, and a layer may stand in several places."""
    places: dict[int, list[int]] = {}
    for new, old in layers.items():
        places.setdefault(old, []).append(new)
    tensors = {}
    for key, t in model.tensors.items():
        moved = key.tower == "text" and key.layer >= 0
        for layer in places.get(key.layer, []) if moved else [key.layer]:
            new_key = replace(key, layer=layer)
            tensors[new_key] = replace(t, key=new_key)
    return replace(model, tensors=dict(sorted(tensors.items())))


def _called(geometry: Geometry, called: Mapping[str, str]) -> Geometry:
    more = {new: geometry.symmetric[old] for new, old in called.items() if old in geometry.symmetric}
    return replace(geometry, symmetric={**geometry.symmetric, **more})


class Kept(dict[K, V]):
    """Arrays kept to be asked for again, up to `KEPT_BYTES`; beyond that all are dropped and read again."""

    def __init__(self) -> None:
        super().__init__()
        self._bytes = 0

    def keep(self, key: K, value: V, nbytes: int) -> V:
        """Keep `value`, which is returned."""
        if self._bytes + nbytes > KEPT_BYTES:
            self.clear()
            self._bytes = 0
        self._bytes += nbytes
        self[key] = value
        return value


class Features:
    """Reads unit features of real models, folded and mapped, each once while there is room."""

    def __init__(self) -> None:
        self._raw: Kept[tuple[object, ...], F32] = Kept()
        self._gains: dict[tuple[int, TensorKey], F32 | None] = {}

    def blocks(self, posed: Pose, views: tuple[View, ...], units: I64, q_DE: F32 | None) -> list[F32]:
        """One block [M, ·] per view, folded, and mapped by `q_DE` where it lies in the residual stream. Raises InputError on NaN."""
        return self.many([(posed, views, units)], q_DE)[0]

    def many(self, wanted: Sequence[tuple[Pose, tuple[View, ...], I64]], q_DE: F32 | None) -> list[list[F32]]:
        """`blocks` of several, mapped in one product: many small ones take several times as long."""
        found = [[self._folded(p.model, replace(v, key=p.real[v.key]), units) for v in views] for p, views, units in wanted]
        if q_DE is not None:
            inside = [(blocks, i) for blocks in found for i, (_, mapped) in enumerate(blocks) if mapped]
            rows = [blocks[i][0].reshape(-1, q_DE.shape[0]) for blocks, i in inside]
            if rows:
                turned_ME = (rows[0] if len(rows) == 1 else np.concatenate(rows)) @ q_DE
                ends = np.cumsum([len(r) for r in rows])
                for (blocks, i), part_ME in zip(inside, np.split(turned_ME, ends[:-1]), strict=True):
                    blocks[i] = (part_ME.reshape(len(blocks[i][0]), -1), True)
        return [[x for x, _ in blocks] for blocks in found]

    def stored(self, posed: Pose, views: tuple[View, ...], units: I64) -> list[F32]:
        """One block [M, ·] per view, as it is stored. Raises InputError on NaN."""
        return [self._read(posed.model, replace(v, key=posed.real[v.key]), units) for v in views]

    def _folded(self, model: Canonical, view: View, units: I64) -> tuple[F32, bool]:
        """A view with the gain before it folded in, and whether it lies in the residual stream, so that a map is to be applied."""
        raw = self._read(model, view, units)
        axes = ROLES[view.key.role].axes
        if view.take == "rows" and axes[-1] == "residual":
            gain_D = self.gain(model, view.key)
            if gain_D is not None:
                raw = (raw.reshape(len(units), len(view.offsets), -1) * gain_D).reshape(len(units), -1)
            return raw, True
        return raw, view.take == "columns" and axes[0] == "residual"

    def _read(self, model: Canonical, view: View, units: I64) -> F32:
        at = (id(model), view, units.tobytes())
        if at not in self._raw:
            values = take(model, view, units, np.empty(0, dtype=np.int64))
            check_finite(model, view.key, values)
            return self._raw.keep(at, values, values.nbytes)
        return self._raw[at]

    def gain(self, model: Canonical, key: TensorKey) -> F32 | None:
        """The norm gain that stands before a matrix [D]; None where there is none."""
        role = next((norm for prefix, norm in _NORM_BEFORE.items() if key.role.startswith(prefix)), None)
        at = (id(model), TensorKey(key.tower, -1 if key.role.startswith("head.") else key.layer, role or ""))
        if at not in self._gains:
            self._gains[at] = _gain(model, at[1])
        return self._gains[at]


def _gain(model: Canonical, key: TensorKey) -> F32 | None:
    if key not in model.tensors:
        return None
    width = model.geometry[key.tower].width if key.tower in model.geometry else None
    if width is not None and model.tensors[key].shape != (width,):
        return None  # a gain of another size than the residual stream stands before none of its matrices
    gain_D = model.read(key) + np.float32(gain_offset(model.checkpoint.config))
    check_finite(model, key, gain_D)
    return gain_D
