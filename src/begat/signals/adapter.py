"""Was an adapter trained on this base? A permutation test from the adapter's factors and the base's weights alone.

Enters: factors of LoRA (W' = W + s·BA) and matrices of a candidate base, over the same sampled units.  Leaves: statistics under the true order and
under shuffled ones, and their e-value.  Who reads: `begat.pipeline.adapter`.

What training leaves in the factors: a gradient reaches a unit through the base's next matrix, so unit i's row of B_up is near a combination of the
base's down column i (B_v's of o's columns), and merged directions B_i A lean towards the base's own rows.

Null: the adapter was trained on a base independent of this candidate. Then the candidate's order of the units of one MLP layer (of the value dims inside one
head) is uniform given everything else (`begat.signals.axes`: π and ν), so the statistic under the true order and under N uniform shuffles are exchangeable, and
f(T_0) / mean f(T_i), the mean over all N + 1, has mean one for any f >= 0: an e-value (soft rank; Ren & Barber 2024, arXiv:2304.09642). Lotteries of
layers, and of heads, are independent, so their e-values multiply. T's parts are centred and scaled over all N + 1 orders, which keeps them exchangeable.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from begat.types import F64

#: shuffles of each test: an e-value is at most one more
SHUFFLES = 299
#: slope of f = exp(slope · T), with T in standard deviations
_SLOPE = 2.0


@dataclass(frozen=True, slots=True)
class OrderLean:
    """One layer's (or head group's) lean towards the true order: `z` in standard deviations of the shuffled, `log_e` natural log of its e-value."""

    z: float
    log_e: float


def lean(parts: Sequence[Callable[[np.ndarray], float]], orders: Sequence[np.ndarray]) -> OrderLean:
    """The test: each part maps an order of the candidate's units to a number that is large for a base that fits; orders[0] is the true one."""
    table = np.array([[part(order) for part in parts] for order in orders], dtype=np.float64)
    spread = table.std(0)
    total = ((table - table.mean(0)) / np.where(spread > 0, spread, 1)).sum(1)
    scale = total[1:].std() or 1.0
    z = float((total[0] - total[1:].mean()) / scale)
    overall = total.std() or 1.0
    exponents = _SLOPE * (total - total.max()) / overall
    return OrderLean(z, float(exponents[0] - math.log(np.exp(exponents).mean())))


def unit_parts(
    gate: tuple[F64, F64] | None, up: tuple[F64, F64] | None, down: tuple[F64, F64] | None, weights: tuple[F64, F64, F64]
) -> list[Callable[[np.ndarray], float]]:  # fmt: skip
    """Parts for the units of an MLP layer.

    Args:
        gate, up: (B_MR, A_RD) of M sampled units, None where not adapted. down: (B_DR of D sampled residual dims, A_RM).
        weights: gate_MD, up_MD and down_DM of the candidate, over the same units.
    """
    gate_MD, up_MD, down_DM = weights
    parts: list[Callable[[np.ndarray], float]] = []
    down_MM = _kernel(down_DM.T)
    for (factors, rows_MD) in ((gate, gate_MD), (up, up_MD)):
        if factors is not None:
            b_MR, a_RD = factors
            parts.append(_trace(_rows(b_MR @ a_RD) @ _rows(rows_MD).T))
    if up is not None:
        parts += [_kernels(_kernel(up[0]), down_MM), _energy(down_DM, up[0])]
    if down is not None:
        parts.append(_trace(_rows((down[0] @ down[1]).T) @ _rows(down_DM.T).T))
    return parts


def value_parts(b_VR: F64, out_NV: F64) -> list[Callable[[np.ndarray], float]]:
    """Parts for the value dims of a layer: B of v over V dims, and the rows of o's transpose over the same dims, stacked for the heads served."""
    return [_energy(out_NV, b_VR), _kernels(_kernel(b_VR), _kernel(out_NV.T))]


def _rows(x: F64) -> F64:
    out: F64 = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-30)
    return out


def _kernel(x: F64) -> F64:
    unit = _rows(x)
    k = unit @ unit.T
    out: F64 = k - k.mean()
    return out


def _trace(s_MM: F64) -> Callable[[np.ndarray], float]:
    at = np.arange(len(s_MM))
    return lambda order: float(s_MM[at, order].sum())


def _kernels(own: F64, theirs: F64) -> Callable[[np.ndarray], float]:
    return lambda order: float((own * theirs[np.ix_(order, order)]).sum())


def _energy(out_DM: F64, b_MR: F64) -> Callable[[np.ndarray], float]:
    return lambda order: float(np.square(out_DM[:, order] @ b_MR).sum())
