"""Where the residual stream of one model lies in that of another: orthogonal Procrustes (Schönemann, Psychometrika 31, 1966).

Enters: matrices of A and B whose rows are the same things (tokens that both know, units of one layer).  Leaves: a map from A's residual
stream to B's. It is no evidence: between strangers there is a best map too. Evidence is what is found *through* it on symmetries it was not
fitted on (statistics.md §3); who does that: `begat.pipeline.frames` and `begat.pipeline.search`.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from begat.types import F32, F64

# Shape suffixes: N things both models have, D residual width of A, E residual width of B, R = min(D, E)


def cross_product(pairs: Iterable[tuple[F32, F32]]) -> F64:
    """Σ X^T Y / (|X| |Y|) over pairs of matrices (x_ND, y_NE) of the same N things: [D, E]. Empty or all-zero pairs add nothing.

    Raises:
        ValueError: there is no pair at all.
    """
    total: F64 | None = None
    for x_ND, y_NE in pairs:
        size = float(np.linalg.norm(x_ND)) * float(np.linalg.norm(y_NE))
        part = (x_ND.T @ y_NE).astype(np.float64) / size if size > 0 else np.zeros((x_ND.shape[1], y_NE.shape[1]))
        total = part if total is None else total + part
    if total is None:
        raise ValueError("a map needs at least one pair of matrices")
    return total


def rotation(cross_DE: F64) -> F32:
    """The map Q [D, E] with orthonormal rows or columns that maximises tr(Q^T cross): U V^T of the singular value decomposition."""
    scale = float(np.abs(cross_DE).max()) or 1.0
    u_DR, _, v_RE = np.linalg.svd((cross_DE / scale).astype(np.float32), full_matrices=False)  # half the time of float64
    q_DE: F32 = (u_DR @ v_RE).astype(np.float32)
    return q_DE
