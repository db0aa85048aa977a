"""Which of two models is the rounded one, when they differ by a known low-rank matrix?

Enters: both models' values, their rounding steps and the low-rank part of the difference.  Leaves: counts.  Asked by `begat.pipeline.arrows.lowrank`.

If C = round(P + L), the error C - P - L is uniform within half a step *of C*; if P = round(C - L), within half a step *of P*. The two steps differ where L moved a
value across a power of two. There, errors beyond half the smaller step occur half of the time under the one, and never (but for the estimate of L) under the other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from begat.types import F32, F64


@dataclass(frozen=True, slots=True)
class Crossing:
    """Values where C's step is at least twice P's (`up`), and where P's is at least twice C's (`down`); how many errors there exceed half the smaller step."""

    up: int
    up_beyond: int
    down: int
    down_beyond: int

    def __add__(self, other: Crossing) -> Crossing:
        return Crossing(self.up + other.up, self.up_beyond + other.up_beyond, self.down + other.down, self.down_beyond + other.down_beyond)


def crossing(p_MN: F32, c_MN: F32, low_MN: F64, p_step_MN: F32, c_step_MN: F32) -> Crossing:
    """Count one matrix."""
    error = np.abs(c_MN.astype(np.float64) - p_MN - low_MN)
    up, down = c_step_MN >= 2 * p_step_MN, p_step_MN >= 2 * c_step_MN
    beyond = error > 0.5 * np.minimum(p_step_MN, c_step_MN) * 1.05
    return Crossing(int(up.sum()), int((beyond & up).sum()), int(down.sum()), int((beyond & down).sum()))


def rounded_one(found: Crossing, least: int = 200) -> str:
    """ "child" if C is the rounded one, "parent" if P is, "" if the counts do not say."""
    if min(found.up, found.down) < least:
        return ""
    up, down = found.up_beyond / found.up, found.down_beyond / found.down
    if up >= 0.25 and down <= 0.1:
        return "child"
    if down >= 0.25 and up <= 0.1:
        return "parent"
    return ""
