"""Upcycled into grouped experts: a dense model made into a Mixture of Grouped Experts, Pangu Pro MoE's network (arXiv:2505.21411).

Every routed expert and the shared one are noisy copies of the layer's MLP; router and router scales are new, attention biases are zero;
then all weights train on, with the paper's balance loss. Whether the disputed model was made so is what begat is asked about. Copies
behind an ordinary router: `upcycled.py`; slices instead of copies: `upcycled_split.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from begat import InputError
from begat_lab.descent.base import Child, Job, kind
from begat_lab.models.architecture import LanguageModel
from begat_lab.models.moge import MOGE
from begat_lab.models.pangu_pro_moe import PanguProMoEConfig
from begat_lab.moge import Grouping


@dataclass(frozen=True, slots=True)
class GroupedExperts:
    """Of every layer."""

    experts: int = 8
    groups: int = 4
    active: int = 4  # that a token goes to, in all groups together
    shared: bool = True  # a shared expert besides
    noise: float = 0.1  # on each copy, over the spread of its matrix
    balance: float = 0.01  # coefficient of the balance loss

    def __post_init__(self) -> None:
        if self.groups < 1 or self.active % self.groups:
            raise InputError("active experts", expected=f"a multiple of {self.groups}", found=self.active)
        Grouping(self.experts, self.groups, self.active // self.groups)


@kind(
    "upcycled-moge",
    "mixture of grouped experts, copies of its MLP",
    seeds=("window_seed", "chance_seed"),
    trains=True,
    options=GroupedExperts,
    stores="mixture",
)
def upcycled_moge(job: Job) -> Child:
    """Copy, then train."""
    model = grouped_mixture_of(job.parent(), job.options, job.generator("chance_seed"))
    job.train(model)
    return job.store(model)


def grouped_mixture_of(parent: LanguageModel, options: GroupedExperts, chance: torch.Generator) -> Any:
    """The mixture before it trains on. Without noise, and while the router is even, it computes what its parent does."""
    child = MOGE.empty(_config(parent.config, options))
    weights, used = parent.state_dict(), {"lm_head.weight"}
    with torch.no_grad():
        for name, weight in child.named_parameters():
            source = _source(name)
            if name.endswith("mlp.gate.weight"):
                weight.normal_(0.0, child.config.initializer_range, generator=chance)
            elif name.endswith("router_scale"):  # an even router gives each of K picks 1/N
                weight.fill_(options.experts / options.active * (0.5 if options.shared else 1.0))
            elif name.endswith("_proj.bias") and name not in weights:
                weight.zero_()
            elif source == name:
                weight.copy_(weights[name])
            else:
                weight.copy_(_noisy(weights[source], options.noise, chance))
                if "shared_expert.down_proj" in name:  # the shared expert gives one half, the routed ones the other
                    weight.mul_(0.5)
            used.add(source)
    left = sorted(weights.keys() - used)
    if left:
        raise InputError("the parent has a tensor that this network has no place for", tensor=left[0],
                         expected="a Llama-shaped model", fix="give a dense parent")  # fmt: skip
    return child


def _config(dense: Any, options: GroupedExperts) -> PanguProMoEConfig:
    return PanguProMoEConfig(
        **{key: getattr(dense, key) for key in ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
           "head_dim", "rope_theta", "rms_norm_eps", "tie_word_embeddings", "initializer_range", "max_position_embeddings")},
        moe_intermediate_size=dense.intermediate_size,
        shared_expert_intermediate_size=dense.intermediate_size if options.shared else 0,
        num_experts=options.experts,
        num_experts_per_tok=options.active,
        num_groups=options.groups,
        router_aux_loss_coef=options.balance,
    )  # fmt: skip


def _source(name: str) -> str:
    """The parent's tensor that a weight of the mixture comes from."""
    layer, expert, rest = name.partition(".mlp.shared_expert.")
    if not expert:
        layer, expert, rest = name.partition(".mlp.experts.")
        rest = rest.partition(".")[2]
    return f"{layer}.mlp.{rest}" if expert else name


def _noisy(weight: Tensor, noise: float, chance: torch.Generator) -> Tensor:
    return weight + noise * weight.std() * torch.randn(weight.shape, generator=chance)
