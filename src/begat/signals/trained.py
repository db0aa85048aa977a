"""Trained-state agreement: how much of what training added to one model is found in the other.

Enters: the cells of the inheritance map, the layers found dependent, the standard deviation of the initial weights.  Leaves: `Agreement`.
Who decides by it: `begat.verdict.trained`, against the bank of twins (`begat.stats.twins`).

Twins, two models trained apart from one draw of initial weights W, pass the order test in full: they share W. But W is all they share,
and training adds to it: with W's variance s², mean squares E_A s² and E_B s², and mean product O s² of weights at one index, twins have
O near 1, while a child has O near E of its parent. The share (O - 1) / (min(E_A, E_B) - 1) is near 0 for twins and 1 for parent and child.
Norm gains all start from one constant, so their deviation from the mean is training alone, and twins' gains correlate little.

Neither has a null with a proof: twins see alike text and so learn in part alike. Both are calibrated on twins of the lab, and never used to say that two
models are dependent; that is the order test's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Set
from dataclasses import dataclass

from begat.types import MapCell

#: matrices drawn with the stated deviation; those that write into the residual stream (o, down) are often drawn narrower
ROLES = frozenset(
    {
        "attn.q.weight",
        "attn.k.weight",
        "attn.v.weight",
        "mlp.gate.weight",
        "mlp.up.weight",
        "expert.gate.weight",
        "expert.up.weight",
    }
)
_VALUES = 2048  # fewer compared values say too little


@dataclass(frozen=True, slots=True)
class Agreement:
    """Numbers of one pair, each None where it cannot be computed.

    Attributes:
        energy_a, energy_b: mean square of the weights over the variance of their initial values, at least 0.
        overlap: mean product at one index over the same variance.
        share: (overlap - 1) / (min(energy) - 1); None when the lesser energy is at most 1.
        gains: correlation of norm gains about the mean of each tensor, in [-1, 1].
        cells: matrices and gains used.
    """

    energy_a: float | None
    energy_b: float | None
    overlap: float | None
    share: float | None
    gains: float | None
    cells: int


def trained_agreement(cells: Iterable[MapCell], layers: Set[tuple[str, int]], initial_sd: float | None) -> Agreement:
    """Agreement over `layers` ((tower, layer) pairs); `initial_sd` > 0 is the deviation of the initial weights, None if unknown."""
    here = [c for c in cells if (c.tower, c.layer) in layers]
    matrices = [c for c in here if c.role in ROLES]
    gains = [c for c in here if c.role.endswith("norm.gain") and c.rms_a > 0 and c.rms_b > 0]
    n = sum(c.n for c in matrices)
    energy_a = energy_b = overlap = share = None
    if initial_sd and n >= _VALUES:
        energy_a, energy_b, overlap = (x / n / initial_sd**2 for x in _sums(matrices))
        least = min(energy_a, energy_b)
        share = (overlap - 1) / (least - 1) if least > 1 else None
    return Agreement(energy_a, energy_b, overlap, share, _pooled(gains), len(matrices) + len(gains))


def _pooled(gains: list[MapCell]) -> float | None:
    """One correlation over all gains, each centred in its own tensor."""
    aa, bb, ab = _sums(gains)
    return max(-1.0, min(1.0, ab / math.sqrt(aa * bb))) if aa > 0 and bb > 0 else None


def _sums(cells: list[MapCell]) -> tuple[float, float, float]:
    """Sums of squares of A and B, and of products."""
    aa = sum(c.n * c.rms_a**2 for c in cells)
    bb = sum(c.n * c.rms_b**2 for c in cells)
    return aa, bb, sum(c.n * c.cosine * c.rms_a * c.rms_b for c in cells)
