"""T1: the dims of the residual stream in another order, one order for the whole model."""

from __future__ import annotations

import torch

from begat_lab.disguises.base import disguise, readers, tables, writers
from begat_lab.models.dense import DenseLM


@disguise("residual-permutation", "T1", "residual dims reordered")
def residual_permutation(model: DenseLM, chance: torch.Generator) -> DenseLM:
    """Columns of what reads, rows of what writes, and gains."""
    order_D = torch.randperm(model.config.hidden_size, generator=chance)
    with torch.no_grad():
        for table_VD in tables(model):
            table_VD.copy_(table_VD[:, order_D])
        for block in model.model.layers:
            for gain_D, matrices in readers(block):
                gain_D.copy_(gain_D[order_D])
                for weight_OD in matrices:
                    weight_OD.copy_(weight_OD[:, order_D])
            for weight_DI in writers(block):
                weight_DI.copy_(weight_DI[order_D])
        model.model.norm.weight.copy_(model.model.norm.weight[order_D])
    return model
