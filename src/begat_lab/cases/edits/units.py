"""MLP units, heads and the residual stream: reordered, rotated, rescaled, left out, split. For
Llamas and their mixtures.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from begat_lab.cases.model import Array, Piece, Toy


def _mlps(toy: Toy) -> dict[tuple[str, int, int], list[str]]:
    """MLPs (and experts) by place → names of their matrices with units."""
    out: dict[tuple[str, int, int], list[str]] = defaultdict(list)
    for name, piece in toy.pieces.items():
        if "unit" in piece.axes:
            out[piece.place.tower, piece.place.layer, piece.place.expert].append(name)
    return out


def _take(piece: Piece, axis: str, order: Array) -> Piece:
    return replace(piece, values=np.ascontiguousarray(np.take(piece.values, order, axis=piece.axes.index(axis))))


def units_changed(toy: Toy, operation: str, choose: Callable[[np.random.Generator, int], Array], seed: int) -> Toy:
    """The units of every MLP by the index that `choose` returns."""
    rng, out = np.random.default_rng(seed), dict(toy.pieces)
    count = 0
    for names in _mlps(toy).values():
        first = toy.pieces[names[0]]
        order = choose(rng, first.values.shape[first.axes.index("unit")])
        count = len(order)
        out |= {n: _take(toy.pieces[n], "unit", order) for n in names}
    sizes = {k: count for k in ("intermediate_size", "moe_intermediate_size", "d_ff") if k in toy.config}
    return toy.derive(operation, out, key=seed, config=sizes)


def units_reordered(toy: Toy, seed: int) -> Toy:
    """Every MLP's units in another order; the function stays."""
    return units_changed(toy, "units-reordered", lambda rng, n: rng.permutation(n), seed)


def units_left_out(toy: Toy, seed: int, keep: float) -> Toy:
    """A share of the units kept, in their order."""
    return units_changed(toy, "units-left-out", lambda rng, n: np.sort(rng.permutation(n)[: int(keep * n)]), seed)


def units_repeated(toy: Toy, seed: int) -> Toy:
    """Every unit twice, its writing halved: the function stays."""
    wide = units_changed(toy, "units-repeated", lambda rng, n: np.repeat(np.arange(n), 2), seed)
    halved = wide.map(lambda n, p: replace(p, values=p.values / 2), lambda n, p: p.axes[-1] == "unit")
    return replace(wide, pieces=halved)


def units_rescaled(toy: Toy, seed: int) -> Toy:
    """The up row of every unit scaled, its down column the other way."""
    rng, out = np.random.default_rng(seed), dict(toy.pieces)
    for names in _mlps(toy).values():
        up, down = (
            next(n for n in names if n.endswith(ends))
            for ends in (("up_proj.weight", "w3.weight"), ("down_proj.weight", "w2.weight"))
        )
        scale = (
            rng.choice([-1, 1], len(toy.pieces[up].values)) * np.exp(rng.standard_normal(len(toy.pieces[up].values)))
        ).astype(np.float32)
        out[up] = replace(out[up], values=out[up].values * scale[:, None])
        out[down] = replace(out[down], values=out[down].values / scale)
    return toy.derive("units-rescaled", out, key=seed)


def heads_reordered(toy: Toy, seed: int, values: bool = True) -> Toy:
    """Key-value heads with the query heads they serve, and with `values` the value dims inside
    every head.
    """
    rng, out, c = np.random.default_rng(seed), dict(toy.pieces), toy.config
    kv, size = int(c["num_key_value_heads"]), int(c["head_dim"])
    for layer in toy.layers():
        names = toy.at(toy.towers[0], layer)
        order = rng.permutation(kv)
        inside = np.stack([rng.permutation(size) if values else np.arange(size) for _ in range(kv)])
        for name in names:
            w = toy.pieces[name].values
            if name.endswith(("q_proj.weight", "k_proj.weight")):
                w = w.reshape(kv, -1, w.shape[1])[order].reshape(w.shape)
            elif name.endswith("v_proj.weight"):
                w = np.take_along_axis(w.reshape(kv, size, -1), inside[:, :, None], 1)[order].reshape(w.shape)
            elif name.endswith("o_proj.weight"):
                w = np.take_along_axis(w.reshape(len(w), kv, -1, size), inside[None, :, None], 3)[:, order].reshape(w.shape)
            else:
                continue
            out[name] = replace(toy.pieces[name], values=np.ascontiguousarray(w))
    return toy.derive("heads-reordered", out, key=(seed, values))


def turned(toy: Toy, seed: int, permute: bool = False) -> Toy:
    """The residual stream in another basis (a rotation, or a permutation of its dims); norm gains
    move into what reads behind them.
    """
    width = int(toy.config["hidden_size"])
    rng = np.random.default_rng(seed)
    q_DD = np.eye(width)[:, rng.permutation(width)] if permute else np.linalg.qr(rng.standard_normal((width, width)))[0]
    out = {}
    for name, piece in folded(toy).items():
        w = piece.values.astype(np.float64)
        if piece.axes[-1] == "residual" and piece.is_matrix:
            w = w @ q_DD
        elif piece.axes[0] == "residual" and piece.is_matrix:
            w = q_DD.T @ w
        out[name] = replace(piece, values=np.ascontiguousarray(w, dtype=np.float32))
    return toy.derive("residual-turned", out, key=(seed, permute))


def folded(toy: Toy) -> dict[str, Piece]:
    """Norm gains moved into the matrices that read behind them."""
    gains = {n: p.values for n, p in toy.pieces.items() if not p.is_matrix and p.group == "norms and biases"}
    out = dict(toy.pieces)
    for name, piece in toy.pieces.items():
        if name in gains:
            out[name] = replace(piece, values=np.ones_like(piece.values), origin=frozenset())
        elif piece.is_matrix and piece.axes[-1] == "residual" and "embed_tokens" not in name:
            out[name] = replace(piece, values=piece.values * gains[_norm_before(name)])
    return out


def _norm_before(name: str) -> str:
    if name.startswith("lm_head"):
        return "model.norm.weight"
    stem = ".".join(name.split(".")[:3])
    return f"{stem}.{'input_layernorm' if 'self_attn' in name else 'post_attention_layernorm'}.weight"


def disguised(toy: Toy, seed: int, values: bool = True, rescale: bool = False) -> Toy:
    """All of it: units, heads and the residual stream."""
    out = units_reordered(toy, seed)
    if rescale:
        out = units_rescaled(out, seed + 1)
    return turned(heads_reordered(out, seed + 2, values), seed + 3)


def units_split(toy: Toy, seed: int, big: float = 3.0) -> Toy:
    """Every unit in two, whose down columns are d/2 + r and d/2 - r: the function stays, the
    columns look like none of the parent's.
    """
    rng, wide = np.random.default_rng(seed), units_repeated(toy, seed)
    out = dict(wide.pieces)
    for name, piece in wide.pieces.items():
        if piece.axes[-1] == "unit":
            r = big * piece.values.std() * rng.standard_normal((piece.values.shape[0], piece.values.shape[1] // 2))
            out[name] = replace(
                piece, values=(piece.values + np.stack([r, -r], 2).reshape(piece.values.shape)).astype(np.float32)
            )
    return replace(wide, pieces=out)
