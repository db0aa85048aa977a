"""FP8: E4M3 with one float32 scale a square block, stored beside as `….weight_scale_inv` and multiplied, as in DeepSeek-V3."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from begat_lab.descent.base import EVERY, Child, Job, kind
from begat_lab.descent.quantised import store_quantised

_LARGEST = 448.0  # of E4M3


@dataclass(frozen=True, slots=True)
class Blocks:
    """Scale blocks."""

    block: int = 128  # rows and columns that share a scale; the last block of an axis may be short


@kind("fp8", "FP8 (E4M3), one scale a block", options=Blocks, stores="quantised", knows=EVERY)
def fp8(job: Job) -> Child:
    """Quantise the parent."""
    block = job.options.block
    note = {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [block, block], "activation_scheme": "dynamic"}
    return store_quantised(job, lambda weight_OI: _encode(weight_OI, block), note)


def _encode(weight_OI: Tensor, block: int) -> tuple[dict[str, Tensor], Tensor]:
    rows, cols = (-(-size // block) for size in weight_OI.shape)
    scale_RC = torch.zeros(rows, cols)
    for r in range(rows):
        for c in range(cols):
            part = weight_OI[r * block : (r + 1) * block, c * block : (c + 1) * block]
            scale_RC[r, c] = (part.abs().max() / _LARGEST).clamp_min(torch.finfo(torch.float32).tiny)
    wide_OI = scale_RC.repeat_interleave(block, 0)[: weight_OI.shape[0]].repeat_interleave(block, 1)[:, : weight_OI.shape[1]]
    q_OI = (weight_OI / wide_OI).to(torch.float8_e4m3fn)
    return {"": q_OI, "_scale_inv": scale_RC}, q_OI.float() * wide_OI
