"""Layers left out, repeated, put in another order, inserted, or taken from another model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from begat_lab.cases.draw import redrawn
from begat_lab.cases.model import Piece, Toy

_DEPTHS = ("num_hidden_layers", "n_layer", "num_layers", "num_decoder_layers")
_NUMBER = re.compile(r"\.\d+\.")


def renumbered(name: str, layer: int) -> str:
    """A tensor's name in another layer: the first number of a name is its layer's."""
    return _NUMBER.sub(f".{layer}.", name, count=1)


def ordered(toy: Toy, order: Sequence[int], operation: str) -> Toy:
    """The layers of the main tower named by `order`, in that order."""
    tower = toy.towers[0]
    out = {n: p for n, p in toy.pieces.items() if (p.place.tower, p.place.layer >= 0) != (tower, True)}
    for new, old in enumerate(order):
        out |= {renumbered(n, new): replace(p, place=replace(p.place, layer=new)) for n, p in toy.at(tower, old).items()}
    depth = {k: len(order) for k in _DEPTHS if k in toy.config}
    return toy.derive(operation, out, key=tuple(order), config=depth)


def with_new_layer(toy: Toy, at: int, seed: int, drop_last: bool, identity: bool = True) -> Toy:
    """A new layer put in at `at`; an identity writes nothing to the residual stream. With
    `drop_last` depth stays as it was.
    """
    n = len(toy.layers())
    order = [*range(at), min(at, n - 1), *range(at, n)]
    longer = ordered(toy, order[: n if drop_last else n + 1], "layers-inserted")
    fresh = redrawn(longer, list(longer.at(longer.towers[0], at)), seed, "inserted")
    writers = ("o_proj.weight", "down_proj.weight", "c_proj.weight", "output.dense.weight", ".o.weight", "wo.weight")
    for name in longer.at(longer.towers[0], at):
        if identity and name.endswith(writers):
            fresh[name] = replace(fresh[name], values=np.zeros_like(fresh[name].values))
    out = longer.derive("layers-inserted", fresh, key=(at, seed))
    return out.derive("layers-left-out", key=n) if drop_last else out


def from_other(toy: Toy, other: Toy, layers: Sequence[int]) -> Toy:
    """`layers` of the main tower taken from a model of the same shape."""
    taken: dict[str, Piece] = dict(toy.pieces)
    for layer in layers:
        taken |= other.at(other.towers[0], layer)
    return toy.derive("layers-replaced", taken, other, key=tuple(layers))


def with_redrawn(toy: Toy, layers: Sequence[int], seed: int) -> Toy:
    """`layers` of the main tower trained anew from a start of their own."""
    names = [n for layer in layers for n in toy.at(toy.towers[0], layer)]
    return toy.derive("layers-replaced", redrawn(toy, names, seed, "layers"), key=(tuple(layers), seed))
