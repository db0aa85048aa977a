"""T3: the residual stream rotated, one rotation for the whole model. Gains are folded first (T5): a norm without gains is blind to rotation."""

from __future__ import annotations

import torch

from begat_lab.disguises.base import disguise, orthogonal, readers, tables, writers
from begat_lab.disguises.gains import folded
from begat_lab.models.dense import DenseLM


@disguise("residual-rotation", "T3", "residual stream rotated")
def residual_rotation(model: DenseLM, chance: torch.Generator) -> DenseLM:
    """Readers and tables times Q, writers times Q transposed."""
    model = folded(model)
    dtype = model.model.norm.weight.dtype
    turn_DD = orthogonal(model.config.hidden_size, chance).to(dtype)
    with torch.no_grad():
        for table_VD in tables(model):
            table_VD.copy_(table_VD @ turn_DD)
        for block in model.model.layers:
            for _, matrices in readers(block):
                for weight_OD in matrices:
                    weight_OD.copy_(weight_OD @ turn_DD)
            for weight_DI in writers(block):
                weight_DI.copy_(turn_DD.T @ weight_DI)
    return model
