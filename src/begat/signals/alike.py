"""Sums over units at one index of two matrices of *one* model: are they alike, and by what chance?

Enters: unit rows of several layers, centred.  Leaves: z and log10 p.  Who asks: `ownorder.py`, `begat.pipeline.own`.

Null: the order of the units of each matrix is uniform given everything else, independent of the others. With centred
columns Σ_i <x_π(i), y_i> has mean 0, and its variance is Σ_ij d_ij²/(m - 1), d the products centred both ways (Hoeffding,
"A combinatorial central limit theorem", Annals of Mathematical Statistics 22, 1951). A sum whose largest term is b of its
standard deviations is given the tail of Bernstein's inequality: z counts as z/√(1 + b|z|/3).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from begat.types import F32, F64, I64

# Shape suffixes: L layers, M units, N units of another matrix, D features, P pairs of layers

#: units below which exact moments are taken for all pairs
FEW = 16
#: a pair of layers counts at most so many sd (its square so much), and more where few pairs must reach so many together
_CUT, _SQUARE_CUT, _REACH = 2.0, 6.25, 8.5
#: share of neighbouring layers that have to be alike: where each layer stands four times, three in four are
_SHARE = 0.8
#: pairs and units of each whose variance is taken exactly
_EXACT, _EXACT_UNITS = 36, 64


def log10_p_normal(z: float, looks: float = 1.0) -> float:
    """log10 of the chance that the largest of `looks` normal values is z or more in size."""
    if z <= 0:
        return 0.0
    tail = math.erfc(z / math.sqrt(2)) if z < 30 else 0.0
    log = math.log10(tail) if tail > 0 else -(z * z / 2 + math.log(z)) / math.log(10)
    return min(0.0, log + math.log10(max(looks, 1.0)))


def student(z: float, freedom: int) -> float:
    """log10 of the one-sided chance of z in Student's t, bounded by its leading term."""
    if z <= 1:
        return 0.0
    const = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2) - 0.5 * math.log(freedom * math.pi)
    log = const - (freedom + 1) / 2 * math.log1p(z * z / freedom) + math.log((freedom + z * z) / ((freedom) * z))
    return min(0.0, log / math.log(10))


