"""Where the residual stream of one model lies in that of another: orthogonal Procrustes (Schönemann, Psychometrika 31, 1966).

Enters: matrices of A and B whose rows are the same things (tokens that both know, units of one layer).  Leaves: a map from A's residual
stream to B's. It is no evidence: between strangers there is a best map too. Evidence is what is found *through* it on symmetries it was not
fitted on (statistics.md §3); who does that: `begat.pipeline.frames` and `begat.pipeline.search`.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from begat.types import F32, F64

#: share of the greatest singular value under which a direction is rounding noise
_RANK = 1e-6

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
    """The map Q [D, E] with orthonormal rows or columns that maximises tr(Q^T cross): U V^T of the singular value decomposition.

    U and the singular values are taken from the eigenvectors of cross cross^T in float64, half the time of a decomposition of `cross` itself.
    Directions whose singular value is under `_RANK` of the greatest are not pulled anywhere; they are filled up with any orthonormal ones.
    """
    if cross_DE.shape[0] > cross_DE.shape[1]:
        return np.ascontiguousarray(rotation(cross_DE.T).T)
    c_DE = cross_DE.astype(np.float64) / (float(np.abs(cross_DE).max()) or 1.0)
    values_D, u_DD = np.linalg.eigh(c_DE @ c_DE.T)
    s_D = np.sqrt(np.maximum(values_D, 0))
    pulled = s_D > _RANK * s_D[-1]
    u_DR = u_DD[:, pulled]
    v_RE = ((u_DR / s_D[pulled]).T @ c_DE).astype(np.float32)
    q_DE = u_DR.astype(np.float32) @ v_RE
    if not pulled.all():
        whole_EE = np.linalg.qr(v_RE.T, mode="complete")[0]
        q_DE += u_DD[:, ~pulled].astype(np.float32) @ whole_EE[:, len(v_RE) :].T[: len(u_DD) - len(v_RE)]
    # one Newton-Schulz step: small directions lost digits when they were squared
    return np.asarray(1.5 * q_DE - 0.5 * ((q_DE @ q_DE.T) @ q_DE), dtype=np.float32)
