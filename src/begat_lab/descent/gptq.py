"""GPTQ (arXiv:2210.17323): inputs rounded one after another, the error of each made up for by those not yet rounded.

Enters: a parent and text to calibrate on.  Leaves: a folder as AutoGPTQ packs it (`qweight`, `qzeros`, `scales`, `g_idx`).  Layer after
layer: a layer is calibrated behind the layers that are already rounded.  The loop is the paper's algorithm 1 without its lazy batches,
which change nothing but speed; damping and the order of activation (`desc_act`) are those of its authors' code.  Grids and words:
`packing.py`.  What flows in: `calibration.py`.
"""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from begat import InputError
from begat_lab.descent.base import Child, Job, kind
from begat_lab.descent.calibration import calibration_windows, inputs_of, matrices
from begat_lab.descent.packing import Grid, check_groups, grid_of, pack_inputs, pack_outputs
from begat_lab.descent.quantised import write_quantised

_DAMPING = 0.01  # of the mean diagonal of the Hessian, added to it


@dataclass(frozen=True, slots=True)
class Gptq:
    """As in its `quantization_config`."""

    bits: int = 4
    group_size: int = 32
    sym: bool = True
    desc_act: bool = False  # inputs in order of their activation, so that groups lie scattered

    def __post_init__(self) -> None:
        if self.bits not in (2, 4, 8):
            raise InputError("bits of GPTQ", expected="2, 4 or 8", found=self.bits)


@dataclass(frozen=True, slots=True)
class Rounded:
    """One matrix: codes, the grids of its groups, and the group of each input."""

    code_OI: Tensor
    grids: list[Grid]
    group_I: Tensor

    def values(self) -> Tensor:
        """What it stands for, [O, I]."""
        value_OI = torch.empty_like(self.code_OI)
        for g, grid in enumerate(self.grids):
            value_OI[:, self.group_I == g] = grid.values(self.code_OI[:, self.group_I == g])
        return value_OI

    def stored(self, bits: int) -> dict[str, Tensor]:
        """The tensors of the file, zero points minus one."""
        return {
            "qweight": pack_inputs(self.code_OI.T, bits),
            "qzeros": pack_outputs(torch.stack([grid.zero_O1[:, 0] for grid in self.grids]) - 1, bits),
            "scales": torch.stack([grid.scale_O1[:, 0] for grid in self.grids]).half(),
            "g_idx": self.group_I.int(),
        }


@kind("gptq", "GPTQ, packed", seeds=("window_seed",), trains=True, options=Gptq, stores="quantised")
def gptq(job: Job) -> Child:
    """Quantise the parent; `steps` of the recipe are batches of text to calibrate on."""
    child, options = copy.deepcopy(job.parent()), job.options
    windows = calibration_windows(job, child.config.vocab_size)
    tensors: dict[str, Tensor] = {}
    with torch.no_grad():
        for number, layer in enumerate(child.model.layers):
            parts = matrices(layer)
            flows = inputs_of(child, parts, windows)
            for name, part in parts.items():
                full = f"model.layers.{number}.{name}"
                check_groups(f"{full}.weight", part.weight, options.group_size)
                found = round_matrix(part.weight.double(), flows[name].moment_II, options)
                part.weight.copy_(found.values())
                tensors |= {f"{full}.{end}": tensor.contiguous() for end, tensor in found.stored(options.bits).items()}
        for name, weight in child.state_dict().items():
            if not name.endswith("_proj.weight"):
                tensors[name] = weight.to(job.dtype).contiguous()
                weight.copy_(tensors[name].float())
    note = {"quant_method": "gptq", "checkpoint_format": "gptq", "damp_percent": _DAMPING, **asdict(options)}
    return write_quantised(job, child, tensors, note)


def round_matrix(weight_OI: Tensor, moment_II: Tensor, options: Gptq) -> Rounded:
    """The paper's loop over the columns of one matrix, in float64."""
    moment_II, rest_OI = moment_II.clone(), weight_OI.clone()
    dead_I = moment_II.diagonal() == 0
    moment_II[dead_I, dead_I] = 1.0
    rest_OI[:, dead_I] = 0.0
    order_I = moment_II.diagonal().argsort(descending=True, stable=True) if options.desc_act else torch.arange(len(moment_II))
    moment_II, rest_OI = moment_II[order_I][:, order_I], rest_OI[:, order_I]
    moment_II += _DAMPING * moment_II.diagonal().mean() * torch.eye(len(moment_II), dtype=moment_II.dtype)
    upper_II = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(moment_II)), upper=True)
    grids: list[Grid] = []
    code_OI = torch.empty_like(rest_OI)
    for i in range(rest_OI.shape[1]):
        if i % options.group_size == 0:  # of the weights as the errors so far have moved them
            grids.append(grid_of(rest_OI[:, i : i + options.group_size], options.bits, options.sym, least_zero=1))
        code_OI[:, i : i + 1] = grids[-1].codes(rest_OI[:, i : i + 1])
        error_O1 = (rest_OI[:, i : i + 1] - grids[-1].values(code_OI[:, i : i + 1])) / upper_II[i, i]
        rest_OI[:, i + 1 :] -= error_O1 * upper_II[i, i + 1 :]
    back_I = order_I.argsort()
    return Rounded(code_OI[:, back_I], grids, (torch.arange(len(order_I)) // options.group_size)[back_I])
