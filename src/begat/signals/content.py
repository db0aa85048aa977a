"""Units chosen by content: one for each public direction, so that no order of units and no basis of the residual stream matters.

Enters: all units of an MLP in one frame, as two kinds of weights (gate and up, or up and down).  Leaves: per public direction the sign bits of the
*other* kind of the unit whose first kind lies nearest to it. In a relative the same unit is found again and brings the same bits along; in a stranger
some other unit is found, whose other weights have nothing in common.

There is no exact null for this: independent models may hold some units that are alike in both kinds. What agreement is worth is measured on
independent pairs (`begat.stats.content`).
"""

from __future__ import annotations

import numpy as np

from begat.types import F32, I64, U8

# Shape suffixes: F units, N features, K directions (slots), B bytes


def choose(first_FN: F32, directions_NK: F32) -> I64:
    """The unit nearest to every direction [K], rows centred over units and of length 1."""
    x_FN = first_FN - first_FN.mean(axis=0, dtype=np.float64).astype(np.float32)
    length = np.linalg.norm(x_FN, axis=1, keepdims=True)
    x_FN = np.divide(x_FN, length, out=np.zeros_like(x_FN), where=length > 0)
    chosen: I64 = (x_FN @ directions_NK).argmax(axis=0).astype(np.int64)
    return chosen


def slot_bits(second_KN: F32, directions_NB: F32) -> U8:
    """Packed sign bits [K, B] of the chosen units' other weights. A unit's sign is that of its largest projection: up and down may change theirs in pairs."""
    y_KB = second_KN @ directions_NB
    largest = np.take_along_axis(y_KB, np.abs(y_KB).argmax(axis=1)[:, None], axis=1)
    return np.packbits(y_KB * np.sign(largest) > 0, axis=1)


def agreeing_slots(a_KB: U8, b_KB: U8, most_differing: float = 0.25) -> int:
    """Slots whose bits differ in fewer than `most_differing` of them; unlike units differ in half, and hardly ever so little in 128 bits (p < 10^-8)."""
    return int((np.unpackbits(a_KB ^ b_KB, axis=1).mean(axis=1) < most_differing).sum())
