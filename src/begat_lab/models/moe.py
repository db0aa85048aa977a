"""A Mixtral-shaped decoder: the dense decoder (`dense.py`) with its MLP replaced by experts and a router, and its folder.

Enters: a `MoeConfig` and token ids.  Leaves: logits, or `config.json` and `model.safetensors`.  Names are Mixtral's: expert E has w1
(gate), w3 (up) and w2 (down).  A token goes to the `num_experts_per_tok` experts of the largest router logits, weighted by the softmax of
these.  Every expert is computed for every token and most are weighted by zero: at the lab's sizes that is the plainest way.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from begat_lab.models.dense import Block, DenseConfig, DenseLM
from begat_lab.models.huggingface import CONFIG, WEIGHTS

# Shape suffixes as in dense.py, and E: experts.


@dataclass(frozen=True, kw_only=True, slots=True)
class MoeConfig(DenseConfig):
    """The shape of one mixture; fields carry the names of Mixtral's `config.json`."""

    num_local_experts: int  # E
    num_experts_per_tok: int  # that each token goes to


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
    """The language model. Its weights are unset: make one with `empty_mixture` and fill it."""

    config: MoeConfig

    def __init__(self, config: MoeConfig) -> None:
        super().__init__(config)
        self.model.layers = nn.ModuleList(MoeBlock(config) for _ in range(config.num_hidden_layers))


def empty_mixture(config: MoeConfig) -> MoeLM:
    """A mixture in float32 whose weights are whatever the memory held."""
    with torch.device("meta"):
        model = MoeLM(config)
    model.to_empty(device="cpu")
    return model


def save_mixture(model: MoeLM, folder: Path, dtype: torch.dtype) -> MoeLM:
    """Write a Mixtral folder, and return the model as it was stored."""
    tensors = {name: weight.to(dtype).contiguous() for name, weight in model.state_dict().items()}
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    fixed = {"architectures": ["MixtralForCausalLM"], "model_type": "mixtral", "torch_dtype": str(dtype).removeprefix("torch."),
             "hidden_act": "silu", "sliding_window": None, "router_aux_loss_coef": 0.0}  # fmt: skip
    text = json.dumps({**fixed, **asdict(model.config)}, indent=2, sort_keys=True) + "\n"
    (folder / CONFIG).write_text(text, encoding="utf-8", newline="\n")
    stored = empty_mixture(model.config)
    stored.load_state_dict(load_file(folder / WEIGHTS))
    return stored
