"""Runs the parts of a plan, one after the other.

Enters: a `Plan`.  Leaves: a `Report`.  The command: `begat-lab bench-moe`.
"""

from __future__ import annotations

import datetime
import platform
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

import begat
from begat_lab.device import open_device
from begat_lab.moe_bench.clock import Ceilings, cores, measure_ceilings
from begat_lab.moe_bench.kernels import measure_errors, measure_kernels
from begat_lab.moe_bench.layers import measure_busiest, measure_layers, measure_routers
from begat_lab.moe_bench.load import measure_load
from begat_lab.moe_bench.models import measure_models
from begat_lab.moe_bench.parallel import measure_parallel
from begat_lab.moe_bench.plan import Plan
from begat_lab.moe_bench.quality import measure_quality
from begat_lab.moe_bench.report import Report, tables_of
from begat_lab.moe_bench.routers import ABOUT
from begat_lab.training import Say, silent


def run_bench(plan: Plan, command: str, say: Say = silent, keep: Callable[[Report], None] | None = None) -> Report:
    """Measure every part of the plan; `keep` gets the report so far after each.

    A part that torch cannot run here (no memory, no such kernel) leaves a note that begins with "Failed", and the others go on.
    """
    open_device(plan.device)
    ceilings = measure_ceilings(plan.device, plan.torch_dtype)
    say(f"ceilings: {ceilings.flops_per_second / 1e12:.3g} TFLOP/s, {ceilings.bytes_per_second / 1e9:.3g} GB/s")
    results: dict[str, Sequence[Any]] = {}
    notes = [
        ABOUT,
        "A ratio is the median over rounds of alternating runs, with its quartiles; above 1 the side named first is faster.",
    ]
    for part in plan.parts:
        say(f"measuring {part}")
        try:
            notes += _run_part(part, plan, ceilings, results, say)
        except RuntimeError as err:
            last = traceback.extract_tb(err.__traceback__)[-1]
            notes.append(
                f"Failed: {part}: {type(err).__name__}: {str(err).splitlines()[0]} ({Path(last.filename).name}, line {last.lineno})"
            )
            say(notes[-1])
        if plan.device != "cpu":
            getattr(torch, plan.device).empty_cache()
        if keep:
            keep(Report(_machine(plan, ceilings, command), tables_of(results), tuple(notes)))
    return Report(_machine(plan, ceilings, command), tables_of(results), tuple(notes))


def _run_part(part: str, plan: Plan, ceilings: Ceilings, results: dict[str, Sequence[Any]], say: Say) -> list[str]:
    """Put the tables of one part into `results`; its notes."""
    if part == "load":
        results["load"] = measure_load(plan)
    elif part == "kernels":
        results["errors"] = measure_errors(plan)
        results["kernels"] = measure_kernels(plan, ceilings)
    elif part == "layers":
        results["routers"] = measure_routers(plan)
        results["layers"] = measure_layers(plan, ceilings)
        results["busiest"] = measure_busiest(plan)
    elif part == "parallel":
        results["parallel"] = measure_parallel(plan)
    elif part == "models":
        results["models"] = measure_models(plan, ceilings)
    else:
        quality, small = measure_quality(plan, say), plan.quality
        results["quality"] = quality.rows
        return [f"Quality: MoGE minus top-K {quality.difference:+.4f} nats per byte, standard error {quality.standard_error:.4f} over "
                f"{plan.seeds} seeds, {plan.recipe.steps} steps of {plan.recipe.batch} windows of {plan.recipe.context} bytes each; "
                f"{small.num_hidden_layers} layers, hidden {small.hidden_size}, {small.num_experts} experts of {small.moe_intermediate_size} in "
                f"{small.num_groups} groups, {small.num_experts_per_tok} picks, the paper's auxiliary loss times {small.router_aux_loss_coef} in both; "
                f"text: {quality.text}, sha256 {quality.text_sha256[:16]}."]  # fmt: skip
    return []


def _machine(plan: Plan, ceilings: Ceilings, command: str) -> dict[str, Any]:
    device = (
        f"{platform.machine()}, {cores()} cores" if plan.device == "cpu" else str(getattr(torch, plan.device).get_device_name())
    )
    size = plan.layer
    return {
        "date": datetime.date.today().isoformat(),
        "command": command,
        "device": device,
        "versions": f"begat {begat.__version__}, torch {torch.__version__}, Python {platform.python_version()}",
        "threads": torch.get_num_threads(),
        "dtype": plan.dtype,
        "layer": f"{size.experts} experts of {size.units} units in {size.groups} groups, hidden {size.hidden}, {size.picks} picks a token",
        "model": f"{plan.model.num_hidden_layers} layers, hidden {plan.model.hidden_size}, {plan.model.num_experts} experts of "
                 f"{plan.model.moe_intermediate_size}",
        "rounds": plan.repeats,
        "measured matrix product": f"{ceilings.flops_per_second / 1e12:.4g} TFLOP/s",
        "measured copy": f"{ceilings.bytes_per_second / 1e9:.4g} GB/s, read and written",
    }  # fmt: skip
