"""AWQ (arXiv:2306.00978): channels scaled by what flows through them, then rounded to nearest in groups of four-bit codes.

Enters: a parent and text to calibrate on.  Leaves: a folder as AutoAWQ packs it (version "gemm": `qweight`, `qzeros`, `scales`).  Scales
are magnitude^α, one α for matrices that read the same channels, the best of a search; their inverse goes into what writes the
channels: the gain of the norm (q, k and v; gate and up) or the rows of up (down).  Judged by the error of the matrices' own outputs
where the paper takes the block's; o_proj stays unscaled and nothing is clipped.  Grids and words: `packing.py`.  What flows in:
`calibration.py`.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from begat_lab.descent.base import Child, Job, kind
from begat_lab.descent.calibration import Inputs, calibration_windows, inputs_of, matrices
from begat_lab.descent.packing import check_groups, grid_of, pack_awq
from begat_lab.descent.quantised import write_quantised

BITS = 4
_GRID = 20  # exponents tried: 0, 1/20, … 19/20
#: matrices that read the same channels, and what writes these
_SHARED = (
    (("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"), "input_layernorm"),
    (("mlp.gate_proj", "mlp.up_proj"), "post_attention_layernorm"),
    (("mlp.down_proj",), "mlp.up_proj"),
)


@dataclass(frozen=True, slots=True)
class Awq:
    """As in its `quantization_config`."""

    group_size: int = 32


@kind("awq", "AWQ, packed", seeds=("window_seed",), trains=True, options=Awq, stores="quantised")
def awq(job: Job) -> Child:
    """Scale, then quantise the parent; `steps` of the recipe are batches of text to calibrate on."""
    child, group = copy.deepcopy(job.parent()), job.options.group_size
    flows = inputs_of(child, matrices(child), calibration_windows(job, child.config.vocab_size))
    tensors: dict[str, Tensor] = {}
    exponents: list[float] = []
    with torch.no_grad():
        for name, part in matrices(child).items():
            check_groups(f"{name}.weight", part.weight, group)
        for number, layer in enumerate(child.model.layers):
            here = {name: flows[f"model.layers.{number}.{name}"] for name in matrices(layer)}
            exponents += [scale_channels(layer, readers, writer, here, group) for readers, writer in _SHARED]
        for name, weight in child.state_dict().items():
            if name.endswith("_proj.weight"):
                stored, values_OI = _encode(weight.double(), group)
                tensors |= {name.removesuffix("weight") + end: tensor.contiguous() for end, tensor in stored.items()}
                weight.copy_(values_OI)
            else:
                tensors[name] = weight.to(job.dtype).contiguous()
                weight.copy_(tensors[name].float())
    note = {"quant_method": "awq", "version": "gemm", "bits": BITS, "group_size": group, "zero_point": True}
    return write_quantised(job, child, tensors, note, exponents=exponents)


def scale_channels(layer: nn.Module, readers: tuple[str, ...], writer: str, flows: dict[str, Inputs], group: int) -> float:
    """Find the exponent, scale the columns of the readers and unscale the writer; the function stays. Returns the exponent."""
    flow, parts = flows[readers[0]], [layer.get_submodule(name) for name in readers]
    best, scale_I = min(
        (_loss(parts, flow, candidate_I, group), step, candidate_I)
        for step, candidate_I in ((step, _scale(flow, step / _GRID)) for step in range(_GRID))
    )[1:]
    for part in parts:
        part.weight *= scale_I
    source = layer.get_submodule(writer).weight
    source /= scale_I if source.dim() == 1 else scale_I[:, None]
    return best / _GRID


def _scale(flow: Inputs, exponent: float) -> Tensor:
    """magnitude^exponent, its largest and smallest about one."""
    scale_I = flow.magnitude_I.clamp_min(1e-8) ** exponent
    scale_I = scale_I.clamp_min(1e-4)
    return (scale_I / (scale_I.max() * scale_I.min()).sqrt()).float()


def _loss(parts: list[nn.Module], flow: Inputs, scale_I: Tensor, group: int) -> float:
    """Mean squared error of the outputs, summed over the matrices: the trace of E M E^T."""
    total = 0.0
    for part in parts:
        weight_OI = part.weight.double()
        _, values_OI = _encode(weight_OI * scale_I, group)
        error_OI = values_OI / scale_I - weight_OI
        total += float(((error_OI @ flow.moment_II) * error_OI).sum())
    return total


def _encode(weight_OI: Tensor, group: int) -> tuple[dict[str, Tensor], Tensor]:
    grids = [grid_of(weight_OI[:, i : i + group], BITS, symmetric=False) for i in range(0, weight_OI.shape[1], group)]
    pieces = list(zip(grids, weight_OI.split(group, 1), strict=True))
    code_OI = torch.cat([grid.codes(piece_OI) for grid, piece_OI in pieces], 1)
    values_OI = torch.cat([grid.values(code) for grid, code in zip(grids, code_OI.split(group, 1), strict=True)], 1)
    stored = {
        "qweight": pack_awq(code_OI.T.contiguous()),
        "qzeros": pack_awq(torch.stack([grid.zero_O1[:, 0] for grid in grids])),
        "scales": torch.stack([grid.scale_O1[:, 0] for grid in grids]).half(),
    }
    return stored, values_OI
