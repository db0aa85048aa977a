"""Routed experts of a mixture layer, by their router rows; within routing groups where there are such.

Axis data of `begat.signals.axes`.
"""

from __future__ import annotations

from collections.abc import Iterator

from begat.canon.model import Canonical
from begat.signals.axes.base import AXES, Axis, Site, View, equal_views, is_symmetric, layers
from begat.types import TensorKey


def _sites(a: Canonical, b: Canonical) -> Iterator[Site]:
    for key in layers(a, b, "moe.router.weight"):
        if not is_symmetric(a, b, key.tower, "experts"):
            continue
        groups = [m.geometry[key.tower].expert_groups for m in (a, b)]
        n = a.tensors[key].shape[0]
        if groups[0] is None or groups[0] != groups[1] or n % groups[0]:
            continue
        size = n // groups[0]
        for g in range(groups[0]):
            bias = TensorKey(key.tower, key.layer, "moe.router.bias")
            views = equal_views(a, b, [View(key, "rows", start=g * size), View(bias, "elements", start=g * size)])
            if size > 1 and any(v.take == "rows" for v in views):
                yield Site(key.tower, key.layer, g if groups[0] > 1 else -1, size, views)


AXES.add("experts")(
    Axis(
        "experts",
        "routed experts",
        "The experts of a layer (of one routing group, where routing is limited to groups) are drawn alike, trained alike and "
        "interchangeable, independently of other layers and groups; tested by their router rows.",
        _sites,
        units=256,
    )
)
