"""What a disguise is, and what several of them need: an untied head, and which matrices read from and write to the residual stream."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from begat.registry import Registry
from begat_lab.models.dense import Block, DenseLM, empty_model

# Shape suffixes as in models/dense.py.

Change = Callable[[DenseLM, torch.Generator], DenseLM]


@dataclass(frozen=True, slots=True)
class Disguise:
    """One disguise: its letter in statistics.md, a title, and the function, which may change its argument and returns the result."""

    name: str
    letter: str
    title: str
    apply: Change


DISGUISES: Registry[Disguise] = Registry("disguise")


def disguise(name: str, letter: str, title: str) -> Callable[[Change], Change]:
    """Decorator: register the function under `name`."""

    def put(apply: Change) -> Change:
        DISGUISES.add(name)(Disguise(name, letter, title, apply))
        return apply

    return put


def untied(model: DenseLM) -> DenseLM:
    """The same function with a head of its own; `model` itself when it has one."""
    if not model.config.tie_word_embeddings:
        return model
    weights = model.state_dict()
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"].clone()
    other = empty_model(replace(model.config, tie_word_embeddings=False))
    other.to(model.model.norm.weight.dtype)
    other.load_state_dict(weights)
    return other


def readers(block: Block) -> tuple[tuple[Tensor, list[Tensor]], ...]:
    """(norm gain_D, matrices_OD that read what it normed), twice a layer."""
    attention, mlp = block.self_attn, block.mlp
    return (
        (block.input_layernorm.weight, [attention.q_proj.weight, attention.k_proj.weight, attention.v_proj.weight]),
        (block.post_attention_layernorm.weight, [mlp.gate_proj.weight, mlp.up_proj.weight]),
    )


def writers(block: Block) -> tuple[Tensor, Tensor]:
    """Matrices_DI that add to the residual stream."""
    return block.self_attn.o_proj.weight, block.mlp.down_proj.weight


def tables(model: DenseLM) -> list[Tensor]:
    """Embedding_VD and, where it is not tied, head_VD."""
    head = [] if model.config.tie_word_embeddings else [model.lm_head.weight]
    return [model.model.embed_tokens.weight, *head]


def orthogonal(size: int, chance: torch.Generator) -> Tensor:
    """A uniformly random rotation or reflection, in float64."""
    q, r = torch.linalg.qr(torch.randn(size, size, generator=chance, dtype=torch.float64))
    return q * r.diagonal().sign()


def scales(size: int, chance: torch.Generator) -> Tensor:
    """Random factors from a half to two, even in the logarithm, in float64."""
    return 2 ** (2 * torch.rand(size, generator=chance, dtype=torch.float64) - 1)
