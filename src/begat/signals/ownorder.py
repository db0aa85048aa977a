"""Is the order of units of *one* model fixed by its index, seen over all its layers together?

Enters: runs of neighbouring units of one model, one block a layer.  Leaves: `Score`s, one a
pattern, each with a p value.  Single samples of scattered units are looked at by `indexed.py`;
which runs are read, and what follows: `begat.pipeline.own`.

Two questions, each asked of the weights as they are, of their squares, and of the squares of their
Fourier and Walsh coefficients along the features (a pattern that fills a matrix is a line in one):

- neighbours: T(a, b) = Σ_i <x_i, x_(i+a) shifted by b features>, all a > 0 and b, summed over
  layers. Identity, masks, Toeplitz and Paley matrices, Weyl sequences, cosines, chirps, Hadamard.
- layers: is unit i of one layer alike unit i of another (one table, or one random key, for all
  layers; also with signs, or rolled from layer to layer)? Copied layers are no pattern: pairs of
  mean cosine `COPIES` and more are left out (`kinship.py` counts them once), and every other pair is
  cut at a few standard deviations, so that a few copies that drifted apart decide nothing.

Null: the order of the units of each layer is uniform given everything else and independent of that
of other layers. Columns are centred, so that E Σ_i <x_π(i), y_i> = 0, and its variance is m times
the mean square of <x_i, y_j>; for shifted features that mean is at most the one at no shift
(tr CSCSᵀ <= tr C² for an orthogonal S), so z is too small rather than too large. A sum whose largest
term is b standard deviations of it is given the tail of Bernstein's inequality: z counts as
z/√(1 + b|z|/3). The largest of K values of |z| is given p = K·erfc(z/√2). That no random order comes
near `CERTAIN`, on weights of many structures, is simulated in `tests/signals/test_ownorder.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from begat.signals.indexed import walsh
from begat.signals.order import unit_rows
from begat.types import F32, F64, I64

# Shape suffixes: L layers (sites), M units of a run, D features, P pairs of layers

#: log10 p from which an order is fixed by index. A pattern is looked for in some fifty ways, on
#: weights whose sums are only near normal: in simulation no random order comes near it
CERTAIN = -9.0
#: mean unit cosine from which two layers are copies of each other and no pattern
COPIES = 0.7
#: units below which neighbours say nothing, pairs of layers whose rolls are looked for, and steps
#: from layer to layer at which one of several tables may come again
_LEAST, _ROLLED, _STEPS = 16, 66, 4
#: an energy is cut at so many times its mean: one large weight must not decide
_CLIP = 9.0
#: a pair of layers counts at most so many sd (its square so much), and more where few must reach `CERTAIN`
_CUT, _SQUARE_CUT, _REACH = 2.0, 6.25, 8.5
#: share of neighbouring layers that have to be alike: where each layer stands four times, three in four are
_SHARE = 0.8
#: pairs and units of each whose variance is taken exactly
_EXACT, _EXACT_UNITS = 300, 128


@dataclass(frozen=True, slots=True)
class Score:
    """What one look for a pattern found.

    Attributes:
        name: the pattern in words.
        z: the largest standardised value seen.
        log10_p: log10 of its chance under the null, all places looked at paid for.
    """

    name: str
    z: float
    log10_p: float


def own_scores(blocks: Sequence[F32], layers: Sequence[int], one_order: bool = False) -> list[Score]:
    """Scores of the blocks of one matrix kind.

    Args:
        blocks: [M, D] of each site, neighbouring units at one place, of one shape.
        layers: the layer of each. Sites of one layer (experts, heads) are not held against each
            other: they may be grown from one.
        one_order: the units of all sites have one order (the residual stream), so that only
            neighbours are asked for.
    """
    x_LMD, at = _prepared(blocks, layers, one_order)
    out = []
    for name, change in _MAPS.items():
        e_LMD = x_LMD if change is None else np.stack([_energy(change(x)) for x in x_LMD])
        if e_LMD.shape[2] < 2 and change is not None:
            continue
        found = [] if one_order else _alike(e_LMD, at)
        if e_LMD.shape[1] >= _LEAST:
            found += _neighbours(e_LMD, one_order)
        out += [Score(f"{what} {name}".rstrip(), z, p) for what, z, p in found]
    if x_LMD.shape[1] >= _LEAST and not one_order:
        out += [Score(what, z, p) for what, z, p in _rolled(x_LMD, at)]
    return out


def alike_scores(blocks: Sequence[F32], layers: Sequence[int]) -> list[Score]:
    """Scores of all matrices of a site side by side ([M, D] of each site): are layers alike?"""
    return [Score(f"{what}, all matrices", z, p) for what, z, p in _alike(*_prepared(blocks, layers))]


def _prepared(blocks: Sequence[F32], layers: Sequence[int], one_order: bool = False) -> tuple[F32, I64]:
    """(unit rows centred, layers), of layers that are copies the first."""
    x_LMD = np.stack([_centred(unit_rows([b])) for b in blocks])
    kept = list(range(len(blocks))) if one_order else _without_copies(_cosines(x_LMD))
    return x_LMD[kept], np.asarray(layers, dtype=np.int64)[kept]


def shown(scores: Sequence[Score], certain: float = CERTAIN) -> Score | None:
    """The most certain pattern, if any is certain enough."""
    best = min(scores, key=lambda s: s.log10_p, default=None)
    return best if best is not None and best.log10_p <= certain else None


def log10_p_normal(z: float, looks: float = 1.0) -> float:
    """log10 of the chance that the largest of `looks` normal values is z or more in size."""
    if z <= 0:
        return 0.0
    tail = math.erfc(z / math.sqrt(2)) if z < 30 else 0.0
    log = math.log10(tail) if tail > 0 else -(z * z / 2 + math.log(z)) / math.log(10)
    return min(0.0, log + math.log10(max(looks, 1.0)))


def row_ties(x_MD: F32, y_ND: F32) -> tuple[float, int]:
    """(largest |z| of Σ_i <x_i, y_(i+a)> over shifts a, shifts looked at): rows of length 1.

    Null: the order of the rows of x is uniform given y. With the columns of x centred the sum has
    mean 0, and its variance is the sum of squares in the columns of x yᵀ that take part, over m - 1.
    """
    m_MN = (_centred(x_MD) @ y_ND.T).astype(np.float64)
    m, n = m_MN.shape
    squares = np.concatenate([[0.0], np.cumsum(np.square(m_MN).sum(axis=0))]) / max(1, m - 1)
    best, shifts = 0.0, range(_LEAST // 2 - m, n - _LEAST // 2 + 1)
    for a in shifts:
        taken = squares[min(n, m + a)] - squares[max(0, a)]
        if taken > 1e-12:
            best = max(best, abs(float(np.trace(m_MN, offset=a))) / math.sqrt(taken))
    return best, len(shifts)


# --- maps ---------------------------------------------------------------------------------------


def _fourier(x_MD: F32) -> F32:
    waves: F32 = np.square(np.abs(np.fft.rfft(x_MD, axis=1)[:, 1:])).astype(np.float32)
    return waves


def _walsh(x_MD: F32) -> F32:
    return np.square(walsh(x_MD)[:, 1:])


_MAPS: dict[str, Callable[[F32], F32] | None] = {
    "": None, "by size": np.square, "by Fourier coefficients": _fourier, "by Walsh coefficients": _walsh,
}  # fmt: skip


def _energy(e_MD: F32) -> F32:
    """Energies cut, centred, units scaled to length 1."""
    if not e_MD.size:
        return e_MD
    e_MD = np.minimum(e_MD / max(float(e_MD.mean()), 1e-30), np.float32(_CLIP))
    e_MD = e_MD - e_MD.mean(axis=0)
    return _centred(e_MD / np.maximum(np.linalg.norm(e_MD, axis=1, keepdims=True), np.float32(1e-12)))


def _centred(x_MD: F32) -> F32:
    out: F32 = (x_MD - x_MD.mean(axis=0)).astype(np.float32, copy=False)
    return out


# --- what is asked ------------------------------------------------------------------------------


def _alike(x_LMD: F32, layers: I64) -> list[tuple[str, float, float]]:
    """(question, z, log10 p): is unit i of one layer alike unit i of others?"""
    apart = np.not_equal.outer(layers, layers)
    if not apart.any():
        return []
    z_LL, pairs = _pairs(x_LMD), np.triu(apart, 1)
    out = [("layers alike", *_together(z_LL[pairs]))]
    for step in range(1, _STEPS + 1):
        along = apart.diagonal(step)
        if along.sum() > 1:
            out.append((f"layers alike, every {step}", *_most(z_LL.diagonal(step)[along])))
    out.append(("layers alike or opposite", *_in_size(_exact_pairs(x_LMD, np.argwhere(pairs)))))
    return out


def _neighbours(x_LMD: F32, one_order: bool) -> list[tuple[str, float, float]]:
    """(question, z, log10 p) of neighbouring units, and of layers rolled by one step from each to the next."""
    count, m, d = x_LMD.shape
    spread_L, most_L = _spread([x @ x.T for x in x_LMD])
    same_LL = np.square(_cosines(x_LMD))  # layers that are alike hear of each other's neighbours
    variance = float(np.sqrt(spread_L) @ same_LL @ np.sqrt(spread_L))
    if one_order:
        variance = float(_spread([np.sum([x @ x.T for x in x_LMD], axis=0)])[0][0])
    f_LMK = np.fft.rfft2(x_LMD, axes=(1, 2))
    found = np.fft.irfft2(np.square(np.abs(f_LMK)).sum(axis=0), s=(m, d))
    found = found[1 : m // 2] + found[0] / (m - 1)
    out = [("neighbours", *_largest(found, m * variance, float(most_L.max())))]
    f_LMK /= np.sqrt(np.sqrt(spread_L))[:, None, None].astype(np.float32)
    for step in (1, 2):
        if count > step and not one_order:
            found = np.fft.irfft2((f_LMK[step:] * np.conj(f_LMK[:-step])).sum(axis=0), s=(m, d))
            found[0, 0] = 0.0  # copied layers stand there
            variance = float(np.sqrt(same_LL[step:, step:] * same_LL[:-step, :-step]).sum())
            most = float((most_L / np.sqrt(spread_L)).max())
            out.append((f"layers rolled, every {step}", *_largest(found, m * variance, most)))
    return out


def _largest(sums: F32, variance: float, term: float) -> tuple[float, float]:
    """(z, log10 p) of the largest of some sums of terms that are at most `term`."""
    sd = math.sqrt(max(variance, 1e-24))
    z = float(np.abs(sums).max(initial=0.0)) / sd
    return z, log10_p_normal(float(_bernstein(np.array(z), term / sd)), sums.size)


def _bernstein(z: F64, term: F64 | float) -> F64:
    """Z with the normal tail that Bernstein's inequality gives it; `term`: the largest term of the sum in its sd."""
    return np.asarray(z / np.sqrt(1 + np.abs(z) * term / 3))


