"""Width pruning: the weakest MLP units of every layer leave; those that stay keep their order.

A unit's strength: the product of the norms of its gate row, up row and down column, each of which it passes through.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from begat import InputError
from begat_lab.descent.base import Child, Job, kind
from begat_lab.models.dense import empty_model


@dataclass(frozen=True, slots=True)
class Width:
    """How many."""

    units: int  # of each MLP layer that stay


@kind("prune-width", "weakest MLP units left out", options=Width)
def prune_width(job: Job) -> Child:
    """Layer by layer."""
    parent, keep = job.parent(), job.options.units
    if not 0 < keep < parent.config.intermediate_size:
        raise InputError("MLP units to keep", expected=f"1 to {parent.config.intermediate_size - 1}", found=keep)
    child = empty_model(replace(parent.config, intermediate_size=keep))
    weights = parent.state_dict()
    kept: list[list[int]] = []
    with torch.no_grad():
        for layer in range(parent.config.num_hidden_layers):
            stem = f"model.layers.{layer}.mlp."
            gate_FD, up_FD, down_DF = (weights[f"{stem}{name}_proj.weight"] for name in ("gate", "up", "down"))
            strength_F = gate_FD.norm(dim=1) * up_FD.norm(dim=1) * down_DF.norm(dim=0)
            stay = strength_F.argsort(descending=True, stable=True)[:keep].sort().values
            weights |= {f"{stem}gate_proj.weight": gate_FD[stay], f"{stem}up_proj.weight": up_FD[stay]}
            weights[f"{stem}down_proj.weight"] = down_DF[:, stay]
            kept.append(stay.tolist())
        child.load_state_dict(weights)
    return job.store(child, units_kept=kept)
