"""Hidden units of plain feed-forward chains (torchani's atomic networks and the like).

Axis data of `begat.signals.axes`. The outputs of a chain's last layer are named (an energy, a class) and not tested.
"""

from __future__ import annotations

from collections.abc import Iterator

from begat.canon.model import Canonical
from begat.signals.axes.base import AXES, Axis, Site, View, equal_views, is_symmetric, layers
from begat.types import TensorKey


def _sites(a: Canonical, b: Canonical) -> Iterator[Site]:
    keys = layers(a, b, "chain.weight")
    last = {k.tower: k.layer for k in keys}
    for key in keys:
        if key.layer == last[key.tower] or not is_symmetric(a, b, key.tower, "chain-units"):
            continue
        bias = TensorKey(key.tower, key.layer, "chain.bias")
        views = equal_views(a, b, [View(key, "rows"), View(bias, "elements")])
        if any(v.take == "rows" for v in views):
            yield Site(key.tower, key.layer, -1, a.tensors[key].shape[0], views)


AXES.add("chain-units")(
    Axis(
        "chain-units",
        "hidden units of a layer chain",
        "The hidden units of a fully connected layer are drawn alike, trained alike and interchangeable, independently of other layers.",
        _sites,
    )
)
