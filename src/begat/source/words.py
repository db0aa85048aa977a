"""Integers of 1 to 8 bits packed into 32-bit words.

Enters: words, uint32.  Leaves: the integers as float32, unsigned.  A run of words is one string of bits, lowest first, so that integer i
takes bits [i * bits, (i + 1) * bits); three-bit integers straddle words, 32 of them in every three (AutoGPTQ), as five, six and seven
bits do (compressed-tensors).  AWQ's gemm layout
puts eight neighbours of a row into a word in the order of its kernel's instructions.  Who says what is packed: `packed.py`.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from begat.types import F32

U32 = npt.NDArray[np.uint32]

#: which of eight neighbouring columns lies at nibble 0, 1, … of an AWQ word
AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)


def unpack_across(words_RW: U32, bits: int, order: tuple[int, ...] | None = None) -> F32:
    """Words of R rows, packed along the row → [R, columns]."""
    run = run_of(bits)
    words_RNW = words_RW.reshape(words_RW.shape[0], words_RW.shape[1] // run, run)
    out_RNI = np.empty((*words_RNW.shape[:2], 32 * run // bits), dtype=np.float32)
    for i in range(out_RNI.shape[-1]):
        out_RNI[..., order[i] if order else i] = _field(words_RNW, i, bits)
    return out_RNI.reshape(words_RW.shape[0], out_RNI.shape[1] * out_RNI.shape[2])


def unpack_down(words_SB: U32, bits: int) -> F32:
    """Stacks of S × (words of a run, one row of C words each) → [S * rows of a stack, C]."""
    run = run_of(bits)
    words_SCW = words_SB.reshape(words_SB.shape[0], run, words_SB.shape[1] // run).swapaxes(1, 2)
    out_SIC = np.empty((words_SCW.shape[0], 32 * run // bits, words_SCW.shape[1]), dtype=np.float32)
    for i in range(out_SIC.shape[1]):
        out_SIC[:, i] = _field(words_SCW, i, bits)
    return out_SIC.reshape(out_SIC.shape[0] * out_SIC.shape[1], words_SCW.shape[1])


def run_of(bits: int) -> int:
    """Words after which the packing repeats."""
    return bits // math.gcd(bits, 32)


def _field(words: U32, i: int, bits: int) -> U32:
    """Integer i of every run of words (last axis)."""
    at, low = divmod(i * bits, 32)
    found = words[..., at] >> np.uint32(low)
    if low + bits > 32:
        found = found | (words[..., at + 1] << np.uint32(32 - low))
    out: U32 = found & np.uint32((1 << bits) - 1)
    return out
