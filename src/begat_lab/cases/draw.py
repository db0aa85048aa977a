"""Weights that look trained: what every architecture draws its tensors with.

Enters: a seed.  Leaves: arrays.  What makes them look trained, and strangers hard to tell from
relatives for a careless test:

- rows and columns of unlike sizes, a few large directions, two outlier dims of the residual stream,
  a trend over depth;
- embeddings of one text: token features and frequencies are the same in all models (`_text`), seen
  by each in a random basis of its own, so that strangers agree on which tokens are alike;
- a few units of every layer that detect the same token features in all models, at places drawn
  anew.

One generator per (seed, name of the tensor), so that no tensor depends on the order they are drawn
in.
"""

from __future__ import annotations

import zlib
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from begat_lab.cases.model import Array, Piece, Toy, rounded
from begat_lab.cases.truth import Place

#: features of the text that all models are trained on; share of units that detect one of them, and
#: how purely
_FEATURES, _SHARED_UNITS, _PURITY = 24, 0.03, 0.5
_SCALE, _UNEVEN, _SPIKES = 0.04, 0.25, 3


class Draft:
    """Draws one model's tensors. `family` goes into the names of the draws, so that equal seeds of
    two families share nothing.
    """

    def __init__(self, seed: int, family: str, width: int) -> None:
        self.seed, self.family = seed, family
        self.pieces: dict[str, Piece] = {}
        rng = self._rng("basis")
        self.basis_KD = rng.standard_normal((_FEATURES, width)).astype(np.float32) / np.sqrt(width)
        profile_D = np.exp(0.2 * rng.standard_normal(width))
        profile_D[rng.permutation(width)[:2]] *= 4.0
        self.profile_D = profile_D.astype(np.float32)

    def _rng(self, name: str) -> np.random.Generator:
        return np.random.default_rng([self.seed, zlib.crc32(f"{self.family}/{name}".encode())])

    def _put(self, name: str, values: Array, place: Place, axes: tuple[str, ...], group: str) -> None:
        draw = frozenset({f"{self.family}:{self.seed}:{name}"})
        self.pieces[name] = Piece(np.ascontiguousarray(values, dtype=np.float32), place, axes, draw, group)

    def matrix(self, name: str, shape: tuple[int, ...], place: Place, axes: tuple[str, ...], group: str = "other") -> None:
        """A weight of two axes or more; the last two are (out, in), or as `axes` says."""
        self._put(
            name, trained_like(self._rng(name), shape, axes, self.profile_D, self.basis_KD, place.layer), place, axes, group
        )

    def gain(self, name: str, size: int, place: Place, axis: str = "residual") -> None:
        """A norm gain: a trend over depth that all models share, its own deviations."""
        values = 0.5 + 0.05 * place.layer + 0.1 * self._rng(name).standard_normal(size)
        self._put(name, values, place, (axis,), "norms and biases")

    def bias(self, name: str, size: int, place: Place, axis: str) -> None:
        """A bias."""
        self._put(name, 0.02 * self._rng(name).standard_normal(size), place, (axis,), "norms and biases")

    def table(self, name: str, tokens: int, place: Place, group: str = "embedding") -> None:
        """A table of token rows: the text's features in the model's own basis, frequent tokens
        larger, and much of its own.
        """
        features_VK, size_V = _text(tokens)
        rng = self._rng(name)
        own_VD = rng.standard_normal((tokens, len(self.profile_D)))
        values = (0.8 * features_VK @ self.basis_KD * np.sqrt(len(self.profile_D) / _FEATURES) + own_VD) * size_V[:, None]
        self._put(name, _SCALE * values * self.profile_D, place, ("token", "residual"), group)

    def raw(self, name: str, values: Array, place: Place, axes: tuple[str, ...], group: str = "other") -> None:
        """Values that follow from the design and not from chance: no draw of their own."""
        self.pieces[name] = Piece(np.ascontiguousarray(values, dtype=np.float32), place, axes, frozenset(), group)

    def done(self, config: dict[str, Any], towers: tuple[str, ...], tokens: int, dtype: str) -> Toy:
        """The model."""
        toy = Toy(self.pieces, config | {"torch_dtype": dtype}, towers, frozenset(), tokens, dtype)
        return rounded(toy.derive("trained", key=(self.family, self.seed)))


def trained_like(
    rng: np.random.Generator,
    shape: tuple[int, ...],
    axes: tuple[str, ...],
    profile_D: Array | None,
    basis_KD: Array | None,
    layer: int,
) -> Array:
    """Values of a trained-looking weight; stacked experts matrix by matrix."""
    if len(shape) > 2 and axes[0] != "expert":  # a convolution: what one output reads is one row
        flat = trained_like(rng, (shape[0], int(np.prod(shape[1:]))), (axes[0], "in"), None, None, layer)
        return flat.reshape(shape)
    if len(shape) > 2:
        inner = [trained_like(rng, shape[1:], axes[1:], profile_D, basis_KD, layer) for _ in range(shape[0])]
        return np.stack(inner).astype(np.float32)
    rows, cols = (np.exp(_UNEVEN * rng.standard_normal(n)) for n in shape)
    values = rng.standard_normal(shape) * rows[:, None] * cols
    for _ in range(_SPIKES):
        u, v = (rng.standard_normal(n) for n in shape)
        values += 0.08 * np.outer(u, v) * rng.exponential()
    if basis_KD is not None and axes[1] == "residual" and axes[0] in ("unit", "head*dim"):
        picked = rng.permutation(shape[0])[: int(_SHARED_UNITS * shape[0])]
        values[picked] = (1 - _PURITY) * values[picked] + _PURITY * np.sqrt(shape[1]) * basis_KD[: len(picked)]
    if profile_D is not None:
        values = values / profile_D if axes[1] == "residual" else values * profile_D[:, None] if axes[0] == "residual" else values
    return (_SCALE * (1 + 0.1 * max(layer, 0)) * values).astype(np.float32)


@lru_cache(maxsize=8)
def _text(tokens: int) -> tuple[Array, Array]:
    """Features and sizes of tokens: of the text, hence the same for all models."""
    rng = np.random.default_rng([20261201, 7])
    features_VK = rng.standard_normal((8192, _FEATURES))[:tokens] * np.exp(0.5 * rng.standard_normal(_FEATURES))
    size_V = 1.4 / (1 + np.arange(tokens)) ** 0.08
    return features_VK.astype(np.float32), size_V.astype(np.float32)


def redrawn(toy: Toy, names: list[str], seed: int, family: str) -> dict[str, Piece]:
    """`names` of a model drawn anew, in their own shapes and sizes; everything else as it is."""
    out = dict(toy.pieces)
    for name in names:
        piece = toy.pieces[name]
        rng = np.random.default_rng([seed, zlib.crc32(f"{family}/{name}".encode())])
        if piece.is_matrix:
            values = trained_like(rng, piece.values.shape, piece.axes, None, None, 0)
            values *= np.float32(piece.values.std() / max(float(values.std()), 1e-9))
        else:
            values = (piece.values.mean() + piece.values.std() * rng.standard_normal(piece.values.shape)).astype(np.float32)
        out[name] = replace(piece, values=values, origin=frozenset({f"{family}:{seed}:{name}"}))
    return out
