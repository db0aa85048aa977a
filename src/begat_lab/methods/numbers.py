"""Pieces that several methods share: p-values in logarithms, matching, CKA, the distance of a random rotation's trace.

Enters: arrays.  Leaves: numbers.  Every p is a natural logarithm, so that nothing underflows: Llama-sized children have p far below 10^-308.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.special import betainc

from begat.types import F64, I64

# N samples    D, O features    M, K units to match    H matched units


def unit_rows(x_MD: F64) -> F64:
    """Rows scaled to length 1; rows of zeros stay."""
    length_M1 = np.linalg.norm(x_MD, axis=1, keepdims=True)
    return np.asarray(x_MD / np.where(length_M1 > 0, length_M1, 1.0))


def match(gain_MK: F64, rng: np.random.Generator | None = None) -> I64:
    """MATCH: the assignment of rows to columns with the greatest sum, as column by row (rows <= columns).

    With `rng` ties are broken by lot. The solver's own choice is the order of the input, and units that are all zero in both models
    would then seem to keep their order: p = 0 from nothing.
    """
    m, k = gain_MK.shape
    if rng is None:
        return np.asarray(linear_sum_assignment(gain_MK, maximize=True)[1], dtype=np.int64)
    rows_M, cols_K = rng.permutation(m), rng.permutation(k)
    out_M = np.empty(m, dtype=np.int64)
    out_M[rows_M] = cols_K[linear_sum_assignment(gain_MK[rows_M][:, cols_K], maximize=True)[1]]
    return out_M


def spearman(x_H: I64, y_H: I64) -> float:
    """Spearman's r of two permutations of 0..H-1: 1 - 6 Σ(x - y)² / (H(H² - 1))."""
    h = len(x_H)
    d_H = (x_H - y_H).astype(np.float64)
    return float(1 - 6 * (d_H @ d_H) / (h * (h * h - 1.0)))


def log_p_spearman(r: float, h: int) -> float:
    """Natural log of P(T > r √((h-2)/(1-r²))), T Student with h-2 degrees of freedom: one-sided, approximate, as in Zhu et al.

    Never below -ln h!, the probability of the one permutation with r = 1, where the approximation would say 0.
    P(T > t) = ½ I_{1-r²}((h-2)/2, ½) for r >= 0; below what a float holds by the series of the incomplete beta function.
    """
    if h < 4:
        return 0.0  # hardly a permutation: no evidence
    a, x = (h - 2) / 2, 1 - r * r
    floor = -math.lgamma(h + 1)
    if x <= 0:
        return floor if r > 0 else 0.0
    tail = float(betainc(a, 0.5, x)) / 2
    if r < 0:
        return math.log1p(-tail)
    if tail > 1e-280:
        return max(math.log(tail), floor)
    # I_x(a, b) = x^a (1-x)^b / (a B(a, b)) * Σ_n Π_{k<=n} (a+b+k-1)/(a+k) x^n,  b = ½
    total = term = 1.0
    n = 1
    while term > 1e-16 * total and n < 1_000_000:
        term *= x * (a - 0.5 + n) / (a + n)
        total, n = total + term, n + 1
    log_beta = math.lgamma(a) + math.lgamma(0.5) - math.lgamma(a + 0.5)
    return max(math.log(0.5) + a * math.log(x) + math.log(abs(r)) - math.log(a) - log_beta + math.log(total), floor)


def log_fisher(log_ps: Sequence[float]) -> float:
    """Natural log of Fisher's combined p: P(χ²_2L >= -2 Σ ln p) = e^-s Σ_{k<L} s^k/k!, s = -Σ ln p. For independent p-values."""
    s = -math.fsum(log_ps)
    if s <= 0:
        return 0.0
    terms_L = np.array([k * math.log(s) - math.lgamma(k + 1) for k in range(len(log_ps))])
    top = float(terms_L.max())
    return min(0.0, -s + top + math.log(float(np.exp(terms_L - top).sum())))


def minus_log10(log_p: float) -> float:
    """-log10 p of a natural log p."""
    return 0.0 - log_p / math.log(10)  # 0, not -0, for p = 1


def linear_cka(x_ND: F64, y_NO: F64) -> float:
    """Biased linear CKA: HSIC(XXᵀ, YYᵀ) / √(HSIC(XXᵀ, XXᵀ) HSIC(YYᵀ, YYᵀ)); nan when a side is constant."""
    x_ND, y_NO = x_ND - x_ND.mean(0), y_NO - y_NO.mean(0)
    return _angle(x_ND @ x_ND.T, y_NO @ y_NO.T)


def unbiased_cka(x_ND: F64, y_NO: F64) -> float:
    """Linear CKA of U-centred Gram matrices (Song et al. 2012); may be negative, about 0 for independent features."""
    return _angle(u_centred(x_ND @ x_ND.T), u_centred(y_NO @ y_NO.T))


def u_centred(k_NN: F64) -> F64:
    """Diagonal 0, then k_ij - Σ_j/(n-2) - Σ_i/(n-2) + Σ/((n-1)(n-2)), diagonal 0 again."""
    n = len(k_NN)
    k_NN = k_NN - np.diag(np.diag(k_NN))
    row_N = k_NN.sum(1) / (n - 2)
    out_NN = k_NN - row_N[:, None] - row_N[None, :] + row_N.sum() / (n - 1)
    np.fill_diagonal(out_NN, 0.0)
    return np.asarray(out_NN)


def polar(m_DD: F64) -> F64 | None:
    """The orthogonal factor: PQᵀ of the singular value decomposition P S Qᵀ; None for a singular matrix, which has no one factor."""
    p_DD, s_D, q_DD = np.linalg.svd(m_DD)
    return np.asarray(p_DD @ q_DD) if s_D[-1] > 1e-10 * s_D[0] else None


def haar_rate(c: float) -> float:
    """I(c) in P(tr U >= c d) ~ exp(-d² I(c)), U Haar on O(d), d large: c²/2 to ½, then 1/8 - ¼ ln(2(1-c)) (Gross & Witten's transition).

    c is cut at 1 - 2^-24, where float32 weights end.
    """
    if c <= 0:
        return 0.0
    return c * c / 2 if c <= 0.5 else 0.125 - 0.25 * math.log(2 * max(1 - c, 2.0**-24))


def log_p_haar(s: float, d: int) -> float:
    """Natural log of a bound on P(tr U >= s), U Haar on O(d).

    Up to s = d/2 it is -s²/2 (the moments of tr U never exceed a Gaussian's). Beyond, -d² I(s/d) would be too small: rotations have d(d-1)/2
    dimensions, not d²/2, so it is -d(d-1) I(s/d). Checked against Chernoff's bound with exact moments: `tests/lab/methods/test_haar.py`.
    """
    c = s / d
    return -d * d * haar_rate(c) if c <= 0.5 else -max(d * d / 8, d * (d - 1) * haar_rate(c))


def log_p_trace(u_DD: F64) -> float:
    """Natural log of a bound on p of the greatest signed trace s of U: d! 2^d signed permutations, each P(tr U >= s)."""
    d = len(u_DD)
    size_DD = np.abs(u_DD)
    s = float(size_DD[np.arange(d), match(size_DD)].sum())
    return min(0.0, math.lgamma(d + 1) + d * math.log(2) + log_p_haar(s, d))


def _angle(k_NN: F64, l_NN: F64) -> float:
    size = float(np.linalg.norm(k_NN) * np.linalg.norm(l_NN))
    return float((k_NN * l_NN).sum()) / size if size > 0 else math.nan
