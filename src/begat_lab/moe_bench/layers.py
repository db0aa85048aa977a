"""One layer, MoGE against top-K: the router alone, the whole layer on one device, and the busiest of R simulated ranks.

Enters: a `Plan`.  Leaves: speed ratios MoGE : top-K.  The busiest simulated rank runs only the experts and rows that it would have; what
is missing is communication, which `parallel.py` has.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from begat_lab.moe_bench.clock import Ceilings, layer_floor, side_by_side
from begat_lab.moe_bench.kernels import make_layer, passing
from begat_lab.moe_bench.load import busiest_rank
from begat_lab.moe_bench.plan import Plan
from begat_lab.moe_bench.routers import ROUTERS, aim, tokens_for
from begat_lab.moge import MoGE, route
from begat_lab.moge.experts import run_experts


@dataclass(frozen=True, slots=True)
class LayerRow:
    """A ratio above 1: MoGE is faster."""

    router: str
    tokens: int
    backward: bool
    moge_over_top_k: str
    moge_over_floor: float
    top_k_over_floor: float


@dataclass(frozen=True, slots=True)
class RouterRow:
    """Softmax and choice, without the gate's product."""

    tokens: int
    moge_over_top_k: str
    moge_seconds: float
    top_k_seconds: float


@dataclass(frozen=True, slots=True)
class BusiestRow:
    """What the slowest of R ranks takes for its experts; without communication. A ratio above 1: MoGE's is faster."""

    router: str
    tokens: int
    ranks: int
    moge_rows: int
    top_k_rows: int
    moge_over_top_k: str


def measure_layers(plan: Plan, ceilings: Ceilings) -> tuple[LayerRow, ...]:
    """The whole layer, the same weights in both."""
    rows = []
    layers = _contenders(plan)
    for router in ROUTERS[:2]:
        for tokens, backward in [*((t, False) for t in plan.tokens), *((t, True) for t in plan.backward_tokens)]:
            x = tokens_for(tokens, plan.layer.hidden, plan.device, plan.torch_dtype, seed=tokens)
            for layer in layers.values():
                aim(layer, router)
            timing = side_by_side(
                {name: passing(layer, x, backward) for name, layer in layers.items()}, plan.device, plan.repeats
            )
            floors = {}
            for name, layer in layers.items():
                with torch.no_grad():
                    touched = len(layer(x)[1].expert_ids_TK.unique())
                floors[name] = layer_floor(ceilings, plan.layer, tokens, touched, x.element_size(), backward=backward)
            rows.append(LayerRow(router, tokens, backward, str(timing.speed_ratio("MoGE", "top-K")),
                                 timing.median("MoGE") / floors["MoGE"].seconds, timing.median("top-K") / floors["top-K"].seconds))  # fmt: skip
    return tuple(rows)


def _contenders(plan: Plan) -> dict[str, MoGE]:
    layers = {name: make_layer(plan, routing=name) for name in plan.layer.contenders}
    assert all(torch.equal(a, b) for a, b in zip(*(layer.parameters() for layer in layers.values()), strict=True))
    return layers


def measure_routers(plan: Plan) -> tuple[RouterRow, ...]:
    """`route` alone."""
    rows = []
    for tokens in plan.tokens:
        z_TN = torch.randn(tokens, plan.layer.experts, generator=torch.Generator().manual_seed(tokens)).to(
            plan.device, plan.torch_dtype
        )
        runs = {name: partial(route, z_TN, grouping) for name, grouping in plan.layer.contenders.items()}
        timing = side_by_side(runs, plan.device, plan.repeats)
        rows.append(RouterRow(tokens, str(timing.speed_ratio("MoGE", "top-K")), timing.median("MoGE"), timing.median("top-K")))
    return tuple(rows)


def measure_busiest(plan: Plan) -> tuple[BusiestRow, ...]:
    """The busiest rank's share of the experts' work."""
    layer, size, ranks, rows = make_layer(plan), plan.layer, max(plan.ranks), []
    for router in ROUTERS:
        aim(layer, router)
        for tokens in plan.tokens[1:]:
            x = tokens_for(tokens, size.hidden, plan.device, plan.torch_dtype, seed=tokens)
            runs: dict[str, Callable[[], object]] = {}
            counts = {}
            with torch.no_grad():
                z_TN = layer.gate(x)
            for name, grouping in size.contenders.items():
                ids_TK = route(z_TN, grouping).expert_ids_TK
                rank, held = busiest_rank(ids_TK, grouping, ranks), size.experts // ranks
                token, pick = ((ids_TK // held) == rank).nonzero(as_tuple=True)
                counts[name] = len(token)
                runs[name] = _share(layer, x, ids_TK[token, pick] - rank * held, token, rank * held, held)
            timing = side_by_side(runs, plan.device, plan.repeats)
            rows.append(
                BusiestRow(router, tokens, ranks, counts["MoGE"], counts["top-K"], str(timing.speed_ratio("MoGE", "top-K")))
            )
    return tuple(rows)


def _share(layer: MoGE, x: Tensor, ids_R: Tensor, token_R: Tensor, first: int, held: int) -> Callable[[], object]:
    experts = list(layer.experts)[first : first + held]

    def run() -> None:
        with torch.no_grad():
            run_experts(experts, x, ids_R, token_R, layer.mode)

    return run
