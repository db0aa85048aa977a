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
(tr CSCSᵀ <= tr C² for an orthogonal S), so z is too small rather than too large. The largest of K
values of |z| is given p = K·erfc(z/√2). Sums of m·D terms over layers are near normal; how near, on
weights of many structures, is simulated in `tests/signals/test_ownorder.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from begat.signals.indexed import walsh
from begat.signals.order import unit_rows
from begat.types import F32, F64

# Shape suffixes: L layers (sites), M units of a run, D features, P pairs of layers

#: log10 p from which an order is fixed by index. A pattern is looked for in some fifty ways, on
#: weights whose sums are only near normal: in simulation no random order comes near it
CERTAIN = -9.0
#: mean unit cosine from which two layers are copies of each other and no pattern
COPIES = 0.7
#: units below which neighbours say nothing, and pairs of layers whose rolls are looked for
_LEAST, _ROLLED = 16, 66
#: an energy is cut at so many times its mean: one large weight must not decide
_CLIP = 9.0
#: a pair of layers counts at most so many sd, and more where few pairs must reach `CERTAIN`
_CUT, _REACH = 2.0, 8.5


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


def own_scores(blocks: Sequence[F32], layers: Sequence[int]) -> list[Score]:
    """Scores of the blocks of one matrix kind.

    Args:
        blocks: [M, D] of each site, neighbouring units at one place, of one shape.
        layers: the layer of each. Sites of one layer (experts, heads) are not held against each
            other: they may be grown from one.
    """
    x_LMD = np.stack([_centred(unit_rows([b])) for b in blocks])
    apart = np.not_equal.outer(np.asarray(layers), np.asarray(layers))
    apart &= _cosines(x_LMD) < COPIES
    out = []
    for name, change in _MAPS.items():
        e_LMD = x_LMD if change is None else np.stack([_energy(change(x)) for x in x_LMD])
        if e_LMD.shape[2] > 1 or change is None:
            out += [Score(f"{what} {name}", z, p) for what, z, p in _of_map(e_LMD, apart)]
    if x_LMD.shape[1] >= _LEAST:
        out += [Score(f"layers {what}", z, p) for what, z, p in _rolled(x_LMD, apart)]
    return out


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


def equal_index(x_MD: F32, y_MD: F32) -> float:
    """Z of Σ_i <x_i, y_i> over all orders of the rows of x; exact moments."""
    m_MM = (x_MD @ y_MD.T).astype(np.float64)
    d_MM = m_MM - m_MM.mean(axis=0) - m_MM.mean(axis=1)[:, None] + m_MM.mean()
    sd = math.sqrt(float(np.square(d_MM).sum()) / max(1, len(m_MM) - 1))
    return float(np.trace(d_MM)) / sd if sd > 1e-12 else 0.0


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


def _of_map(x_LMD: F32, apart: np.ndarray) -> list[tuple[str, float, float]]:
    """(question, z, log10 p) in one map."""
    count, m, d = x_LMD.shape
    out = []
    pairs_P = _pairs(x_LMD, apart)
    if pairs_P.size:
        out += [("layers alike", *_together(pairs_P)), ("layers alike or opposite", *_in_size(pairs_P))]
    if m < _LEAST:
        return out
    spread_L = np.maximum(_spread(x_LMD), 1e-12)
    f_LMK = np.fft.rfft2(x_LMD, axes=(1, 2))
    found = np.fft.irfft2(np.square(np.abs(f_LMK)).sum(axis=0), s=(m, d))
    found = found[1 : m // 2] + found[0] / (m - 1)
    z = float(np.abs(found).max()) / math.sqrt(m * float(spread_L.sum()))
    out.append(("neighbours", z, log10_p_normal(z, found.size)))
    f_LMK /= np.sqrt(np.sqrt(spread_L))[:, None, None].astype(np.float32)
    for step in (1, 2):
        if count > step:
            found = np.fft.irfft2((f_LMK[step:] * np.conj(f_LMK[:-step])).sum(axis=0), s=(m, d))
            found[0, 0] = 0.0  # copied layers stand there
            z = float(np.abs(found).max()) / math.sqrt(m * (count - step))
            out.append((f"layers rolled, every {step}", z, log10_p_normal(z, found.size)))
    return out


def _spread(x_LMD: F32) -> F64:
    """Variance of <x_i, x_j> between unlike units, per site."""
    out, m = [], x_LMD.shape[1]
    for x_MD in x_LMD:
        g_MM = x_MD @ x_MD.T
        own, n = g_MM.diagonal().astype(np.float64), max(1, m * (m - 1))
        squares = float(np.vdot(g_MM, g_MM)) - float(own @ own)
        mean = (float(g_MM.sum(dtype=np.float64)) - float(own.sum())) / n
        out.append(max(0.0, squares / n - mean * mean))
    return np.array(out)


def _cosines(x_LMD: F32) -> F64:
    """Mean cosine of units at one index, [L, L]."""
    flat = x_LMD.reshape(len(x_LMD), -1)
    flat = flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-12)
    return np.asarray(flat @ flat.T, dtype=np.float64)


def _pairs(x_LMD: F32, apart: np.ndarray) -> F64:
    """Z of Σ_i <x_i, y_i> of all pairs of layers that are apart."""
    at = np.triu(apart, 1)
    if not at.any():
        return np.zeros(0)
    count, m, _ = x_LMD.shape
    if m < _LEAST:
        return np.array([equal_index(x_LMD[i], x_LMD[j]) for i, j in zip(*np.nonzero(at), strict=True)])
    spread_L = np.sqrt(np.maximum(_spread(x_LMD), 1e-12))
    flat = (x_LMD / np.sqrt(spread_L)[:, None, None].astype(np.float32)).reshape(count, -1)
    return np.asarray((flat @ flat.T)[at] / math.sqrt(m), dtype=np.float64)


def _cut(pairs: int) -> float:
    return max(_CUT, 1.3 * _REACH / math.sqrt(pairs))


def _together(z_P: F64) -> tuple[float, float]:
    """All pairs lean one way."""
    cut = _cut(len(z_P))
    z = abs(float(np.clip(z_P, -cut, cut).sum())) / math.sqrt(len(z_P) * _square_cut(cut))
    return z, log10_p_normal(z)


def _in_size(z_P: F64) -> tuple[float, float]:
    """All pairs lean either way: their sizes against those of normal values, cut alike."""
    cut = _cut(len(z_P))
    mean = math.sqrt(2 / math.pi) * (1 - math.exp(-cut * cut / 2)) + cut * math.erfc(cut / math.sqrt(2))
    sd = math.sqrt(max(_square_cut(cut) - mean * mean, 1e-12))
    z = float((np.minimum(np.abs(z_P), cut) - mean).sum()) / (sd * math.sqrt(len(z_P)))
    return z, log10_p_normal(z)


def _square_cut(cut: float) -> float:
    """E min(z², cut²) of a normal z."""
    tail = math.erfc(cut / math.sqrt(2))
    return 1 - tail - cut * math.sqrt(2 / math.pi) * math.exp(-cut * cut / 2) + cut * cut * tail


def _rolled(x_LMD: F32, apart: np.ndarray) -> list[tuple[str, float, float]]:
    """Layers alike after a roll of features (or of units) of their own.

    Shifting the units of one layer in a circle is an order like any other, so under the null the
    largest value over feature rolls is distributed alike at every unit shift: what stands at shift
    0 is held against the others.
    """
    at = np.argwhere(np.triu(apart, 1))
    if not len(at):
        return []
    at = at[np.linspace(0, len(at) - 1, min(_ROLLED, len(at))).astype(int)]
    _, m, d = x_LMD.shape
    f_LMK = np.fft.rfft2(x_LMD, axes=(1, 2))
    units, features = np.zeros(m), np.zeros(d)
    for i, j in at:
        found = np.abs(np.fft.irfft2(f_LMK[i] * np.conj(f_LMK[j]), s=(m, d)))
        units += found[:, 1:].max(axis=1, initial=0.0)  # copied layers stand at no roll
        features += found[1:].max(axis=0)
    out = []
    for what, sums in (("rolled along features", units), ("rolled along units", features)):
        if len(sums) >= _LEAST and sums[1:].std() > 0:
            z = float((sums[0] - sums[1:].mean()) / sums[1:].std())
            out.append((what, z, _student(z, len(sums) - 2)))
    return out


def _student(z: float, freedom: int) -> float:
    """log10 of the one-sided chance of z in Student's t, bounded by its leading term."""
    if z <= 1:
        return 0.0
    const = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2) - 0.5 * math.log(freedom * math.pi)
    log = const - (freedom + 1) / 2 * math.log1p(z * z / freedom) + math.log((freedom + z * z) / ((freedom) * z))
    return min(0.0, log / math.log(10))
