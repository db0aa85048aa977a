"""Training, as it shows in weights: fine-tunes, models grown from one start, averages over steps;
and noise, which is none.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from begat_lab.cases.model import Array, Piece, Toy, rounded

_RANK_SHARE, _DECAY, _UNEVEN = 0.25, 0.6, 0.4


def _rng(seed: int, name: str) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


def finetuned(
    toy: Toy, seed: int, share: float = 0.1, operation: str = "finetuned", where: Callable[[str, Piece], bool] = lambda n, p: True
) -> Toy:
    """Trained on: every tensor that `where` names changes by `share` of its size, the change uneven
    over rows and columns and of few large directions, as gradients are; rare tokens hardly move.
    """

    def train(name: str, piece: Piece) -> Piece:
        change = learned(_rng(seed, name), piece.values.shape, "token" in piece.axes)
        size = piece.values.std() if piece.is_matrix else 0.3 * piece.values.std()
        return replace(piece, values=(piece.values + share * size * change).astype(np.float32), origin=piece.origin)

    def floats(name: str, piece: Piece) -> bool:
        return piece.values.dtype == np.float32 and piece.axes != ("one",) and where(name, piece)

    return rounded(toy.derive(operation, toy.map(train, floats), key=(seed, share)))


def learned(rng: np.random.Generator, shape: tuple[int, ...], tokens: bool = False) -> Array:
    """A change as training makes it, of mean square 1."""
    if len(shape) == 1:
        values = rng.standard_normal(shape) * np.exp(_UNEVEN * rng.standard_normal(shape))
    else:
        flat = (int(np.prod(shape[:-1])), shape[-1])
        rank = max(2, int(_RANK_SHARE * min(flat)))
        u, v = (rng.standard_normal((n, rank)) for n in flat)
        rows, cols = (np.exp(_UNEVEN * rng.standard_normal(n)) for n in flat)
        values = (u * (1 + np.arange(rank)) ** -_DECAY) @ v.T
        values = values / values.std() + 0.5 * rng.standard_normal(flat)
        values = values * rows[:, None] * cols
        if tokens:
            values *= (1 + np.arange(flat[0]))[:, None] ** -0.15
        values = values.reshape(shape)
    return values / max(float(np.sqrt(np.mean(values**2))), 1e-12)


def noised(toy: Toy, seed: int, share: float = 0.1) -> Toy:
    """White noise of `share` of its size on every tensor: the disguise of people who think that a
    changed file is a new model.
    """

    def blur(name: str, piece: Piece) -> Piece:
        noise = _rng(seed, name).standard_normal(piece.values.shape)
        return replace(piece, values=(piece.values + share * piece.values.std() * noise).astype(np.float32))

    return rounded(toy.derive("noised", toy.map(blur, lambda n, p: p.values.dtype == np.float32), key=(seed, share)))


def initialised(toy: Toy, seed: int, deviation: float = 0.02) -> Toy:
    """The same shapes before training: matrices drawn evenly at `deviation`, norm gains one. The
    config states the deviation.
    """

    def start(name: str, piece: Piece) -> Piece:
        if not piece.is_matrix:
            return replace(
                piece,
                values=np.full(piece.values.shape, float("gain" in piece.group or "norm" in name), np.float32),
                origin=frozenset(),
            )
        values = (deviation * _rng(seed, name).standard_normal(piece.values.shape)).astype(np.float32)
        return replace(piece, values=values, origin=frozenset({f"start:{seed}:{name}"}))

    bare = replace(toy, steps=frozenset(), pieces=toy.map(start), config=dict(toy.config) | {"initializer_range": deviation})
    return rounded(bare.derive("initialised", key=seed))


def grown(start: Toy, seed: int, share: float = 1.0) -> Toy:
    """A training of its own from `start`, each matrix changed by `share` of its size: models grown
    so from one start are twins.
    """

    def train(name: str, piece: Piece) -> Piece:
        rng = _rng(seed, name)
        size = piece.values.std() if piece.is_matrix else 0.2
        values = piece.values + share * max(size, 1e-3) * learned(rng, piece.values.shape, "token" in piece.axes)
        return replace(piece, values=values.astype(np.float32), origin=piece.origin | {f"grown:{seed}:{name}"})

    return rounded(start.derive("trained", start.map(train), key=(seed, share)))


def averaged(toy: Toy, seed: int, share: float = 0.05) -> Toy:
    """An average over the steps just past (EMA): near the raw weights, the same run."""
    return finetuned(toy, seed, share, "averaged-over-steps")