def _spread(grams: Sequence[F32]) -> tuple[F64, F64]:
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


def _cosines(x_LMD: F32) -> F64:
    """Mean cosine of units at one index, [L, L]."""
    flat = x_LMD.reshape(len(x_LMD), -1)
    flat = flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-12)
    return np.asarray(flat @ flat.T, dtype=np.float64)


def _without_copies(cosine_LL: F64) -> list[int]:
    """The layers that are no copy of an earlier one that is kept."""
    kept: list[int] = []
    for i in range(len(cosine_LL)):
        if not any(cosine_LL[i, j] >= COPIES for j in kept):
            kept.append(i)
    return kept


def _pairs(x_LMD: F32) -> F64:
    """Z of Σ_i <x_i, y_i> of all pairs of layers, [L, L]; its variance from the spread inside the two."""
    count, m, d = x_LMD.shape
    if m < _LEAST:  # so few that moments are taken exactly
        at = np.argwhere(np.ones((count, count), dtype=bool))
        return _exact(*(x_LMD[i] for i in at.T)).reshape(count, count)
    spread_L, most_L = _spread([x @ x.T for x in x_LMD])
    scale_L = np.sqrt(np.sqrt(spread_L))
    flat = (x_LMD / scale_L[:, None, None].astype(np.float32)).reshape(count, -1)
    term_LL = np.maximum.outer(most_L, most_L) / np.outer(scale_L, scale_L) / math.sqrt(m)
    return _bernstein(np.asarray(flat @ flat.T / math.sqrt(m), dtype=np.float64), term_LL)


