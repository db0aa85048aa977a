"""KV heads with the query heads they serve (one order per layer), by their key rows.

Axis data of `begat.signals.axes`. Key dims inside a head are *not* symmetric under rotary positions, so the same dims are taken
from every head. The head size is read from a config and a config may lie: were the true heads larger than stated, one
"head" would be a fixed part of a head (low or high rotary frequencies), and such parts would find their like. So heads are only
compared with heads at the same place inside a block of `_BLOCK` dims; that stays exact for any true head size up to it that the stated one divides.
"""

from __future__ import annotations

from collections.abc import Iterator

from begat.canon.model import Canonical
from begat.signals.axes.base import AXES, Axis, Site, View, costly, equal_views, is_symmetric, layers
from begat.types import TensorKey

_BLOCK = 256
_DIMS = 4


def _sites(a: Canonical, b: Canonical) -> Iterator[Site]:
    for key in layers(a, b, "attn.k.weight"):
        if not is_symmetric(a, b, key.tower, "kv-heads"):
            continue
        x, y = a.geometry[key.tower], b.geometry[key.tower]
        if x.kv_heads is None or x.head_dim is None or (x.kv_heads, x.head_dim) != (y.kv_heads, y.head_dim):
            continue
        size = x.head_dim
        if costly(a, b, key) or any(m.tensors[key].shape[0] != x.kv_heads * size for m in (a, b)):
            continue
        classes = max(1, min(_BLOCK // size, x.kv_heads // 2))
        bias = TensorKey(key.tower, key.layer, "attn.k.bias")
        offsets = tuple(sorted({i * size // _DIMS for i in range(_DIMS)}))
        for c in range(classes):
            units = len(range(c, x.kv_heads, classes))
            views = equal_views(a, b, [
                View(key, "rows", c * size, classes * size, offsets),
                View(bias, "elements", c * size, classes * size, offsets),
            ])  # fmt: skip
            if units > 1 and any(v.take == "rows" for v in views):
                yield Site(key.tower, key.layer, c if classes > 1 else -1, units, views)


AXES.add("kv-heads")(
    Axis(
        "kv-heads",
        "KV heads",
        "The KV heads of a layer, each with its query heads, are drawn alike, trained alike and interchangeable, independently of other layers "
        "(not so under ALiBi or per-head windows, where this is not tested).",
        _sites,
        units=256,
    )
)
