"""What an axis is: its name, its null in words, and the sites where it can be sampled.

Enters and leaves: see the package. The registry `AXES` keeps the order in which axes are read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from begat.canon.model import Canonical
from begat.registry import Registry
from begat.source.dtypes import PACKED
from begat.types import TensorKey


@dataclass(frozen=True, slots=True)
class View:
    """How a unit u of a site shows in one tensor.

    take:
        "rows": canonical rows `start + stride*u + o` for o in `offsets`, side by side;
        "columns": canonical column `start + stride*u`, all rows;
        "tokens": canonical column `start + stride*u`, at sampled rows (token rows of an embedding);
        "elements": elements `start + stride*u + o` of a vector.
    """

    key: TensorKey
    take: str
    start: int = 0
    stride: int = 1
    offsets: tuple[int, ...] = (0,)


@dataclass(frozen=True, slots=True)
class Site:
    """One place where the order of `units` units can be tested: equal in A and B, both shapes known to fit.

    label: which alternative of an axis with `combine="alternatives"` this is, "" otherwise.
    """

    tower: str
    layer: int
    expert: int
    units: int
    views: tuple[View, ...]
    label: str = ""


Sites = Callable[[Canonical, Canonical], Iterator[Site]]


@dataclass(frozen=True, slots=True)
class Axis:
    """A symmetric axis.

    Attributes:
        name: as in `begat.canon`'s families.toml.
        title: for people ("MLP units").
        null: the null hypothesis and its assumption, in words, printed in every report.
        sites: all sites common to two models.
        combine: "product" (every site has its own permutation) or "alternatives" (all share one: averaged).
        units: how many units one test samples at most.
        per_layer: how many sites of one layer are sampled (0 = all).
    """

    name: str
    title: str
    null: str
    sites: Sites
    combine: str = "product"
    units: int = 64
    per_layer: int = 0


AXES: Registry[Axis] = Registry("axis")


def equal_views(a: Canonical, b: Canonical, views: list[View]) -> tuple[View, ...]:
    """The views whose tensors both models have in one shape; "tokens" views may differ in rows (the vocabulary)."""

    def fits(view: View) -> bool:
        x, y = a.tensors.get(view.key), b.tensors.get(view.key)
        if x is None or y is None or len(x.shape) != len(y.shape):
            return False
        return x.shape[1:] == y.shape[1:] if view.take == "tokens" else x.shape == y.shape

    return tuple(v for v in views if fits(v))


def costly(a: Canonical, b: Canonical, key: TensorKey) -> bool:
    """One of the models stores the rows of this matrix as columns, so that a few cost as much as all; packed weights are small enough."""
    return any(t.transposed and m.checkpoint.entries[t.name].dtype not in PACKED for m, t in ((a, a.tensors[key]), (b, b.tensors[key])))


def layers(a: Canonical, b: Canonical, role: str) -> list[TensorKey]:
    """Keys of `role` that both models have, in order."""
    return sorted(k for k in a.tensors if k.role == role and k in b.tensors)


def is_symmetric(a: Canonical, b: Canonical, tower: str, axis: str) -> bool:
    """Both models' architecture data call the axis symmetric in this tower."""
    return all(tower in m.geometry and axis in m.geometry[tower].symmetric for m in (a, b))