def _exact_pairs(x_LMD: F32, at_P2: I64) -> F64:
    """Z of some pairs of layers with the exact variance, [P]."""
    at_P2 = at_P2[np.linspace(0, len(at_P2) - 1, min(_EXACT, len(at_P2))).astype(int)]
    x_LMD = x_LMD[:, :_EXACT_UNITS]
    x_LMD = x_LMD - x_LMD.mean(axis=1, keepdims=True)
    return np.concatenate([_exact(x_LMD[i : i + 1], x_LMD[j : j + 1]) for i, j in at_P2])


def _exact(x_PMD: F32, y_PMD: F32) -> F64:
    """Z of Σ_i <x_i, y_i> over all orders of the units of x, [P]."""
    m_PMM = (x_PMD @ y_PMD.transpose(0, 2, 1)).astype(np.float64)
    m_PMM -= m_PMM.mean(axis=1, keepdims=True)
    m_PMM -= m_PMM.mean(axis=2, keepdims=True)
    sd_P = np.sqrt(np.square(m_PMM).sum(axis=(1, 2)) / max(1, m_PMM.shape[1] - 1))
    z_P = np.trace(m_PMM, axis1=1, axis2=2) / np.maximum(sd_P, 1e-12)
    return _bernstein(z_P, np.abs(m_PMM).max(axis=(1, 2)) / np.maximum(sd_P, 1e-12))


