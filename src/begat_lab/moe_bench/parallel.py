"""The layer over real ranks: tokens a second of MoGE against top-K, and the rows that each rank had.

Enters: a `Plan`.  Leaves: one row for each number of ranks, router and pass.  Ranks are processes of this machine: gloo on a CPU, nccl with
one rank a card on GPUs. The layer: `begat_lab.moge.parallel`; one process: `layers.py`.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.distributed as dist

from begat import InputError
from begat_lab.moe_bench.clock import Timing, cores, synchronise
from begat_lab.moe_bench.plan import Plan
from begat_lab.moe_bench.routers import ROUTERS, aim, tokens_for
from begat_lab.moge import MoGE, pack_experts
from begat_lab.moge.parallel import BACKENDS, ExpertParallel, sum_gradients

# The four ways to run the same experts. Top-K has no static sizes, so "ragged" is the only one that fits it.
CONTENDERS = {"MoGE, all-gather": ("MoGE", "all-gather"), "MoGE, all-to-all": ("MoGE", "all-to-all"),
              "MoGE, ragged": ("MoGE", "ragged"), "top-K, ragged": ("top-K", "ragged")}  # fmt: skip
CONTROL = "top-K, ragged"


@dataclass(frozen=True, slots=True)
class ParallelRow:
    """Speed ratios against top-K (ragged all-to-all); above 1: MoGE is faster."""

    ranks: int
    router: str
    backward: bool
    all_gather_over_top_k: str
    all_to_all_over_top_k: str
    ragged_over_top_k: str
    moge_max_over_mean: float
    top_k_max_over_mean: float
    error: float  # largest difference between MoGE's dispatches and one process, over the largest value


def measure_parallel(plan: Plan) -> tuple[ParallelRow, ...]:
    """Start ranks and time; numbers of ranks that the machine has no device for are left out."""
    rows: list[ParallelRow] = []
    for ranks in plan.ranks if plan.device == "cpu" else sorted({min(r, _devices(plan)) for r in plan.ranks}):
        with tempfile.TemporaryDirectory() as folder:
            context = torch.multiprocessing.start_processes(
                _rank, (ranks, plan, folder), nprocs=ranks, join=False, start_method="spawn"
            )
            while not context.join():
                pass
            rows += torch.load(Path(folder) / "rows.pt", weights_only=False)
    return tuple(rows)


def _devices(plan: Plan) -> int:
    return int(getattr(torch, plan.device).device_count())


def _rank(rank: int, ranks: int, plan: Plan, folder: str) -> None:
    """One rank, in a process of its own."""
    if plan.device == "cpu":
        torch.set_num_threads(max(1, cores() // ranks))
    else:
        if plan.device == "npu":
            __import__("torch_npu")
        getattr(torch, plan.device).set_device(rank)
    dist.init_process_group(BACKENDS[plan.device], init_method=f"file://{folder}/join", rank=rank, world_size=ranks)
    try:
        rows = [_measure(plan, router, backward) for router in ROUTERS for backward in (False, True)]
        if rank == 0:
            torch.save(rows, Path(folder) / "rows.pt")
    finally:
        dist.destroy_process_group()


def _whole(plan: Plan, routing: str, router: str) -> MoGE:
    size = plan.rank_layer
    torch.manual_seed(1)
    layer: MoGE = MoGE(size.hidden, size.units, size.contenders[routing], shared_units=size.shared).to(
        plan.device, plan.torch_dtype
    )
    aim(layer, router)
    pack_experts(layer.experts)
    return layer


def _measure(plan: Plan, router: str, backward: bool) -> ParallelRow:
    rank, ranks, size = dist.get_rank(), dist.get_world_size(), plan.rank_layer
    x = tokens_for(plan.rank_tokens, size.hidden, plan.device, plan.torch_dtype, seed=100 + rank)
    with torch.no_grad():
        wanted = _whole(plan, "MoGE", router)(x)[0].double()
    runs: dict[str, Callable[[], Any]] = {}
    spread, error = {}, 0.0
    for name, (routing, dispatch) in CONTENDERS.items():
        part = ExpertParallel(_whole(plan, routing, router), dispatch=dispatch)
        with torch.no_grad():
            y = part(x)[0]
        if routing == "MoGE":
            error = max(error, float((y.double() - wanted).abs().max() / wanted.abs().max()))
        rows_R = torch.zeros(ranks, dtype=torch.float64, device=plan.device)
        rows_R[rank] = part.rows
        dist.all_reduce(rows_R)
        spread[name] = float(rows_R.max() / rows_R.mean())
        runs[name] = _passing(part, x, backward)
    timing = _in_step(runs, plan)
    grouped = [value for name, value in spread.items() if name != CONTROL]
    if max(grouped) > 1.0:
        raise InputError("ranks with unequal rows under MoGE", expected="max/mean 1", found=max(grouped))
    gather, exchange, ragged = (str(timing.speed_ratio(name, CONTROL)) for name in CONTENDERS if name != CONTROL)
    return ParallelRow(ranks, router, backward, gather, exchange, ragged, max(grouped), spread[CONTROL], error)


def _passing(part: ExpertParallel, x: torch.Tensor, backward: bool) -> Callable[[], Any]:
    live = x.clone().requires_grad_()

    def forward() -> None:
        with torch.no_grad():
            part(x)

    def both() -> None:
        part.zero_grad(set_to_none=True)
        live.grad = None
        part(live)[0].square().mean().backward()
        sum_gradients(part)

    return both if backward else forward


def _in_step(runs: dict[str, Callable[[], Any]], plan: Plan) -> Timing:
    """As `clock.side_by_side`, with all ranks starting each run together; a run lasts until the last rank is through."""
    times = {name: _often(run, plan) for name, run in runs.items()}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(plan.repeats):
        for name in list(runs) if turn % 2 else list(runs)[::-1]:
            seconds[name].append(_together(runs[name], plan, times[name]))
    return Timing({name: tuple(values) for name, values in seconds.items()})


def _often(run: Callable[[], Any], plan: Plan) -> int:
    run()
    once = torch.tensor([median(_together(run, plan, 1) for _ in range(3))], dtype=torch.float64, device=plan.device)
    dist.all_reduce(once, dist.ReduceOp.MAX)  # the same number of times on every rank
    return max(1, min(200, round(0.02 / float(once))))


def _together(run: Callable[[], Any], plan: Plan, times: int) -> float:
    dist.barrier()
    synchronise(plan.device)
    began = time.perf_counter()
    for _ in range(times):
        run()
    synchronise(plan.device)
    dist.barrier()
    return (time.perf_counter() - began) / times
