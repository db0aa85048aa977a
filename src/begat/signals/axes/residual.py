"""The residual stream: one order shared by all layers, pooled into one test.

Axis data of `begat.signals.axes`. Three alternatives see the same permutation (all features together, norm gains and biases alone,
embedding columns alone), so their e-values are averaged, never multiplied. Rows of q, k, v, gate, up or columns of o, down are
not used: they move with the permutations of units and heads, and the product over axes would no longer hold.
"""

from __future__ import annotations

from collections.abc import Iterator

from begat.canon.model import Canonical
from begat.signals.axes.base import AXES, Axis, Site, View, equal_views, is_symmetric
from begat.types import TensorKey

_VECTORS = (
    "attn.norm", "attn.post_norm", "mlp.norm", "mlp.post_norm", "final.norm", "embed.norm",
)  # fmt: skip
_BIASES = ("attn.o.bias", "mlp.down.bias")
_TABLES = ("embed.tokens", "head.weight")


def _sites(a: Canonical, b: Canonical) -> Iterator[Site]:
    for tower in sorted({k.tower for k in a.tensors} & {k.tower for k in b.tensors}):
        if not is_symmetric(a, b, tower, "residual"):
            continue
        width = a.geometry[tower].width
        if not width or width != b.geometry[tower].width:
            continue
        vectors = [k for k in sorted(a.tensors) if k.tower == tower and _is_vector(k, a, width)]
        gains = equal_views(a, b, [View(k, "elements") for k in vectors])
        tables = equal_views(a, b, [View(TensorKey(tower, -1, role), "tokens") for role in _TABLES])
        tables = tuple(v for v in tables if a.tensors[v.key].shape[1] == width)
        if gains and tables:
            yield Site(tower, -1, -1, width, (*gains, *tables), "all")
        if len(gains) > 1:
            yield Site(tower, -1, -1, width, gains, "gains")
        if tables:
            yield Site(tower, -1, -1, width, tables, "embedding")


def _is_vector(key: TensorKey, model: Canonical, width: int) -> bool:
    named = key.role in _BIASES or key.role.removesuffix(".gain").removesuffix(".bias") in _VECTORS
    return named and model.tensors[key].shape == (width,)


AXES.add("residual")(
    Axis(
        "residual",
        "residual stream",
        "The dims of the residual stream share one order over all layers, drawn at initialisation; no position vectors fixed by index are "
        "added to it. Its views are averaged, not multiplied, because they share that one order.",
        _sites,
        combine="alternatives",
        units=256,
    )
)
