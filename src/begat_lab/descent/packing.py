"""Small integers into the int32 words of GPTQ's and AWQ's files, and the grids that they are rounded to.

Enters: integers as int64, [I, O] (inputs, outputs).  Leaves: int32 words; scales and zero points of groups of inputs.  Who reads such
files: `begat.source.words`, written apart from this, so that each can be wrong alone.  Kinds: `gptq.py`, `awq.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from begat import InputError

_AWQ_NIBBLES = (0, 2, 4, 6, 1, 3, 5, 7)  # which of eight neighbouring outputs lies at nibble 0, 1, …


@dataclass(frozen=True, slots=True)
class Grid:
    """The levels that the weights [O, inputs of a group] of one group may take: (code - zero) * scale, code in 0 .. 2^bits - 1."""

    scale_O1: Tensor  # rounded to float16, as it is stored
    zero_O1: Tensor
    top: int

    def codes(self, weight_OI: Tensor) -> Tensor:
        """The nearest level of each weight, as its number."""
        return ((weight_OI / self.scale_O1).round() + self.zero_O1).clamp(0, self.top)

    def values(self, code_OI: Tensor) -> Tensor:
        """What the numbers stand for."""
        return (code_OI - self.zero_O1) * self.scale_O1


def grid_of(weight_OI: Tensor, bits: int, symmetric: bool, least_zero: int = 0) -> Grid:
    """The grid of one group: even steps from its smallest weight (or zero) to its largest; symmetric: zero in the middle.

    A zero point of at least one is asked for where files store it minus one.
    """
    top = 2**bits - 1
    low_O1, high_O1 = weight_OI.amin(1, keepdim=True).clamp(max=0), weight_OI.amax(1, keepdim=True).clamp(min=0)
    if symmetric:
        high_O1 = torch.maximum(high_O1, -low_O1)
        low_O1 = -high_O1
    scale_O1 = ((high_O1 - low_O1) / top).clamp_min(2.0**-14).half().to(weight_OI.dtype)  # 2^-14: below, float16 loses bits
    zero_O1 = (-low_O1 / scale_O1).round().clamp(least_zero, top)
    return Grid(scale_O1, torch.full_like(zero_O1, 2 ** (bits - 1)) if symmetric else zero_O1, top)


def pack_inputs(code_IO: Tensor, bits: int) -> Tensor:
    """32 / bits neighbouring inputs a word, lowest bits first: [I * bits / 32, O]."""
    many = 32 // bits
    code_WNO = code_IO.long().reshape(-1, many, code_IO.shape[1])
    return _as_int32(sum((code_WNO[:, n] << (bits * n) for n in range(many)), torch.zeros_like(code_WNO[:, 0])))


def pack_outputs(code_IO: Tensor, bits: int) -> Tensor:
    """32 / bits neighbouring outputs a word, lowest bits first: [I, O * bits / 32]."""
    return pack_inputs(code_IO.T, bits).T.contiguous()


def pack_awq(code_IO: Tensor) -> Tensor:
    """Eight neighbouring outputs a word, in AWQ's order: [I, O / 8]."""
    order = torch.tensor(_AWQ_NIBBLES)
    return pack_outputs(code_IO.reshape(code_IO.shape[0], -1, 8)[:, :, order].reshape(code_IO.shape), 4)


def check_groups(name: str, weight_OI: Tensor, group: int) -> None:
    """An error unless the inputs are whole groups, and both sides whole words."""
    outputs, inputs = weight_OI.shape
    if inputs % group or inputs % 32 or outputs % 32:
        raise InputError("weights do not fill groups and words", tensor=name, expected=f"inputs of whole groups of {group}, both sides of 32",
                         found=f"{outputs} by {inputs}", fix="choose another group, or a parent of other sizes")  # fmt: skip


def _as_int32(word: Tensor) -> Tensor:
    """Words 0 .. 2^32 - 1 as the int32 of the same bits."""
    return torch.where(word >= 2**31, word - 2**32, word).int()
