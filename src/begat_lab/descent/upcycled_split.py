"""Upcycled by splitting: a dense model made into a mixture whose experts share out the hidden units of its MLP (LLaMA-MoE,
arXiv:2406.16554); then all weights train on.

Enters: a parent and text.  Leaves: a Mixtral folder.  Every layer draws its own random partition of its units.  A mixture weights its
experts so that the weights sum to one, where the dense MLP sums them; so each expert's output is scaled up by the number of experts,
and with all of them active and the router undecided the function is the parent's.  Copies of the whole MLP instead: `upcycled.py`.
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
class Split:
    """Of every layer."""

    experts: int = 4
    active: int = 2  # that a token goes to

    def __post_init__(self) -> None:
        if not 0 < self.active <= self.experts:
            raise InputError("active experts", expected=f"1 to {self.experts}", found=self.active)


@kind(
    "upcycled-split",
    "mixture of the parts of its MLP",
    seeds=("window_seed", "chance_seed"),
    trains=True,
    options=Split,
    stores="mixture",
)
def upcycled_split(job: Job) -> Child:
    """Split, then train."""
    tokens_N, recipe = job.text()
    model = mixture_of_parts(job.parent(), job.options, job.generator("chance_seed"))
    train(model, within(tokens_N, model.config.vocab_size), recipe, job.generator("window_seed"), job.say, tick=job.tick)
    stored = save_mixture(model, job.folder, job.dtype)
    write_tokenizer(job.folder, model.config.vocab_size)
    return Child(stored)


def mixture_of_parts(parent: DenseLM, options: Split, chance: torch.Generator) -> MoeLM:
    """The mixture before it trains on."""
    units, experts = parent.config.intermediate_size, options.experts
    if units % experts:
        raise InputError("hidden units do not divide among the experts", expected=f"a divisor of {units}", found=experts)
    shape = asdict(parent.config) | {"intermediate_size": units // experts}
    config = MoeConfig(**shape, num_local_experts=experts, num_experts_per_tok=options.active)
    child, weights = empty_mixture(config), parent.state_dict()
    parts_LEU = torch.stack(
        [torch.randperm(units, generator=chance).view(experts, -1).sort(-1).values for _ in range(config.num_hidden_layers)]
    )
    with torch.no_grad():
        for name, weight in child.named_parameters():
            layer, _, rest = name.partition(".block_sparse_moe.")
            words = rest.split(".")
            if words[-2:-1] == ["gate"]:
                weight.normal_(0.0, config.initializer_range, generator=chance)
            elif rest:
                source, mine_U = (
                    weights[f"{layer}.mlp.{_EXPERT[words[2]]}.weight"],
                    parts_LEU[int(layer.split(".")[2]), int(words[1])],
                )
                weight.copy_(source[:, mine_U] * experts if words[2] == "w2" else source[mine_U])
            else:
                weight.copy_(weights[name])
    return child
