"""Latent dims of multi-head latent attention (DeepSeek-V2/V3): rows of the compressing matrices.

Axis data of `begat.signals.axes`. Of `kv_a` only the compressed rows are symmetric; the rotary key rows behind them are not.
"""

from __future__ import annotations

from collections.abc import Iterator

from begat.canon.model import Canonical
from begat.signals.axes.base import AXES, Axis, Site, View, costly, equal_views, is_symmetric, layers
from begat.types import TensorKey


def _sites(a: Canonical, b: Canonical) -> Iterator[Site]:
    for which, (matrix, gain) in enumerate(
        (("attn.kv_a.weight", "attn.kv_a_norm.gain"), ("attn.q_a.weight", "attn.q_a_norm.gain"))
    ):
        for key in layers(a, b, matrix):
            norm = TensorKey(key.tower, key.layer, gain)
            if norm not in a.tensors or norm not in b.tensors or not is_symmetric(a, b, key.tower, "latent-dims"):
                continue
            views = equal_views(a, b, [View(key, "rows"), View(norm, "elements")])
            if len(views) == 2 and not costly(a, b, key):
                yield Site(key.tower, key.layer, which, a.tensors[norm].shape[0], views)


AXES.add("latent-dims")(
    Axis(
        "latent-dims",
        "latent dims (MLA)",
        "The dims of a compressed attention latent are drawn alike, trained alike and interchangeable, independently of other layers and "
        "of the other latent.",
        _sites,
    )
)
