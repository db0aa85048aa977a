"""The experts: many SwiGLU MLPs, each on the rows that were routed to it. A loop, or grouped matrix products where the device has them.

Enters: rows with the number of the expert each is for.  Leaves: the experts' outputs, row by row.  Who routes: `router.py`.  Who weighs
and adds up: `layer.py`.  Names of weights are the published ones (`experts.7.gate_proj.weight`), so every expert keeps its own
parameters; `pack_experts` lays them side by side in memory, which saves the copy that a grouped product needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from begat import InputError

# Shape suffixes as in router.py, and R: rows, one for each (token, pick), sorted by expert.

MODES = ("auto", "loop", "grouped")


class Expert(nn.Module):  # type: ignore[misc]  # torch is untyped here (pyproject: follow_imports = skip)
    """SwiGLU: down(silu(gate(x)) * up(x)), no biases. Routed experts and the shared one are of this kind."""

    def __init__(self, hidden_size: int, units: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(hidden_size, units, bias=False)
        self.up_proj = nn.Linear(hidden_size, units, bias=False)
        self.down_proj = nn.Linear(units, hidden_size, bias=False)

    def forward(self, x_RD: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x_RD)) * self.up_proj(x_RD))


def run_experts(experts: Sequence[Expert], x_TD: Tensor, ids_R: Tensor, token_R: Tensor, mode: str = "auto") -> Tensor:
    """Row r of the result is expert `ids_R[r]` on token `token_R[r]`. Numbers in `ids_R` count within `experts`."""
    if not len(ids_R):
        # No row: still a function of all weights, so that their gradients are zeros and not absent.
        return torch.cat([expert(x_TD[:0]) for expert in experts])
    sorted_R, order_R = ids_R.sort(stable=True)
    # One past each expert's last row. (A bincount would make a GPU wait for its host.)
    end_N = torch.searchsorted(sorted_R, torch.arange(len(experts), device=ids_R.device), right=True)
    x_RD = x_TD[token_R[order_R]]
    y_RD = _grouped(experts, x_RD, end_N) if use_grouped(mode, x_RD, experts[0]) else _loop(experts, x_RD, end_N)
    return torch.empty_like(y_RD).index_copy(0, order_R, y_RD)  # back into the order of the picks


def _loop(experts: Sequence[Expert], x_RD: Tensor, end_N: Tensor) -> Tensor:
    parts = x_RD.tensor_split(end_N[:-1].tolist())
    # An expert without rows runs on none, so that its gradient is zero and not absent (ranks must agree on which gradients there are).
    live = torch.is_grad_enabled()
    return torch.cat([expert(part_RD) for expert, part_RD in zip(experts, parts, strict=True) if live or len(part_RD)])


def _grouped(experts: Sequence[Expert], x_RD: Tensor, end_N: Tensor) -> Tensor:
    end_N = end_N.to(torch.int32)  # no count ever leaves the device
    gate_NFD, up_NFD, down_NDF = (stacked([getattr(e, name).weight for e in experts]) for name in _MATRICES)
    gate_RF = F.grouped_mm(x_RD, gate_NFD.transpose(1, 2), offs=end_N)
    up_RF = F.grouped_mm(x_RD, up_NFD.transpose(1, 2), offs=end_N)
    return F.grouped_mm(F.silu(gate_RF) * up_RF, down_NDF.transpose(1, 2), offs=end_N)


_MATRICES = ("gate_proj", "up_proj", "down_proj")


def use_grouped(mode: str, x_RD: Tensor, expert: Expert) -> bool:
    """Whether `mode` means grouped products for these rows."""
    if mode not in MODES:
        raise InputError("how to run experts", expected=" or ".join(MODES), found=mode)
    units = expert.gate_proj.out_features
    if mode == "grouped" and not grouped_matmul_fits(x_RD, units):
        raise InputError("no grouped matrix product here", expected="a torch that has grouped_mm, 16 or 32 bit floats, sizes that fill 16 bytes",
                         found=f"torch {torch.__version__}, {x_RD.dtype}, {x_RD.shape[1]} and {units}", fix="experts='loop'")  # fmt: skip
    # On a CPU the two take about the same time from 128 units up; the loop takes every dtype and needs no copy.
    return mode == "grouped" or (mode == "auto" and x_RD.device.type == "cuda" and grouped_matmul_fits(x_RD, units))


def grouped_matmul_fits(x_RD: Tensor, units: int) -> bool:
    """Whether torch.nn.functional.grouped_mm takes rows like these: its documented dtypes, and rows of whole 16 bytes."""
    if not hasattr(F, "grouped_mm"):
        return False
    device, dtype = x_RD.device.type, x_RD.dtype
    if device == "cuda":
        known = dtype == torch.bfloat16 and torch.cuda.get_device_capability(x_RD.device) >= (8, 0)
    else:
        known = device == "cpu" and dtype in (torch.float32, torch.bfloat16)
    return known and not any(size * x_RD.element_size() % 16 for size in (x_RD.shape[1], units))


def stacked(weights: Sequence[Tensor]) -> Tensor:
    """The weights as one tensor: the memory they share where they lie side by side (`pack_experts`), else a copy."""
    first = weights[0]
    step = first.numel() * first.element_size()
    side_by_side = all(
        w.is_contiguous() and w.data_ptr() == first.data_ptr() + step * i and w.untyped_storage().data_ptr() == first.untyped_storage().data_ptr()
        for i, w in enumerate(weights)
    )  # fmt: skip
    return _SideBySide.apply(*weights) if side_by_side else torch.stack(list(weights))


class _SideBySide(torch.autograd.Function):  # type: ignore[misc]
    """Weights that lie side by side, as one tensor without a copy. Backward: each weight's part of the gradient."""

    @staticmethod
    def forward(ctx: Any, *weights: Tensor) -> Tensor:
        first = weights[0].detach()
        return first.as_strided((len(weights), *first.shape), (first.numel(), *first.stride()))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        return tuple(grad.unbind(0))


@torch.no_grad()  # type: ignore[untyped-decorator]
def pack_experts(experts: Sequence[Expert]) -> None:
    """Move the experts' weights side by side in memory. Values, names and parameters stay; `.to()` undoes it."""
    for name in _MATRICES:
        weights = [getattr(expert, name).weight for expert in experts]
        for weight, place in zip(weights, torch.stack(weights), strict=True):
            weight.data = place
