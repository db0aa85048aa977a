"""Grouped matrix products against a loop over experts, both against the floor; first whether they are right.

Enters: a `Plan`.  Leaves: one row a number of tokens, and errors against the loop in float32.  The code measured: `begat_lab.moge.experts`.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from begat_lab.moe_bench.clock import Ceilings, layer_floor, side_by_side
from begat_lab.moe_bench.plan import Plan
from begat_lab.moe_bench.routers import aim, tokens_for
from begat_lab.moge import MoGE, grouped_matmul_fits, pack_experts


@dataclass(frozen=True, slots=True)
class ErrorRow:
    """Norm of the difference over the norm of the loop in float32, on the same (rounded) weights and input."""

    what: str
    router: str
    tokens: int
    output: float
    input_gradient: float
    weight_gradient: float  # largest over the weights of the experts


@dataclass(frozen=True, slots=True)
class KernelRow:
    """Times of the layer, router and shared expert included. Ratios above 1: grouped is faster."""

    tokens: int
    backward: bool
    grouped_over_loop: str  # speed ratio; weights side by side
    side_by_side_over_apart: str  # what `pack_experts` brings
    bound: str  # what the floor is made of
    loop_over_floor: float
    grouped_over_floor: float
    loop_seconds: float
    grouped_seconds: float


def make_layer(plan: Plan, mode: str = "auto", routing: str = "MoGE") -> MoGE:
    """A layer of the plan's size with random weights, experts side by side."""
    torch.manual_seed(1)
    size = plan.layer
    with torch.device(plan.device):
        layer = MoGE(size.hidden, size.units, size.contenders[routing], shared_units=size.shared, experts=mode)
    layer.to(plan.torch_dtype)
    aim(layer, "random")
    pack_experts(layer.experts)
    return layer


def measure_errors(plan: Plan) -> tuple[ErrorRow, ...]:
    """Both ways in the plan's dtype against the loop in float32; with an adversarial router most experts have no row."""
    layer, tokens = make_layer(plan, "loop"), min(512, max(plan.tokens))
    x = tokens_for(tokens, plan.layer.hidden, plan.device, plan.torch_dtype, seed=11)
    slope = tokens_for(tokens, plan.layer.hidden, plan.device, plan.torch_dtype, seed=12)
    modes = ("loop", "grouped") if _grouped_here(plan, x) else ("loop",)
    rows = []
    for router in ("random", "adversarial"):
        aim(layer, router)
        with torch.no_grad():
            routing = layer(x)[
                1
            ]  # one for all: a rounded router picks other experts now and then, which is no error of a product
        wanted = _pass(deepcopy(layer).float(), "loop", x.float(), slope.float(), routing)
        for mode in modes:
            got = _pass(layer, mode, x, slope, routing)
            errors = torch.stack([_error(a, b) for a, b in zip(got, wanted, strict=True)])
            rows.append(
                ErrorRow(f"{mode}, {plan.dtype}", router, tokens, float(errors[0]), float(errors[1]), float(errors[2:].max()))
            )
    return tuple(rows)


def _pass(layer: MoGE, mode: str, x: Tensor, slope: Tensor, routing: Any) -> list[Tensor]:
    layer.mode = mode
    layer.zero_grad(set_to_none=True)
    x = x.clone().requires_grad_()
    y = layer.routed(x, routing)
    y.backward(slope)
    return [y.detach(), x.grad, *(weight.grad for weight in layer.experts.parameters())]


def _error(got: Tensor, wanted: Tensor) -> Tensor:
    size = wanted.double().norm()  # of an expert without rows: 0
    return (got.double() - wanted.double()).norm() / torch.where(size > 0, size, 1.0)


def _grouped_here(plan: Plan, x: Tensor) -> bool:
    return grouped_matmul_fits(x, plan.layer.units)


def measure_kernels(plan: Plan, ceilings: Ceilings) -> tuple[KernelRow, ...]:
    """Loop, grouped products on weights side by side, and on weights apart, in turn. Nothing where the device has no grouped product."""
    packed, rows = make_layer(plan, "grouped"), []
    if not _grouped_here(plan, tokens_for(1, plan.layer.hidden, plan.device, plan.torch_dtype)):
        return ()
    apart, loop = (
        deepcopy(packed),
        deepcopy(packed),
    )  # a copied module's weights lie each for themselves, as a checkpoint is loaded
    loop.mode = "loop"
    for tokens, backward in [*((t, False) for t in plan.tokens), *((t, True) for t in plan.backward_tokens)]:
        x = tokens_for(tokens, plan.layer.hidden, plan.device, plan.torch_dtype, seed=tokens)
        layers = {"loop": loop, "grouped": packed, "apart": apart}
        timing = side_by_side({name: passing(layer, x, backward) for name, layer in layers.items()}, plan.device, plan.repeats)
        with torch.no_grad():
            touched = len(packed(x)[1].expert_ids_TK.unique())
        floor = layer_floor(ceilings, plan.layer, tokens, touched, x.element_size(), backward=backward)
        rows.append(KernelRow(
            tokens, backward, str(timing.speed_ratio("grouped", "loop")), str(timing.speed_ratio("grouped", "apart")),
            floor.bound, timing.median("loop") / floor.seconds, timing.median("grouped") / floor.seconds,
            timing.median("loop"), timing.median("grouped")))  # fmt: skip
    return tuple(rows)


def passing(layer: Any, x: Tensor, backward: bool) -> Any:
    """A forward pass without gradients, or one with its backward pass."""

    def forward() -> None:
        with torch.no_grad():
            layer(x)

    x_live = x.clone().requires_grad_()

    def both() -> None:
        layer.zero_grad(set_to_none=True)
        x_live.grad = None
        layer(x_live)[0].square().mean().backward()

    return both if backward else forward
