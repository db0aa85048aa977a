"""T2: the units of every MLP layer in another order, each layer its own."""

from __future__ import annotations

import torch

from begat_lab.disguises.base import disguise
from begat_lab.models.dense import DenseLM


@disguise("unit-permutation", "T2", "MLP units reordered")
def unit_permutation(model: DenseLM, chance: torch.Generator) -> DenseLM:
    """Rows of gate and up, columns of down."""
    with torch.no_grad():
        for block in model.model.layers:
            order_F = torch.randperm(model.config.intermediate_size, generator=chance)
            for weight_FD in (block.mlp.gate_proj.weight, block.mlp.up_proj.weight):
                weight_FD.copy_(weight_FD[order_F])
            block.mlp.down_proj.weight.copy_(block.mlp.down_proj.weight[:, order_F])
    return model
