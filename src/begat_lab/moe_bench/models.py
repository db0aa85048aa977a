"""Whole models, MoGE against top-K: batched prefill, batched decoding with a key-value cache, a training step.

Enters: a `Plan`.  Leaves: ratios of tokens a second.  The models: `begat_lab.models.pangu_pro_moe`; both have the same random weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from begat_lab.models.pangu_generate import KVCache
from begat_lab.models.pangu_pro_moe import PanguProMoE
from begat_lab.moe_bench.clock import Ceilings, Floor, side_by_side
from begat_lab.moe_bench.plan import Plan, top_k
from begat_lab.moge import paper_balance_loss


@dataclass(frozen=True, slots=True)
class ModelRow:
    """A ratio above 1: MoGE is faster. The last column compares MoGE's two ways of running experts."""

    what: str
    batch: int
    moge_over_top_k: str
    bound: str  # what the floor is made of
    moge_over_floor: float
    top_k_over_floor: float
    moge_tokens_per_second: float
    top_k_tokens_per_second: float
    grouped_over_loop: str  # empty where the device has no grouped product


def measure_models(plan: Plan, ceilings: Ceilings) -> tuple[ModelRow, ...]:
    """Prefill and decoding for each batch size, then a training step."""
    models, rows = _models(plan), []
    for batch in plan.serve_batches:
        chance = torch.Generator().manual_seed(batch)
        ids = torch.randint(1, plan.model.vocab_size, (batch, plan.prompt), generator=chance).to(plan.device)
        for what, runs in (("prefill", {name: _prefill(model, ids) for name, model in models.items()}),
                           ("decode", {name: _decode(model, ids, plan) for name, model in models.items()})):  # fmt: skip
            rows.append(_row(what, batch, runs, plan, model_floor(models["MoGE"], plan, ceilings, what, batch)))
    models.pop("loop", None)
    chance = torch.Generator().manual_seed(7)
    window = torch.randint(1, plan.model.vocab_size, (plan.train_batch, plan.train_context + 1), generator=chance).to(plan.device)
    floor = model_floor(models["MoGE"], plan, ceilings, "training step", plan.train_batch)
    rows.append(
        _row("training step", plan.train_batch, {name: _train(model, window) for name, model in models.items()}, plan, floor)
    )
    return tuple(rows)


def model_floor(model: PanguProMoE, plan: Plan, ceilings: Ceilings, what: str, batch: int) -> Floor:
    """The least time of one run: two operations for each active weight and token, and each weight that is used read once a pass.

    Which experts a pass touches is taken as under uniform routing. Decoding also reads the cache; a training step takes three times the
    operations, reads weights twice, writes gradients, and AdamW reads four and writes three numbers a weight. Attention's own products and
    all activations are left out, so this is below what any version needs.
    """
    total, active = model.counts()
    routed = sum(weight.numel() for layer in model.model.layers for weight in layer.mlp.experts.parameters())
    grouping, c, itemsize = plan.model.grouping, plan.model, plan.torch_dtype.itemsize
    once = {"prefill": batch * plan.prompt, "decode": batch, "training step": batch * plan.train_context}[what]
    touched = 1.0 - (1.0 - grouping.picks / grouping.group_size) ** once
    weights = (total - routed + routed * touched) * itemsize
    if what == "decode":
        cached = 2 * c.num_hidden_layers * batch * c.num_key_value_heads * plan.prompt * c.head_dim * itemsize
        step = ceilings.floor(2.0 * active * once, weights + cached)
        return Floor(step.seconds * plan.new_tokens, step.bound)
    if what == "prefill":
        return ceilings.floor(2.0 * active * once, weights)
    return ceilings.floor(6.0 * active * once, 2 * weights + 8.0 * total * itemsize)


def _models(plan: Plan) -> dict[str, PanguProMoE]:
    """The contenders and, where "auto" means grouped products, MoGE with the loop."""
    models = {"MoGE": _model(plan, plan.model, "auto"), "top-K": _model(plan, top_k(plan.model), "auto")}
    if plan.device != "cpu" and plan.dtype == "bfloat16":
        models["loop"] = _model(plan, plan.model, "loop")
    return models


def _model(plan: Plan, config: Any, experts: str) -> PanguProMoE:
    torch.manual_seed(3)
    with torch.device(plan.device):
        model: PanguProMoE = PanguProMoE(config, experts=experts).to(plan.torch_dtype).eval()
        chance = torch.Generator(plan.device).manual_seed(3)
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if weight.dim() > 1 and not name.endswith("router_scale"):
                    weight.normal_(0.0, config.initializer_range, generator=chance)
    model.pack()
    return model


def _row(what: str, batch: int, runs: dict[str, Callable[[], Any]], plan: Plan, floor: Floor) -> ModelRow:
    tokens = batch * {"prefill": plan.prompt, "decode": plan.new_tokens, "training step": plan.train_context}[what]
    timing = side_by_side(runs, plan.device, plan.repeats)
    moge, top_k_seconds = timing.median("MoGE"), timing.median("top-K")
    loop = str(timing.speed_ratio("MoGE", "loop")) if "loop" in runs else ""
    return ModelRow(what, batch, str(timing.speed_ratio("MoGE", "top-K")), floor.bound, moge / floor.seconds, top_k_seconds / floor.seconds,
                    tokens / moge, tokens / top_k_seconds, loop)  # fmt: skip


def _prefill(model: PanguProMoE, ids: torch.Tensor) -> Callable[[], Any]:
    weight, (B, T) = model.model.embed_tokens.weight, ids.shape

    def run() -> None:
        with torch.no_grad():
            model(ids, cache=KVCache(model.config, B, T, weight.dtype, weight.device), last_only=True)

    return run


def _decode(model: PanguProMoE, ids: torch.Tensor, plan: Plan) -> Callable[[], Any]:
    """Greedy steps behind a prompt that is in the cache already."""
    weight = model.model.embed_tokens.weight
    cache = KVCache(model.config, len(ids), plan.prompt + plan.new_tokens, weight.dtype, weight.device)
    with torch.no_grad():
        first = model(ids, cache=cache, last_only=True).logits[:, 0].argmax(-1)

    def run() -> None:
        cache.length, last = plan.prompt, first
        with torch.no_grad():
            for _ in range(plan.new_tokens):
                last = model(last[:, None], cache=cache, last_only=True).logits[:, 0].argmax(-1)

    return run


def _train(model: PanguProMoE, window: torch.Tensor) -> Callable[[], Any]:
    """Forward, both losses, backward, AdamW. The rate is tiny, so that the router that is measured stays."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-7)

    def run() -> None:
        out = model(window[:, :-1])
        loss = F.cross_entropy(out.logits.flatten(0, 1), window[:, 1:].flatten())
        balance = torch.stack([paper_balance_loss(routing) for routing in out.routings or ()]).mean()
        optimizer.zero_grad()
        (loss + 0.01 * balance).backward()
        optimizer.step()

    return run
