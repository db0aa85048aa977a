"""Coordinates of the residual stream that no rotation or permutation of it changes: the directions of public tokens.

Enters: embedding rows of n public tokens [n, D].  Leaves: a map P [D, n].  Who reads units through it: `begat.pipeline.sketch`.

With Ê the rows centred and of length 1, P = Ê^T (Ê Ê^T + εI)^(-1/2), the polar factor of Ê^T but for ε. Turn the residual stream by any orthogonal Q: Ê → ÊQ, a
unit's row u → uQ, P → Q^T P, so uP stays. uP keeps the part of u inside the tokens' span and its angles; ε, a share of the mean square
singular value, keeps directions that hardly any token has from being blown up.
"""

from __future__ import annotations

import numpy as np

from begat.types import F32

#: ε over the mean square singular value
_RIDGE = 0.1

# Shape suffixes: N tokens, D residual width


def centred_rows(e_ND: F32) -> F32:
    """Rows without their mean, scaled to length 1 (rows of zeros stay)."""
    x_ND = e_ND - e_ND.mean(axis=0, dtype=np.float64).astype(np.float32)
    length = np.linalg.norm(x_ND, axis=1, keepdims=True)
    out: F32 = np.divide(x_ND, length, out=np.zeros_like(x_ND), where=length > 0)
    return out


def token_frame(e_ND: F32) -> F32:
    """P [D, N]; see the module."""
    x_ND = centred_rows(e_ND).astype(np.float64)
    wide = x_ND.shape[0] <= x_ND.shape[1]
    gram = x_ND @ x_ND.T if wide else x_ND.T @ x_ND
    values, vectors = np.linalg.eigh(gram)
    values = np.maximum(values, 0.0)
    ridge = _RIDGE * float(values.mean()) or 1.0
    inverse_root = (vectors / np.sqrt(values + ridge)) @ vectors.T
    p_DN = x_ND.T @ inverse_root if wide else inverse_root @ x_ND.T
    out: F32 = p_DN.astype(np.float32)
    return out
