"""What a bench measures: sizes, repeats, seeds. Three sizes: tiny (a test), small (a CPU), published (one accelerator).

Enters: a size by name, a device, a dtype.  Leaves: a `Plan`.  Who runs it: `run.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import torch

from begat import InputError
from begat_lab.models.pangu_pro_moe import PanguProMoEConfig
from begat_lab.moge import Grouping
from begat_lab.training import Recipe

DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16}
DEVICES = ("cpu", "cuda", "npu")
PARTS = ("load", "kernels", "layers", "parallel", "models", "quality")


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerSize:
    """One mixture layer. Both contenders have these experts and this many picks a token."""

    hidden: int  # D
    units: int  # F, of one routed expert
    shared: int  # units of the shared expert
    experts: int  # N
    groups: int  # M of MoGE
    picks: int  # K of a token, over all groups

    @property
    def contenders(self) -> dict[str, Grouping]:
        """The two routings, by the names they have in every table."""
        return {
            "MoGE": Grouping(self.experts, self.groups, self.picks // self.groups),
            "top-K": Grouping(self.experts, 1, self.picks),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """Everything a bench depends on besides the machine."""

    size: str
    device: str
    dtype: str
    parts: tuple[str, ...]
    layer: LayerSize
    tokens: tuple[int, ...]  # of one pass through a layer: from a decoding step to a prefill
    backward_tokens: tuple[int, ...]  # the same, with a backward pass
    model: PanguProMoEConfig  # served and trained for speed; the MoGE one
    serve_batches: tuple[int, ...]
    prompt: int  # tokens of a prompt
    new_tokens: int  # decoded tokens of a row
    train_batch: int
    train_context: int
    repeats: int  # rounds of alternating runs
    ranks: tuple[int, ...]  # numbers of ranks; simulated in load and layers, real in parallel
    rank_layer: LayerSize  # what is spread over real ranks
    rank_tokens: int  # tokens a rank
    load_batches: int  # Monte Carlo batches
    seeds: int  # of the quality ablation
    quality: PanguProMoEConfig
    recipe: Recipe

    @property
    def torch_dtype(self) -> torch.dtype:
        """The dtype of `dtype`."""
        return DTYPES[self.dtype]


def top_k(config: PanguProMoEConfig) -> PanguProMoEConfig:
    """The same model with ordinary top-K routing."""
    return replace(config, num_groups=1)


_COMMON: dict[str, Any] = {
    "vocab_size": 256,
    "rope_theta": 10000.0,
    "initializer_range": 0.05,
    "eos_token_id": None,
    "max_position_embeddings": 4096,
}
_QUALITY = PanguProMoEConfig(**_COMMON, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, moe_intermediate_size=32,
                             shared_expert_intermediate_size=64, num_experts=16, num_groups=4, num_experts_per_tok=4,
                             router_aux_loss_coef=0.01)  # fmt: skip
_SIZES: dict[str, dict[str, Any]] = {
    "tiny": {
        "layer": LayerSize(hidden=32, units=16, shared=32, experts=16, groups=8, picks=8), "tokens": (4, 64), "backward_tokens": (16,),
        "model": PanguProMoEConfig(**_COMMON, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
                                   moe_intermediate_size=16, shared_expert_intermediate_size=32, num_experts=16, num_groups=8,
                                   num_experts_per_tok=8),
        "serve_batches": (1, 3), "prompt": 8, "new_tokens": 3, "train_batch": 2, "train_context": 16, "repeats": 3, "ranks": (2,),
        "rank_layer": LayerSize(hidden=32, units=16, shared=32, experts=16, groups=8, picks=8), "rank_tokens": 16, "load_batches": 20,
        "seeds": 2, "quality": _QUALITY, "recipe": Recipe(steps=3, batch=2, context=32, warmup=1),
    },
    "small": {
        "layer": LayerSize(hidden=512, units=128, shared=512, experts=64, groups=8, picks=8), "tokens": (8, 64, 512),
        "backward_tokens": (512,),
        "model": PanguProMoEConfig(**_COMMON, hidden_size=256, num_hidden_layers=4, num_attention_heads=8, num_key_value_heads=2,
                                   moe_intermediate_size=128, shared_expert_intermediate_size=512, num_experts=64, num_groups=8,
                                   num_experts_per_tok=8),
        "serve_batches": (1, 8, 32), "prompt": 64, "new_tokens": 16, "train_batch": 4, "train_context": 128, "repeats": 9, "ranks": (2, 4, 8),
        "rank_layer": LayerSize(hidden=256, units=128, shared=256, experts=64, groups=8, picks=8), "rank_tokens": 512, "load_batches": 200,
        "seeds": 3, "quality": _QUALITY, "recipe": Recipe(steps=400, batch=8, context=128, rate=3e-3, warmup=40),
    },
    "published": {
        "layer": LayerSize(hidden=5120, units=1344, shared=5376, experts=64, groups=8, picks=8), "tokens": (1, 16, 128, 1024, 8192),
        "backward_tokens": (1024, 8192),
        "model": PanguProMoEConfig(**_COMMON, hidden_size=2048, num_hidden_layers=8, num_attention_heads=16, num_key_value_heads=4,
                                   moe_intermediate_size=512, shared_expert_intermediate_size=2048, num_experts=64, num_groups=8,
                                   num_experts_per_tok=8),
        "serve_batches": (1, 32, 256), "prompt": 256, "new_tokens": 32, "train_batch": 8, "train_context": 512, "repeats": 9,
        "ranks": (2, 4, 8),
        "rank_layer": LayerSize(hidden=1024, units=256, shared=1024, experts=64, groups=8, picks=8), "rank_tokens": 1024, "load_batches": 200,
        "seeds": 3, "quality": _QUALITY, "recipe": Recipe(steps=400, batch=8, context=128, rate=3e-3, warmup=40),
    },
}  # fmt: skip
SIZES = tuple(_SIZES)


def plan_of(size: str, device: str = "cpu", dtype: str = "float32", parts: tuple[str, ...] = PARTS, **changed: Any) -> Plan:
    """The plan of a size; `changed` replaces fields, `steps` those of the quality ablation."""
    for value, allowed, what in ((size, SIZES, "size"), (device, DEVICES, "device"), (dtype, DTYPES, "dtype"),
                                 *((part, PARTS, "part") for part in parts)):  # fmt: skip
        if value not in allowed:
            raise InputError(what, expected=" or ".join(allowed), found=value)
    steps = changed.pop("steps", None)
    plan = replace(Plan(size=size, device=device, dtype=dtype, parts=parts, **_SIZES[size]), **changed)
    if steps is not None:
        plan = replace(plan, recipe=replace(plan.recipe, steps=steps, warmup=min(plan.recipe.warmup, steps)))
    for field in fields(plan):
        value = getattr(plan, field.name)
        if isinstance(value, int) and value < 1:
            raise InputError(field.name, expected="at least 1", found=value)
    for ranks in plan.ranks:
        for layer in (plan.layer, plan.rank_layer):
            if ranks < 1 or layer.groups % ranks:
                raise InputError("ranks do not share the groups evenly", expected=f"a divisor of {layer.groups}", found=ranks)
    return plan
