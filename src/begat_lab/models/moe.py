"""A Mixtral-shaped decoder: the dense decoder (`dense.py`) with its MLP replaced by experts and a router; loss and `config.json`.

Enters: a `MoeConfig` and token ids.  Leaves: logits.  Names are Mixtral's: expert E has w1 (gate), w3 (up) and w2 (down).  A token
goes to the `num_experts_per_tok` experts of the largest router logits, weighted by the softmax of these.  Every expert is computed for
every token and most are weighted by zero: at the lab's sizes that is the plainest way.  Files and folders: `huggingface.py`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from begat import InputError
from begat_lab.models.architecture import ARCHITECTURES, Architecture
from begat_lab.models.dense import Block, DenseConfig, DenseLM, decoder_fields, initialise
from begat_lab.models.huggingface import load_folder, pack, save_folder
from begat_lab.training import Loss, next_token_loss

# Shape suffixes as in dense.py, and E: experts, N: positions of all windows, K: experts of a token.


@dataclass(frozen=True, kw_only=True, slots=True)
class MoeConfig(DenseConfig):
    """The shape of one mixture; fields carry the names of Mixtral's `config.json`."""

    num_local_experts: int  # E
    num_experts_per_tok: int  # that each token goes to
    router_aux_loss_coef: float = 0.0  # of the load balance in the training loss; 0 for mixtures that are copies

    def __post_init__(self) -> None:
        if not 0 < self.num_experts_per_tok <= self.num_local_experts:
            raise InputError("num_experts_per_tok", expected=f"1 to {self.num_local_experts}", found=self.num_experts_per_tok)


class Expert(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """SwiGLU, as the dense MLP."""

    def __init__(self, config: MoeConfig) -> None:
        super().__init__()
        self.w1 = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)  # gate
        self.w2 = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)  # down
        self.w3 = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)  # up

    def forward(self, x_BTD: Tensor) -> Tensor:
        return self.w2(F.silu(self.w1(x_BTD)) * self.w3(x_BTD))


class Mixture(nn.Module):  # type: ignore[misc]
    """Router and experts."""

    def __init__(self, config: MoeConfig) -> None:
        super().__init__()
        self.active = config.num_experts_per_tok
        self.gate = nn.Linear(config.hidden_size, config.num_local_experts, bias=False)
        self.experts = nn.ModuleList(Expert(config) for _ in range(config.num_local_experts))

    def forward(self, x_BTD: Tensor) -> Tensor:
        top = self.gate(x_BTD).topk(self.active, dim=-1)
        share_BTE = torch.zeros(*x_BTD.shape[:2], len(self.experts), dtype=x_BTD.dtype)
        share_BTE = share_BTE.scatter(-1, top.indices, top.values.softmax(-1))
        y_BTDE = torch.stack([expert(x_BTD) for expert in self.experts], -1)
        return (y_BTDE * share_BTE[:, :, None]).sum(-1)


class MoeBlock(Block):
    """One layer: attention, then the mixture."""

    def __init__(self, config: MoeConfig) -> None:
        super().__init__(config)
        del self.mlp
        self.block_sparse_moe = Mixture(config)

    def forward(self, x_BTD: Tensor, cos_TR: Tensor, sin_TR: Tensor) -> Tensor:
        x_BTD = x_BTD + self.self_attn(self.input_layernorm(x_BTD), cos_TR, sin_TR)
        return x_BTD + self.block_sparse_moe(self.post_attention_layernorm(x_BTD))


class MoeLM(DenseLM):
    """The language model. Its weights are unset: draw them (`MOE.new`), or fill an `empty_mixture`."""

    config: MoeConfig

    def __init__(self, config: MoeConfig) -> None:
        super().__init__(config)
        self.model.layers = nn.ModuleList(MoeBlock(config) for _ in range(config.num_hidden_layers))


# --- loss -----------------------------------------------------------------------------------------------------


def balanced_loss(generator: torch.Generator) -> Loss:
    """Next-token loss plus `router_aux_loss_coef` times the load balance over all layers."""

    def loss(model: nn.Module, window_BT: Tensor) -> Tensor:
        config: MoeConfig = model.config
        routed: list[Tensor] = []
        gates = [layer.block_sparse_moe.gate for layer in model.model.layers]
        hooks = [gate.register_forward_hook(lambda _module, _inputs, logits_BTE: routed.append(logits_BTE)) for gate in gates]
        try:
            plain = next_token_loss(model, window_BT)
        finally:
            for hook in hooks:
                hook.remove()
        logits_NE = torch.cat([logits_BTE.flatten(0, 1) for logits_BTE in routed])
        return plain + config.router_aux_loss_coef * load_balance(logits_NE, config.num_experts_per_tok)

    return loss


def load_balance(logits_NE: Tensor, active: int) -> Tensor:
    """E * sum over experts of (tokens sent there / tokens) * (mean probability); `active` when all are used alike (arXiv:2101.03961)."""
    chosen_NK = logits_NE.topk(active, dim=-1).indices
    sent_E = F.one_hot(chosen_NK, logits_NE.shape[1]).sum(1).float().mean(0)
    return logits_NE.shape[1] * (sent_E * logits_NE.softmax(-1).mean(0)).sum()


# --- config.json ----------------------------------------------------------------------------------------------


def write_config(config: MoeConfig, dtype: torch.dtype) -> dict[str, Any]:
    """The fields of `config` and what transformers needs to call it a Mixtral."""
    fixed = {"architectures": ["MixtralForCausalLM"], "model_type": "mixtral", "torch_dtype": str(dtype).removeprefix("torch."),
             "hidden_act": "silu", "sliding_window": None}  # fmt: skip
    return {**fixed, **asdict(config)}


def read_config(raw: dict[str, Any], where: Path) -> MoeConfig:
    """The `MoeConfig` that a Hugging Face `config.json` describes."""
    if raw.get("sliding_window") is not None:
        raise ValueError(f"{where}: sliding_window is {raw['sliding_window']!r}, the lab's mixture sees the whole window")
    return MoeConfig(
        **decoder_fields(raw, where),
        num_local_experts=int(raw["num_local_experts"]),
        num_experts_per_tok=int(raw["num_experts_per_tok"]),
        router_aux_loss_coef=float(raw.get("router_aux_loss_coef", 0.0)),
    )


MOE = Architecture(
    title="Mixtral-shaped decoder",
    config=MoeConfig,
    model=MoeLM,
    initialise=initialise,
    model_type="mixtral",
    write_config=write_config,
    read_config=read_config,
    matrices=r".*(_proj|\.w[123])\.weight",
    loss=balanced_loss,
)
ARCHITECTURES.add("moe")(MOE)


# --- for mixtures made of copies (`descent/upcycled.py`) ------------------------------------------------------


def empty_mixture(config: MoeConfig) -> MoeLM:
    """A mixture whose weights are unset."""
    model: MoeLM = MOE.empty(config)
    return model


def save_mixture(model: MoeLM, folder: Path, dtype: torch.dtype) -> MoeLM:
    """Write a Mixtral folder, and return the model as it was stored."""
    save_folder(pack(model, dtype), folder)
    stored: MoeLM = load_folder(folder).model
    return stored
