"""Three views of an MLP unit: do its gate row, its up row and its down column each name the same partner in the other model?

Enters: for sampled units of one layer of B and all units of a layer of A, three matrices each, in one frame.  Leaves: `Agreement`.  What it is worth:
`begat.stats.views`, by a bank of independent pairs; the unconstrained test of Zhu et al. (ICML 2025, arXiv:2502.12292, φ_MATCH) compares two views.

No order is used, so it survives any reordering, rotation and rescaling of units (disguises T2 + T3 + T4 + T6 of statistics.md §3). Nor is it exact:
independent models hold some "universal" units, alike in all views, and agree more often than blind chance would. It is calibrated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from begat.signals.quadratic import inverse_lengths, unit
from begat.types import F32, I64

# Shape suffixes: M sampled units of B, F units of A, D residual width


@dataclass(frozen=True, slots=True)
class Agreement:
    """Of `m` units `agreeing` have one partner in all views; partner_M: that unit of A, -1 where the views differ."""

    m: int
    agreeing: int
    partner_M: I64


def agreement(b_views: Sequence[F32], a_views: Sequence[F32], signed: Sequence[bool]) -> Agreement:
    """Match every unit of B in every view, and count those whose matches are one.

    Args:
        b_views: per view [M, D]; a_views: per view [F, D].
        signed: per view, whether a unit may not change its sign (gate rows; up and down may, in pairs).

    Rows are scaled to length 1, so units may be rescaled. Rows of zeros match nothing.
    """
    partners = []
    for b_MD, a_FD, keeps in zip(b_views, a_views, signed, strict=True):
        s_MF = unit(b_MD) @ a_FD.T
        s_MF *= inverse_lengths(a_FD)  # what all units of A are divided by: their rows need not be copied
        s_MF = s_MF if keeps else np.abs(s_MF)
        partners.append(np.where(s_MF.max(axis=1) > 0, s_MF.argmax(axis=1), -1))
    same_M = np.logical_and.reduce([p == partners[0] for p in partners]) & (partners[0] >= 0)
    partner_M: I64 = np.where(same_M, partners[0], -1).astype(np.int64)
    return Agreement(len(partner_M), int(same_M.sum()), partner_M)
