"""Hidden units of every MLP layer (gate, up, down share one order per layer).

Axis data of `begat.signals.axes`; experts' units are the neighbour `expert_units.py`.
"""

from __future__ import annotations

from collections.abc import Iterator

from begat.canon.model import Canonical
from begat.signals.axes.base import AXES, Axis, Site, View, equal_views, is_symmetric
from begat.types import TensorKey


def unit_views(a: Canonical, b: Canonical, key: TensorKey, kind: str) -> tuple[View, ...]:
    """The cheap views of the units of one MLP: rows of gate and up and their biases, or columns of down where the file stores
    it unit by unit (GPT-2's Conv1D) and gate and up not.
    """

    def at(role: str) -> TensorKey:
        return TensorKey(key.tower, key.layer, f"{kind}.{role}", key.expert)

    inner = [v for r in ("gate", "up") for v in (View(at(f"{r}.weight"), "rows"), View(at(f"{r}.bias"), "elements"))]
    rows = equal_views(a, b, inner)
    cheap = tuple(v for v in rows if v.take == "elements" or not _costly(a, b, v.key))
    if any(v.take == "rows" for v in cheap):
        return cheap
    down = equal_views(a, b, [View(at("down.weight"), "columns")])
    if down and all(_by_units(m, down[0].key) for m in (a, b)):
        return (*down, *cheap)
    return rows


def _by_units(model: Canonical, key: TensorKey) -> bool:
    """Stored unit by unit, and no quantiser walked from one to the next."""
    t = model.tensors[key]
    scaling = model.checkpoint.entries[t.name].scaling
    return t.transposed and (scaling is None or scaling.alike is None)


def _costly(a: Canonical, b: Canonical, key: TensorKey) -> bool:
    return any(m.tensors[key].transposed for m in (a, b))


def units_of(a: Canonical, b: Canonical, views: tuple[View, ...]) -> int:
    """How many units the views show."""
    for view in views:
        shape = a.tensors[view.key].shape
        if view.take in ("rows", "columns"):
            return shape[0] if view.take == "rows" else shape[1]
    return 0


def _sites(a: Canonical, b: Canonical) -> Iterator[Site]:
    for kind in ("mlp", "shared"):
        ups = sorted(k for k in a.tensors if k.role == f"{kind}.up.weight" and k in b.tensors)
        for key in ups:
            views = unit_views(a, b, key, kind)
            units = units_of(a, b, views)
            if units > 1 and is_symmetric(a, b, key.tower, "mlp-units"):
                yield Site(key.tower, key.layer, -1, units, views)


AXES.add("mlp-units")(
    Axis(
        "mlp-units",
        "MLP units",
        "The order of the hidden units of an MLP layer is drawn at initialisation, alike and independently of the other model and of "
        "the other layers, and training treats all units alike; so a sampled unit matches its own index with chance at most 1 in the sample, "
        "one hit per layer on average.",
        _sites,
    )
)
