"""Experts of a mixture: left out, reordered, swapped, averaged, drawn anew, or copied from a dense
model's MLP.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from begat_lab.cases.draw import redrawn
from begat_lab.cases.edits.training import learned
from begat_lab.cases.model import Piece, Toy

_EXPERT = re.compile(r"(experts\.)\d+\.")
_COUNTS = ("num_experts", "num_local_experts", "n_routed_experts")


def chosen(toy: Toy, order: Sequence[Sequence[int]], operation: str) -> Toy:
    """The experts that `order` names for each layer, in that order, the router's rows with them."""
    out = {n: p for n, p in toy.pieces.items() if p.place.expert < 0 and "expert" not in p.axes}
    for layer, experts in zip(toy.layers(), order, strict=True):
        for name, piece in toy.at(toy.towers[0], layer).items():
            if "expert" in piece.axes:  # the router
                out[name] = replace(piece, values=np.ascontiguousarray(piece.values[list(experts)]))
            elif piece.place.expert >= 0:
                for new in (i for i, e in enumerate(experts) if e == piece.place.expert):
                    out[_EXPERT.sub(rf"\g<1>{new}.", name)] = replace(piece, place=replace(piece.place, expert=new))
    counts = {k: len(order[0]) for k in _COUNTS if k in toy.config}
    return toy.derive(operation, out, key=str(order), config=counts)


def averaged_in_pairs(toy: Toy, scale: float = 1.0) -> Toy:
    """Experts 0 and 1 into one, 2 and 3 into the next, and so on: each new one goes back to two."""
    half = {n: p for n, p in toy.pieces.items() if p.place.expert < 0 and "expert" not in p.axes}
    experts = max(p.place.expert for p in toy.pieces.values()) + 1
    for name, piece in toy.pieces.items():
        e = piece.place.expert
        if "expert" in piece.axes:
            half[name] = replace(piece, values=scale * (piece.values[0::2] + piece.values[1::2]) / 2)
        elif e >= 0 and e % 2 == 0:
            other = toy.pieces[_EXPERT.sub(rf"\g<1>{e + 1}.", name)]
            new = _EXPERT.sub(rf"\g<1>{e // 2}.", name)
            half[new] = Piece(
                ((piece.values + other.values) / 2).astype(np.float32),
                replace(piece.place, expert=e // 2),
                piece.axes,
                piece.origin | other.origin,
                piece.group,
            )
    counts = {k: experts // 2 for k in _COUNTS if k in toy.config}
    return toy.derive("experts-averaged", half, config=counts)


def drawn_anew(toy: Toy, experts: Sequence[int], seed: int) -> Toy:
    """Some experts of every layer replaced by fresh ones; the router stays."""
    names = [n for n, p in toy.pieces.items() if p.place.expert in experts]
    return toy.derive("experts-replaced", redrawn(toy, names, seed, "experts"), key=(tuple(experts), seed))


def upcycled(dense: Toy, seed: int, experts: int = 4, share: float = 0.1) -> Toy:
    """A Mixtral whose experts are trained-on copies of a Llama's MLPs."""
    rng, names = np.random.default_rng(seed), {"gate_proj": "w1", "up_proj": "w3", "down_proj": "w2"}
    out: dict[str, Piece] = {}
    for name, piece in dense.pieces.items():
        if ".mlp." not in name:
            out[name] = piece
            continue
        stem, which = name.removesuffix(".weight").rsplit(".", 1)
        for e in range(experts):
            values = piece.values + share * piece.values.std() * learned(rng, piece.values.shape)
            out[f"{stem.replace('.mlp', '.block_sparse_moe')}.experts.{e}.{names[which]}.weight"] = Piece(
                values.astype(np.float32), replace(piece.place, expert=e), piece.axes, piece.origin, "experts"
            )
    for layer in dense.layers():
        place = replace(next(iter(dense.at(dense.towers[0], layer).values())).place, expert=-1)
        name = f"model.layers.{layer}.block_sparse_moe.gate.weight"
        router = (0.04 * rng.standard_normal((experts, int(dense.config["hidden_size"])))).astype(np.float32)
        out[name] = Piece(router, place, ("expert", "residual"), frozenset({f"router:{seed}:{layer}"}), "experts")
    config = {
        "model_type": "mixtral",
        "architectures": ["MixtralForCausalLM"],
        "num_local_experts": experts,
        "num_experts_per_tok": 2,
    }
    return dense.derive("upcycled", out, key=(seed, experts, share), config=config)
