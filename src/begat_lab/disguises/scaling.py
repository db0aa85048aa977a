"""T6: pairs of scales that cancel: each MLP unit's up row by a factor of either sign, its down column by the inverse."""

from __future__ import annotations

import torch

from begat_lab.disguises.base import disguise, scales
from begat_lab.models.dense import DenseLM


@disguise("scaling-pairs", "T6", "units scaled and flipped")
def scaling_pairs(model: DenseLM, chance: torch.Generator) -> DenseLM:
    """SwiGLU is linear in up; the gate stays. Scales inside heads belong to head-transform."""
    units = model.config.intermediate_size
    with torch.no_grad():
        for block in model.model.layers:
            sign_F = 2.0 * torch.randint(2, (units,), generator=chance) - 1
            size_F = (scales(units, chance) * sign_F).to(block.mlp.up_proj.weight.dtype)
            block.mlp.up_proj.weight.mul_(size_F[:, None])
            block.mlp.down_proj.weight.div_(size_F)
    return model
