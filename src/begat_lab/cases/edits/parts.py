"""Heads, embeddings, towers, names, files and configs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from begat_lab.cases.draw import redrawn
from begat_lab.cases.model import Piece, Toy
from begat_lab.cases.truth import Place


def copied(toy: Toy, **config: Any) -> Toy:
    """The same; with `config`, under a config that says something else."""
    return toy.derive("config-changed" if config else "copied", key=sorted(config), config=config)


def renamed(toy: Toy, name: Callable[[int, str], str], config: Mapping[str, Any] | None = None) -> Toy:
    """Every tensor under the name that `name` gives to (number, name)."""
    pieces = {name(i, n): p for i, (n, p) in enumerate(toy.pieces.items())}
    out = toy.derive("renamed", pieces, key=sorted(pieces)[0])
    return out if config is None else replace(out, config=dict(config))


def without(
    toy: Toy, operation: str, drop: Callable[[str, Piece], bool], towers: tuple[str, ...] | None = None, **config: Any
) -> Toy:
    """The tensors that `drop` names left out."""
    pieces = {n: p for n, p in toy.pieces.items() if not drop(n, p)}
    return toy.derive(operation, pieces, key=len(pieces), config=config, towers=toy.towers if towers is None else towers)


def head_new(toy: Toy, seed: int) -> Toy:
    """A head drawn anew, the embedding kept."""
    names = [n for n, p in toy.pieces.items() if p.place.component == "head"]
    return toy.derive("head-replaced", redrawn(toy, names, seed, "head"), key=seed)


def untied(toy: Toy, seed: int | None = None) -> Toy:
    """A head of its own for a model that shared its embedding: a copy of it, or with `seed` a fresh
    one.
    """
    table = next(p for p in toy.pieces.values() if p.axes[0] == "token")
    head = replace(table, place=Place("text", -1, component="head"), group="output head")
    operation = "head-copied" if seed is None else "head-added"
    pieces = dict(toy.pieces) | {"lm_head.weight": head}
    with_head = toy.derive(operation, pieces, config={"tie_word_embeddings": False})
    return with_head if seed is None else head_new(with_head, seed)


def classifier(toy: Toy, seed: int, classes: int = 5) -> Toy:
    """The language head exchanged for a classifier, the rest kept."""
    width = int(toy.config["hidden_size"])
    values = (0.02 * np.random.default_rng(seed).standard_normal((classes, width))).astype(np.float32)
    score = Piece(values, Place("text", -1, component="classifier"), ("class", "residual"), frozenset({f"score:{seed}"}))
    pieces = {n: p for n, p in toy.pieces.items() if p.place.component != "head"} | {"score.weight": score}
    return toy.derive(
        "head-replaced", pieces, key=seed, config={"architectures": ["LlamaForSequenceClassification"], "num_labels": classes}
    )


def embeddings_new(toy: Toy, seed: int, tokens: int | None = None) -> Toy:
    """Embedding and head drawn anew."""
    names = [n for n, p in toy.pieces.items() if p.axes[0] == "token"]
    out = toy.derive("embedding-replaced", redrawn(toy, names, seed, "tokens"), key=seed)
    return out if tokens is None else replace(out, tokens=tokens)


def taken(toy: Toy, other: Toy, operation: str, which: Callable[[str, Piece], bool]) -> Toy:
    """The tensors that `which` names taken from another model that has them under the same names."""
    out = {n: other.pieces[n] if which(n, p) and n in other.pieces else p for n, p in toy.pieces.items()}
    return toy.derive(operation, out, other)


def zeroed(toy: Toy, share: float) -> Toy:
    """The smallest `share` of every matrix's weights set to zero."""

    def prune(name: str, piece: Piece) -> Piece:
        size = np.abs(piece.values)
        return replace(piece, values=np.where(size <= np.quantile(size, share), 0, piece.values).astype(np.float32))

    inside = toy.map(prune, lambda n, p: p.is_matrix and p.place.layer >= 0)
    return toy.derive("zeroed", inside, key=share)


def sliced(toy: Toy, ranks: int, keep: int) -> Toy:
    """One rank's share of a tensor-parallel run: units, heads and tokens cut into `ranks` runs, of
    which `keep` is this one.
    """
    axes = {"unit", "head*dim", "kv*dim", "kv*value", "head*value", "token"}

    def cut(name: str, piece: Piece) -> Piece:
        axis = next(i for i, a in enumerate(piece.axes) if a in axes)
        return replace(piece, values=np.ascontiguousarray(np.split(piece.values, ranks, axis)[keep]))

    pieces = toy.map(cut, lambda n, p: p.is_matrix and bool(set(p.axes) & axes))
    return toy.derive("sliced", pieces, key=(ranks, keep), tokens=0)
