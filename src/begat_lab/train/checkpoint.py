"""Checkpoints of a run (torch.distributed.checkpoint): written whole or not at all, resumed bit for bit.

Enters: model, optimiser, generator and step of every rank.  Leaves: `checkpoints/step-000100/`, each rank's weights once, under names
that do not depend on the number of ranks.  Who decides when: `loop.py`.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import nn

MOMENTS = ("step", "exp_avg", "exp_avg_sq")


def start_moments(optimizer: torch.optim.AdamW) -> None:
    """Give every weight its optimiser state now, not at the first step, so that there is something to load into."""
    for group in optimizer.param_groups:
        for weight in group["params"]:
            optimizer.state[weight] = {"step": torch.zeros((), dtype=torch.float32, device=weight.device),
                                       "exp_avg": torch.zeros_like(weight), "exp_avg_sq": torch.zeros_like(weight)}  # fmt: skip


def state_of(model: nn.Module, optimizer: torch.optim.AdamW, generator: torch.Generator, step: int) -> dict[str, Any]:
    """All that decides how a run goes on. Tensors are the live ones, so that loading fills them in place."""
    state: dict[str, Any] = {"done": torch.tensor(step), "generator": generator.get_state()}
    for name, weight in model.named_parameters():
        state[f"weight.{name}"] = weight.detach()
        state.update({f"{moment}.{name}": optimizer.state[weight][moment] for moment in MOMENTS})
    return state


def save(folder: Path, state: dict[str, Any], keep: int) -> None:
    """Write `state`; the folder gets its name when all ranks are through, and older ones beyond `keep` go."""
    step = int(state["done"])
    unfinished, finished = folder / f"unfinished-{step:06}", folder / f"step-{step:06}"
    if dist.get_rank() == 0:
        for left in (unfinished, finished):
            shutil.rmtree(left, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
    dist.barrier()
    dcp.save(state, checkpoint_id=str(unfinished))
    dist.barrier()
    if dist.get_rank() == 0:
        unfinished.rename(finished)
        for old in steps(folder)[: -max(keep, 1)]:
            shutil.rmtree(folder / f"step-{old:06}")
    dist.barrier()


def load_newest(folder: Path, state: dict[str, Any]) -> int | None:
    """Fill `state` from the newest whole checkpoint; its number of steps, or None if there is none."""
    there = steps(folder)
    if not there:
        return None
    with torch.no_grad():
        dcp.load(state, checkpoint_id=str(folder / f"step-{there[-1]:06}"))
    return there[-1]


def steps(folder: Path) -> list[int]:
    """Steps of the whole checkpoints in `folder`, rising."""
    return sorted(int(path.name.removeprefix("step-")) for path in folder.glob("step-*"))
