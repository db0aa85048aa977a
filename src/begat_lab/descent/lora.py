"""LoRA: matrices frozen, a low-rank difference learnt beside each. Alone as a PEFT adapter folder, or merged into its base.

Enters: a base (and, to merge, an adapter made on it).  Leaves: `adapter_model.safetensors` and `adapter_config.json` as PEFT
writes them, or a plain model.  W' = W + alpha / r * B A; A starts random, B zero, so training starts from the base's function.
"""

from __future__ import annotations

import copy
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from begat import InputError
from begat_lab.descent.base import Child, Job, kind
from begat_lab.models.dense import DenseLM
from begat_lab.text import within
from begat_lab.training import train

ADAPTER, ADAPTER_CONFIG, _PREFIX = "adapter_model.safetensors", "adapter_config.json", "base_model.model."


@dataclass(frozen=True, slots=True)
class Lora:
    """Shape of the difference."""

    rank: int = 4
    alpha: float = 8.0
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise InputError("rank of a LoRA", expected="1 or more", found=self.rank)


class LoraLinear(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """A frozen matrix and its low-rank difference (R: rank)."""

    def __init__(self, base: nn.Linear, options: Lora, chance: torch.Generator) -> None:
        super().__init__()
        outputs, inputs = base.weight.shape
        self.weight_OI = base.weight.detach()
        self.scale = options.alpha / options.rank
        self.lora_A = nn.Parameter(torch.randn(options.rank, inputs, generator=chance) / inputs**0.5)
        self.lora_B = nn.Parameter(torch.zeros(outputs, options.rank))

    def forward(self, x_BTI: Tensor) -> Tensor:
        return F.linear(x_BTI, self.weight_OI) + self.scale * F.linear(F.linear(x_BTI, self.lora_A), self.lora_B)


@kind("lora", "LoRA adapter alone", seeds=("window_seed", "chance_seed"), trains=True, options=Lora, stores="adapter")
def lora(job: Job) -> Child:
    """An adapter for the parent; the child is the two together."""
    tokens_N, recipe = job.text()
    options: Lora = job.options
    base = job.parent()
    model, chance = copy.deepcopy(base).requires_grad_(False), job.generator("chance_seed")
    adapted = [name for name, module in model.named_modules() if isinstance(module, nn.Linear) and name.endswith(options.targets)]
    if not adapted:
        raise InputError(
            "the model has none of the targets of the LoRA", expected="names such as q_proj", found=", ".join(options.targets)
        )
    for name in adapted:
        parent, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(parent), leaf, LoraLinear(model.get_submodule(name), options, chance))
    train(model, within(tokens_N, base.config.vocab_size), recipe, job.generator("window_seed"), job.say, tick=job.tick)
    factors = {f"{_PREFIX}{name}.{part}.weight": getattr(model.get_submodule(name), part).detach().to(job.dtype).contiguous()
               for name in adapted for part in ("lora_A", "lora_B")}  # fmt: skip
    save_file(factors, job.folder / ADAPTER, metadata={"format": "pt"})
    _write_config(job.folder / ADAPTER_CONFIG, options, job.parents[0].name)
    return Child(merged(base, job.folder), {"adapted": len(adapted)})


@kind("lora-merged", "LoRA adapter merged into its base", parents=2, takes=("model", "adapter"))
def lora_merged(job: Job) -> Child:
    """Base first, adapter second."""
    return job.store(merged(job.parent(), job.parents[1]))


def merged(base: DenseLM, adapter: Path) -> DenseLM:
    """`base` plus the difference in the folder `adapter`."""
    config = json.loads((adapter / ADAPTER_CONFIG).read_text(encoding="utf-8"))
    factors = {name: factor.float() for name, factor in load_file(adapter / ADAPTER).items()}
    child = copy.deepcopy(base)
    weights = dict(child.named_parameters())
    with torch.no_grad():
        for name, a_RI in factors.items():
            if ".lora_A." not in name:
                continue
            b_OR = factors[name.replace("lora_A", "lora_B")]
            target = name.removeprefix(_PREFIX).replace(".lora_A", "")
            if target not in weights or weights[target].shape != (b_OR.shape[0], a_RI.shape[1]):
                raise InputError(
                    "adapter does not fit the base", file=adapter, tensor=name, fix="give the base it was trained on"
                )
            weights[target].add_(config["lora_alpha"] / config["r"] * (b_OR @ a_RI))
    return child


def _write_config(file: Path, options: Lora, base: str) -> None:
    asked = asdict(options)
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": base, "r": asked["rank"], "bias": "none",
              "lora_alpha": asked["alpha"], "target_modules": sorted(asked["targets"]), "lora_dropout": 0.0, "fan_in_fan_out": False,
              "init_lora_weights": True, "inference_mode": True, "modules_to_save": None, "use_rslora": False, "use_dora": False}  # fmt: skip
    file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8", newline="\n")
