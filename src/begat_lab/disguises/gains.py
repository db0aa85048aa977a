"""T5: norm gains moved into the matrices that read behind them; every gain is one. The head gets weights of its own."""

from __future__ import annotations

import torch

from begat_lab.disguises.base import disguise, readers, untied
from begat_lab.models.dense import DenseLM


@disguise("gain-folding", "T5", "norm gains moved into weights")
def gain_folding(model: DenseLM, chance: torch.Generator) -> DenseLM:
    """W diag(gain), gain one. Draws nothing."""
    return folded(model)


def folded(model: DenseLM) -> DenseLM:
    """The model with all gains one."""
    model = untied(model)
    with torch.no_grad():
        for block in model.model.layers:
            for gain_D, matrices in readers(block):
                for weight_OD in matrices:
                    weight_OD.mul_(gain_D)
                gain_D.fill_(1.0)
        model.lm_head.weight.mul_(model.model.norm.weight)
        model.model.norm.weight.fill_(1.0)
    return model