def _cut(pairs: int) -> float:
    return max(_CUT, 1.3 * _REACH / math.sqrt(pairs))


def _together(z_P: F64) -> tuple[float, float]:
    """All pairs lean one way."""
    cut = _cut(len(z_P))
    z = abs(float(np.clip(z_P, -cut, cut).sum())) / math.sqrt(len(z_P) * _square_cut(cut))
    return z, log10_p_normal(z)


def _most(z_P: F64) -> tuple[float, float]:
    """(z, log10 p) of the value that `_SHARE` of the pairs reach, half of which may do so for being copies: C(h, k) P(z)^k of the other h."""
    n = len(z_P)
    reach, others = math.ceil(_SHARE * n), n - n // 2
    z, k = float(np.sort(z_P)[n - reach]), reach - n // 2
    ways = (math.lgamma(others + 1) - math.lgamma(k + 1) - math.lgamma(others - k + 1)) / math.log(10)
    one = log10_p_normal(z) - math.log10(2) if z > 0 else 0.0
    return z, min(0.0, ways + k * one)


def _in_size(z_P: F64) -> tuple[float, float]:
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


def _rolled(x_LMD: F32, layers: I64) -> list[tuple[str, float, float]]:
    """Layers alike after a roll of their features, any for each pair.

    Shifting the units of one layer in a circle is an order like any other, so under the null the
    largest value over feature rolls is distributed alike at every unit shift: what stands at shift
    0 is held against the others.
    """
    at = np.argwhere(np.triu(np.not_equal.outer(layers, layers), 1))
    _, m, d = x_LMD.shape
    if not len(at) or d < 2:
        return []
    at = at[np.linspace(0, len(at) - 1, min(_ROLLED, len(at))).astype(int)]
    f_LMK = np.fft.rfft2(x_LMD, axes=(1, 2))
    sums = np.zeros(m)
    for i, j in at:  # copied layers stand at no roll
        sums += np.abs(np.fft.irfft2(f_LMK[i] * np.conj(f_LMK[j]), s=(m, d))[:, 1:]).max(axis=1)
    sd = float(sums[1:].std())
    z = float(sums[0] - sums[1:].mean()) / sd if sd > 0 else 0.0
    return [("layers rolled along features", z, _student(z, m - 2))]


def _student(z: float, freedom: int) -> float:
    """log10 of the one-sided chance of z in Student's t, bounded by its leading term."""
    if z <= 1:
        return 0.0
    const = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2) - 0.5 * math.log(freedom * math.pi)
    log = const - (freedom + 1) / 2 * math.log1p(z * z / freedom) + math.log((freedom + z * z) / ((freedom) * z))
    return min(0.0, log / math.log(10))
