"""Is the order of units of *one* model fixed by its index, seen over all its layers together?

Enters: runs of neighbouring units of one model, one block a layer.  Leaves: `Score`s, one a
pattern, each with a p value.  Single samples of scattered units are looked at by `indexed.py`;
which runs are read, and what follows: `begat.pipeline.own`.

Two questions, each asked of the weights as they are, of their squares, and of the squares of their
Fourier and Walsh coefficients along the features (a pattern that fills a matrix is a line in one):

- neighbours: T(a, b) = Σ_i <x_i, x_(i+a) shifted by b features>, all a > 0 and b, summed over
  layers. Identity, masks, Toeplitz and Paley matrices, Weyl sequences, cosines, chirps, Hadamard.
- layers: is unit i of one layer alike unit i of another (one table, or one random key, for all
  layers; also with signs, or rolled from layer to layer)? Copied layers are no pattern: of layers
  with a mean cosine of `COPIES` and more the first is looked at (`kinship.py` counts them once), and
  no pair counts more than a few standard deviations, so that copies that drifted apart decide little.

Null: the order of the units of each layer is uniform given everything else and independent of that
of other layers (moments and tails: `alike.py`). For shifted features the mean square of <x_i, y_j> is
at most the one at no shift (tr CSCSᵀ <= tr C² for an orthogonal S), so z is too small rather than too
large. The largest of K values of |z| is given p = K·erfc(z/√2). That no random order comes near
`CERTAIN`, on weights of many structures, is simulated in `tests/signals/test_ownorder.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from begat.signals.alike import (
    FEW,
    all_pairs,
    bernstein,
    lean_either_way,
    lean_one_way,
    log10_p_normal,
    most_alike,
    some_pairs,
    spread,
    student,
)
from begat.signals.indexed import walsh
from begat.signals.order import unit_rows
from begat.types import F32, F64, I64

# Shape suffixes: L layers (sites), M units of a run, D features, P pairs of layers

#: log10 p from which an order is fixed by index. A pattern is looked for in some fifty ways, on
#: weights whose sums are only near normal: in simulation no random order comes near it
CERTAIN = -9.0
#: mean unit cosine from which two layers are copies of each other and no pattern
COPIES = 0.7
#: pairs of layers whose rolls are looked for, and steps from layer to layer at which one of several
#: tables may come again
_ROLLED, _STEPS = 36, 4
#: an energy is cut at so many times its mean: one large weight must not decide
_CLIP = 9.0


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
        if e_LMD.shape[1] >= FEW:
            found += _neighbours(e_LMD, one_order)
        out += [Score(f"{what} {name}".rstrip(), z, p) for what, z, p in found]
    if x_LMD.shape[1] >= FEW and not one_order:
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
    z_LL, pairs = all_pairs(x_LMD), np.triu(apart, 1)
    out = [("layers alike", *lean_one_way(z_LL[pairs]))]
    for step in range(1, _STEPS + 1):
        along = apart.diagonal(step)
        if along.sum() > 1:
            out.append((f"layers alike, every {step}", *most_alike(z_LL.diagonal(step)[along])))
    out.append(("layers alike or opposite", *lean_either_way(some_pairs(x_LMD, np.argwhere(pairs)))))
    return out


def _neighbours(x_LMD: F32, one_order: bool) -> list[tuple[str, float, float]]:
    """(question, z, log10 p) of neighbouring units, and of layers rolled by one step from each to the next."""
    count, m, d = x_LMD.shape
    spread_L, most_L = spread([x @ x.T for x in x_LMD])
    same_LL = np.square(_cosines(x_LMD))  # layers that are alike hear of each other's neighbours
    variance = float(np.sqrt(spread_L) @ same_LL @ np.sqrt(spread_L))
    if one_order:
        variance = float(spread([np.sum([x @ x.T for x in x_LMD], axis=0)])[0][0])
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


def _largest(sums: F32 | F64, variance: float, term: float) -> tuple[float, float]:
    """(z, log10 p) of the largest of some sums of terms that are at most `term`."""
    sd = math.sqrt(max(variance, 1e-24))
    z = float(np.abs(sums).max(initial=0.0)) / sd
    return z, log10_p_normal(float(bernstein(np.array(z), term / sd)), sums.size)


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
    return [("layers rolled along features", z, student(z, m - 2))]