def row_ties(x_MD: F32, y_ND: F32) -> tuple[float, int]:
    """(largest |z| of Σ_i <x_i, y_(i+a)> over shifts a, shifts looked at): rows of length 1.

    Null: the order of the rows of x is uniform given y. With the columns of x centred the sum has
    mean 0, and its variance is the sum of squares in the columns of x yᵀ that take part, over m - 1.
    """
    m_MN = ((x_MD - x_MD.mean(axis=0)) @ y_ND.T).astype(np.float64)
    m, n = m_MN.shape
    squares = np.concatenate([[0.0], np.cumsum(np.square(m_MN).sum(axis=0))]) / max(1, m - 1)
    shifts, term = range(FEW // 2 - m, n - FEW // 2 + 1), max(float(m_MN.max()), -float(m_MN.min()))
    best = 0.0
    for a in shifts:
        sd = math.sqrt(max(float(squares[min(n, m + a)] - squares[max(0, a)]), 1e-24))
        best = max(best, float(bernstein(np.array(abs(np.trace(m_MN, offset=a)) / sd), term / sd)))
    return best, len(shifts)


def bernstein(z: F64, term: F64 | float) -> F64:
    """Z with the normal tail that Bernstein's inequality gives it; `term`: the largest term of the sum in its sd."""
    return np.asarray(z / np.sqrt(1 + np.abs(z) * term / 3))


def spread(grams: Sequence[F32]) -> tuple[F64, F64]:
    """(variance, largest size) of <x_i, x_j> between unlike units, of every table of them [M, M]."""
    out, most, m = [], [], len(grams[0])
    for g_MM in grams:
        own, n = g_MM.diagonal().astype(np.float64), max(1, m * (m - 1))
        squares = float(np.vdot(g_MM, g_MM)) - float(own @ own)
        mean = (float(g_MM.sum(dtype=np.float64)) - float(own.sum())) / n
        out.append(max(1e-12, squares / n - mean * mean))
        np.fill_diagonal(g_MM, 0.0)
        most.append(max(float(g_MM.max()), -float(g_MM.min())))
    return np.array(out), np.array(most)


def all_pairs(x_LMD: F32) -> F64:
    """Z of Σ_i <x_i, y_i> of all pairs of layers, [L, L]; its variance from the spread inside the two."""
    count, m, d = x_LMD.shape
    if m < FEW:  # so few that moments are taken exactly
        rows = x_LMD.reshape(-1, d)
        return _moments((rows @ rows.T).reshape(count, m, count, m).transpose(0, 2, 1, 3))
    spread_L, most_L = spread([x @ x.T for x in x_LMD])
    scale_L = np.sqrt(np.sqrt(spread_L))
    flat = (x_LMD / scale_L[:, None, None].astype(np.float32)).reshape(count, -1)
    term_LL = np.maximum.outer(most_L, most_L) / np.outer(scale_L, scale_L) / math.sqrt(m)
    return bernstein(np.asarray(flat @ flat.T / math.sqrt(m), dtype=np.float64), term_LL)


def some_pairs(x_LMD: F32, at_P2: I64) -> F64:
    """Z of some pairs of layers with the exact variance, [P]."""
    at_P2 = at_P2[np.linspace(0, len(at_P2) - 1, min(_EXACT, len(at_P2))).astype(int)]
    x_LMD = x_LMD[:, :_EXACT_UNITS]
    x_LMD = x_LMD - x_LMD.mean(axis=1, keepdims=True)
    return np.array([_moments(x_LMD[i] @ x_LMD[j].T) for i, j in at_P2])


def _moments(m_MM: F32) -> F64:
    """Z of the sum of the diagonal over all orders of the rows, of each table of products [..., M, M]."""
    m_MM = m_MM.astype(np.float64)
    m_MM -= m_MM.mean(axis=-2, keepdims=True)
    m_MM -= m_MM.mean(axis=-1, keepdims=True)
    sd = np.maximum(np.sqrt(np.square(m_MM).sum(axis=(-2, -1)) / max(1, m_MM.shape[-1] - 1)), 1e-12)
    z = np.trace(m_MM, axis1=-2, axis2=-1) / sd
    return bernstein(z, np.maximum(m_MM.max(axis=(-2, -1)), -m_MM.min(axis=(-2, -1))) / sd)


def _cut(pairs: int) -> float:
    return max(_CUT, 1.3 * _REACH / math.sqrt(pairs))


def lean_one_way(z_P: F64) -> tuple[float, float]:
    """All pairs lean one way."""
    cut = _cut(len(z_P))
    z = abs(float(np.clip(z_P, -cut, cut).sum())) / math.sqrt(len(z_P) * _square_cut(cut))
    return z, log10_p_normal(z)


def most_alike(z_P: F64) -> tuple[float, float]:
    """(z, log10 p) of the value that `_SHARE` of the pairs reach, half of which may do so for being copies: C(h, k) P(z)^k of the other h."""
    n = len(z_P)
    reach, others = math.ceil(_SHARE * n), n - n // 2
    z, k = float(np.sort(z_P)[n - reach]), reach - n // 2
    ways = (math.lgamma(others + 1) - math.lgamma(k + 1) - math.lgamma(others - k + 1)) / math.log(10)
    one = log10_p_normal(z) - math.log10(2) if z > 0 else 0.0
    return z, min(0.0, ways + k * one)


def lean_either_way(z_P: F64) -> tuple[float, float]:
    """All pairs lean either way: Σ z² cut, whose mean is at most n whatever the weights, against the bound of Laurent and
    Massart on a chi-squared variable, exp(-t) for n + 2√(nt) + 2t (Annals of Statistics 28, 2000).
    """
    n = len(z_P)
    squares = np.minimum(np.square(z_P), max(_SQUARE_CUT, 1 + 3 * _REACH**2 / n))
    over = float(squares.sum()) - n
    if over <= 0:
        return 0.0, 0.0
    t = ((math.sqrt(n + 2 * over) - math.sqrt(n)) / 2) ** 2
    return over / math.sqrt(2 * n), -t / math.log(10)


def _square_cut(cut: float) -> float:
    """E min(z², cut²) of a normal z."""
    tail = math.erfc(cut / math.sqrt(2))
    return 1 - tail - cut * math.sqrt(2 / math.pi) * math.exp(-cut * cut / 2) + cut * cut * tail
