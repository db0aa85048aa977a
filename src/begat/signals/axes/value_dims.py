"""Value dims inside one head (v rows with the matching o columns; one order per head).

Axis data of `begat.signals.axes`. At most `_RUN` neighbouring dims from a head's start are sampled: should a config overstate the head size, such a run still
lies inside one true head.
"""

from __future__ import annotations

from collections.abc import Iterator

from begat.canon.model import Canonical
from begat.signals.axes.base import AXES, Axis, Site, View, costly, equal_views, is_symmetric, layers
from begat.types import TensorKey

_RUN = 32


def _sites(a: Canonical, b: Canonical) -> Iterator[Site]:
    for key in layers(a, b, "attn.v.weight"):
        if not is_symmetric(a, b, key.tower, "value-dims"):
            continue
        x, y = a.geometry[key.tower], b.geometry[key.tower]
        size = x.value_dim
        if not size or not x.kv_heads or (x.kv_heads, size) != (y.kv_heads, y.value_dim):
            continue
        if costly(a, b, key) or any(m.tensors[key].shape[0] != x.kv_heads * size for m in (a, b)):
            continue
        bias = TensorKey(key.tower, key.layer, "attn.v.bias")
        for head in range(x.kv_heads):
            views = equal_views(a, b, [View(key, "rows", head * size), View(bias, "elements", head * size)])
            if any(v.take == "rows" for v in views):
                yield Site(key.tower, key.layer, head, min(size, _RUN), views)


AXES.add("value-dims")(
    Axis(
        "value-dims",
        "value dims in a head",
        "The value dims of one attention head (no rotary positions act on them) are drawn alike, trained alike and interchangeable, "
        "independently of other heads and layers.",
        _sites,
        units=32,
        per_layer=1,
    )
)
