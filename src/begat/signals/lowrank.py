"""Is the difference of two matrices of low rank, beyond what storage rounds away?

Enters: the same rows of a child and of a base, and the rounding step of every stored value of the child.  Leaves: a `Rank`.
Which matrices, and what it says of the model: `begat.pipeline.lora`.

A merged adapter stores round(W + s·BA): the difference is BA plus rounding errors, nearly independent and uniform within half a step, so of variance
step²/12 each. Independent errors of standard deviations σ_ij have no singular value much above  max_i |σ_i·| + max_j |σ_·j|  (Bandeira & van Handel 2016;
for equal σ it is the edge of Marchenko & Pastur 1967). Singular values above that edge are counted; a rank is only stated where what is left after
them is no more than rounding, which a full-rank change leaves far behind.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from begat.types import F32, F64

#: on the edge: its theorem has a factor 1 + ε and a term for the largest of finitely many values
_MARGIN = 1.1
#: mean square left, in units of rounding, up to which a difference is explained
_LEFT = 1.6
#: share of the full rank that a low one may have, without a gap and with one
_LOW, _LOW_WITH_GAP, _GAP = 0.25, 0.75, 2.0


@dataclass(frozen=True, slots=True)
class Rank:
    """The difference of two matrices of m rows and n columns.

    Attributes:
        state: "equal", "rounding" (no singular value above the edge), "low-rank" or "full".
        rank: singular values above the edge. edge: in units of the largest.
        gap: last value above the edge over the first below it (inf becomes 1e9).
        left: mean square beyond the rank, over rounding's.
        basis_RN: right singular vectors of the rank (kept for `rounding.py`), scaled so that left_MR @ basis_RN is the low-rank part.
    """

    state: str
    rank: int
    edge: float
    gap: float
    left: float
    left_MR: F64
    basis_RN: F64


def rank_of(base_MN: F32, child_MN: F32, step_MN: F32) -> Rank:
    """Numerical rank of child - base above the edge of the child's rounding."""
    delta = child_MN.astype(np.float64) - base_MN
    m, n = delta.shape
    nothing = np.zeros((m, 0)), np.zeros((0, n))
    if not delta.any():
        return Rank("equal", 0, 0.0, 1.0, 0.0, *nothing)
    # the adapter's product is itself computed in some type no coarser than the child's: its own rounding, relative to its size
    relative = step_MN / np.maximum(np.abs(child_MN), np.float32(1e-30))
    variance = (np.square(step_MN, dtype=np.float64) + np.square(delta * np.minimum(relative, 2**-7))) / 12
    edge = _MARGIN * (np.sqrt(variance.sum(1).max()) + np.sqrt(variance.sum(0).max()))
    u, s, vt = np.linalg.svd(delta, full_matrices=False)
    edge = max(float(edge), 1e-7 * float(np.abs(child_MN).max()) * np.sqrt(max(m, n)))
    rank = int((s > edge).sum())
    left = float(np.square(s[rank:]).sum()) / max(float(variance.sum()), 1e-300) if rank < len(s) else 0.0
    below = float(s[rank]) if rank < len(s) else 0.0
    gap = min(float(s[rank - 1]) / below, 1e9) if rank and below > 0 else (1e9 if rank else 1.0)
    return Rank(_state(rank, min(m, n), gap, left), rank, edge / float(s[0]), gap, left, u[:, :rank] * s[:rank], vt[:rank])


def _state(rank: int, full: int, gap: float, left: float) -> str:
    if rank == 0:
        return "rounding"
    if left <= _LEFT and (rank <= _LOW * full or (rank <= _LOW_WITH_GAP * full and gap >= _GAP)):
        return "low-rank"
    return "full"
