"""Int8: round to nearest, symmetric, one float32 scale a row; stored as I8 with `….weight_scale` beside it (compressed-tensors)."""

from __future__ import annotations

import torch
from torch import Tensor

from begat_lab.descent.base import EVERY, Child, Job, kind
from begat_lab.descent.quantised import store_quantised

_NOTE = {
    "quant_method": "compressed-tensors",
    "format": "int-quantized",
    "weights": {"num_bits": 8, "strategy": "channel", "symmetric": True},
}


@kind("int8", "int8, one scale a row", stores="quantised", knows=EVERY)
def int8(job: Job) -> Child:
    """Quantise the parent."""
    return store_quantised(job, _encode, _NOTE)


def _encode(weight_OI: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    scale_O1 = (weight_OI.abs().amax(1, keepdim=True) / 127).clamp_min(torch.finfo(torch.float32).tiny)
    q_OI = (weight_OI / scale_O1).round().clamp(-127, 127)
    return {"": q_OI.to(torch.int8), "_scale": scale_O1}, q_OI * scale_O1
