"""Upcycled: a dense model made into a mixture (arXiv:2212.05055): every expert is a noisy copy of the layer's MLP, the router is new;
then all weights train on. There is no loss that balances the experts: the runs are short.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch

from begat import InputError
from begat_lab.descent.base import Child, Job, kind
from begat_lab.models.dense import DenseLM
from begat_lab.models.moe import MoeConfig, MoeLM, empty_mixture, save_mixture
from begat_lab.text import within
from begat_lab.tokenizer import write_tokenizer
from begat_lab.training import train

_EXPERT = {"w1": "gate_proj", "w2": "down_proj", "w3": "up_proj"}


@dataclass(frozen=True, slots=True)
class Experts:
    """Of every layer."""

    experts: int = 4
    active: int = 2  # that a token goes to
    noise: float = 0.1  # on each copy, over the spread of its matrix

    def __post_init__(self) -> None:
        if not 0 < self.active <= self.experts:
            raise InputError("active experts", expected=f"1 to {self.experts}", found=self.active)


@kind(
    "upcycled",
    "mixture of copies of its MLP",
    seeds=("window_seed", "chance_seed"),
    trains=True,
    options=Experts,
    stores="mixture",
)
def upcycled(job: Job) -> Child:
    """Copy, then train."""
    tokens_N, recipe = job.text()
    model = mixture_of(job.parent(), job.options, job.generator("chance_seed"))
    train(model, within(tokens_N, model.config.vocab_size), recipe, job.generator("window_seed"), job.say, tick=job.tick)
    stored = save_mixture(model, job.folder, job.dtype)
    write_tokenizer(job.folder, model.config.vocab_size)
    return Child(stored)


def mixture_of(parent: DenseLM, options: Experts, chance: torch.Generator) -> MoeLM:
    """The mixture before it trains on; without noise it computes what its parent does."""
    config = MoeConfig(**asdict(parent.config), num_local_experts=options.experts, num_experts_per_tok=options.active)
    child, weights = empty_mixture(config), parent.state_dict()
    with torch.no_grad():
        for name, weight in child.named_parameters():
            layer, _, rest = name.partition(".block_sparse_moe.")
            part = rest.split(".")[-2] if rest else ""
            if part == "gate":
                weight.normal_(0.0, config.initializer_range, generator=chance)
            elif rest:
                source = weights[f"{layer}.mlp.{_EXPERT[part]}.weight"]
                weight.copy_(source + options.noise * source.std() * torch.randn(source.shape, generator=chance))
            else:
                weight.copy_(weights[name])
    return child
