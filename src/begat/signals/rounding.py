"""Which of two models is the rounded one, when they differ by a known low-rank matrix?

Enters: both models' values, their rounding steps and the low-rank part of the difference.  Leaves: counts.  Asked by `begat.pipeline.arrows.lowrank`.

If C = round(P + L), the error C - P - L is uniform within half a step *of C*; if P = round(C - L), within half a step *of P*. The two steps differ
where L moved a value across a power of two. There, errors beyond 3/4 of the smaller step occur a quarter of the time or more under the one, and never
under the other (but for the error of the estimate of L, some hundredths of a typical step; values with far finer steps are left out).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from begat.types import F32, F64

#: share of errors beyond, at least and at most, for one to be the rounded and the other not
_OFTEN, _NEVER = 0.15, 0.05


@dataclass(frozen=True, slots=True)
class Crossing:
    """Values where C's step is at least twice P's (`up`), or P's at least twice C's (`down`); how many errors there exceed 3/4 of the smaller step."""

    up: int
    up_beyond: int
    down: int
    down_beyond: int

    def __add__(self, other: Crossing) -> Crossing:
        return Crossing(self.up + other.up, self.up_beyond + other.up_beyond, self.down + other.down, self.down_beyond + other.down_beyond)


def crossing(p_MN: F32, c_MN: F32, low_MN: F64, p_step_MN: F32, c_step_MN: F32) -> Crossing:
    """Count one matrix."""
    error = np.abs(c_MN.astype(np.float64) - p_MN - low_MN)
    finer = np.minimum(p_step_MN, c_step_MN)
    typical = finer >= 0.5 * np.sqrt(np.square(c_step_MN, dtype=np.float64).mean())
    up, down = typical & (c_step_MN >= 2 * p_step_MN), typical & (p_step_MN >= 2 * c_step_MN)
    beyond = error > 0.75 * finer
    return Crossing(int(up.sum()), int((beyond & up).sum()), int(down.sum()), int((beyond & down).sum()))


def rounded_one(found: Crossing, least: int = 200) -> str:
    """Which is rounded: "child" (C), "parent" (P), or "" where the counts do not say."""
    if min(found.up, found.down) < least:
        return ""
    up, down = found.up_beyond / found.up, found.down_beyond / found.down
    if up >= _OFTEN and down <= _NEVER:
        return "child"
    if down >= _OFTEN and up <= _NEVER:
        return "parent"
    return ""
