"""Merges of models of one shape, and low-rank additions; with the numbers that `decompose` should
find.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from begat_lab.cases.edits.training import _rng
from begat_lab.cases.model import Array, Piece, Toy, rounded

#: share of each parent in a tensor
Shares = Callable[[str, Piece], Sequence[float]]


def linear(parents: Sequence[Toy], shares: Shares, key: object = "") -> Toy:
    """The weighted sum, tensor by tensor; `shares` says the weights of a tensor."""

    def mix(name: str, piece: Piece) -> Piece:
        values = sum(c * p.pieces[name].values for c, p in zip(shares(name, piece), parents, strict=True))
        used = [p for c, p in zip(shares(name, piece), parents, strict=True) if c]
        return replace(
            piece, values=np.asarray(values, np.float32), origin=frozenset().union(*(p.pieces[name].origin for p in used))
        )

    return rounded(parents[0].derive("merged", parents[0].map(mix), *parents[1:], key=key))


def slerp(a: Toy, b: Toy, share: Shares, key: object = "") -> Toy:
    """On the arc between two, tensor by tensor, as mergekit does; `share` gives (1 - t, t)."""

    def mix(name: str, piece: Piece) -> Piece:
        other = b.pieces[name]
        return replace(piece, values=_arc(piece.values, other.values, share(name, piece)[1]), origin=piece.origin | other.origin)

    return rounded(a.derive("merged", a.map(mix), b, key=key))


def _arc(x: Array, y: Array, t: float) -> Array:
    u, v = x.ravel().astype(np.float64), y.ravel().astype(np.float64)
    w = float(np.arccos(np.clip(u @ v / np.linalg.norm(u) / np.linalg.norm(v), -1, 1)))
    mixed = (1 - t) * x + t * y if w < 1e-4 else (np.sin((1 - t) * w) * x + np.sin(t * w) * y) / np.sin(w)
    return np.asarray(mixed, np.float32)


def task_arithmetic(base: Toy, tuned: Sequence[Toy], weights: Sequence[float], key: object = "") -> Toy:
    """Base + sum of weights x (tuned - base)."""

    def mix(name: str, piece: Piece) -> Piece:
        values = piece.values + sum(w * (t.pieces[name].values - piece.values) for w, t in zip(weights, tuned, strict=True))
        return replace(piece, values=np.asarray(values, np.float32))

    return rounded(base.derive("merged", base.map(mix), *tuned, key=key))


def low_rank(
    toy: Toy, seed: int, rank: int, share: float = 0.1, ends: tuple[str, ...] = ("q_proj.weight", "v_proj.weight")
) -> Toy:
    """A LoRA adapter merged into the matrices whose names end so."""

    def add(name: str, piece: Piece) -> Piece:
        rng, (rows, cols) = _rng(seed, name), piece.values.shape
        change = rng.standard_normal((rows, rank)) @ rng.standard_normal((rank, cols))
        return replace(piece, values=(piece.values + share * piece.values.std() * change / np.sqrt(rank)).astype(np.float32))

    return rounded(toy.derive("low-rank-added", toy.map(add, lambda n, p: n.endswith(ends)), key=(seed, rank)))


def direction_removed(toy: Toy, seed: int) -> Toy:
    """One direction of the residual stream taken out of every matrix that writes to it
    (abliteration).
    """
    direction = np.random.default_rng(seed).standard_normal(int(toy.config["hidden_size"]))
    direction /= np.linalg.norm(direction)

    def remove(name: str, piece: Piece) -> Piece:
        axis = piece.axes.index("residual")
        w = piece.values if axis == 0 else piece.values.T
        w = w - np.outer(direction, direction @ w)
        return replace(piece, values=np.ascontiguousarray(w if axis == 0 else w.T, dtype=np.float32))

    writes = ("o_proj.weight", "down_proj.weight", "w2.weight", "embed_tokens.weight")
    return rounded(toy.derive("direction-removed", toy.map(remove, lambda n, p: n.endswith(writes)), key=seed))
