"""Do the units of *one* model stand in an order that its index fixes?

Enters: features of sampled units of one model, with their indices.  Leaves: z scores, one per pattern and view.  The order test needs units that
could stand in any order in at least one of the two models; where *both* stand by one pattern, equal order proves nothing: matrices
initialised with the identity, Hadamard, cosine or sinusoid tables, masks and blocks laid out by index, units sorted by size or
importance, a residual stream in principal components. The pipeline leaves such tests out (`begat.pipeline.exact`).

Null: the order of the units is uniform given everything else. Each score is (T - E T)/sd T with the exact moments of T over all orders:
T = Σ_ij S_ij W_ij, S likeness of two units, W nearness of their indices (Mantel, "The detection of disease clustering and a
generalized regression approach", Cancer Research 27, 1967). A score looks at one model alone, never at A against B.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from begat.signals.order import unit_rows
from begat.types import F32, F64, I64

#: units below which the scores say nothing
LEAST = 8
#: z from which an order stands by index, of one test, and of several summed over their root
INDEXED, TOGETHER = 9.0, 7.0
#: one odd pair of units must not decide: likeness is cut at so many standard deviations
_CLIP = 3.0
_PERIODS = (2, 3, 4, 8, 16, 32, 64, 128)
#: columns that are looked at closely, to bound the time
_COLUMNS = 512
#: units that are looked at, evenly spread over the sampled ones: likeness takes their square
_UNITS = 128


def index_scores(blocks: Sequence[F32], units: I64, places: I64) -> F64:
    """Z scores [patterns], in one order for equal block shapes and units.

    Args:
        blocks: [m, D_view] per view, of the sampled units (views of one column are taken together).
        units: their indices [m].
        places: indices of the columns of views whose columns were sampled (as many as these), else of no use.
    """
    if len(units) > _UNITS:
        some = np.linspace(0, len(units) - 1, _UNITS).astype(np.int64)
        blocks, units = [b[some] for b in blocks], units[some]
    thin = [b for b in blocks if b.shape[1] == 1]
    wide = [b for b in blocks if b.shape[1] > 1] + ([np.concatenate(thin, axis=1)] if len(thin) > 1 else [])
    if len(units) < LEAST or not wide:
        return np.zeros(0)
    scores = [np.zeros(0)]
    for block in wide:
        # a tensor and its partner can be rescaled at will, and squares of very large weights leave float32
        block = block * np.float32(2.0 ** -np.clip(np.frexp(np.abs(block).max(initial=0))[1], -120, 120))
        at = places if block.shape[1] == len(places) else np.arange(block.shape[1])
        likeness = np.stack([_centred(s) for s in _likeness(block, at)])
        near = _near(units.astype(np.int64).tobytes(), int(at.max()) + 1)
        scores.append(np.append(_mantel(likeness, near).ravel(), _own_place(block, units, at)))
    return np.concatenate(scores)


def indexed(a: F64, b: F64) -> bool:
    """Both models stand by one and the same pattern."""
    return bool(a.size and a.shape == b.shape and (np.minimum(a, b) >= INDEXED).any())


def _likeness(block: F32, places: I64) -> list[F64]:
    """How alike any two units are: as vectors, by where they are large, and as ranks of size, peak, tone and Walsh index."""
    size, some = np.abs(block), block[:, :_COLUMNS]
    waves = np.abs(np.fft.rfft(some, axis=1))
    waves[:, 0] = 0
    cosines = [_cosine(some), _cosine(size[:, :_COLUMNS])]
    marks = [
        np.linalg.norm(block, axis=1),
        places[size.argmax(axis=1)],
        waves.argmax(axis=1),
        np.abs(walsh(some)).argmax(axis=1),
    ]
    return cosines + [-np.abs(np.subtract.outer(r, r)) for r in (_ranks(m) for m in marks)]


def _cosine(block: F32) -> F64:
    rows = unit_rows([block])
    return (rows @ rows.T).astype(np.float64)


def _ranks(values: np.ndarray) -> F64:
    """Ranks, equal values sharing their mean."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts - 1) / 2.0)[inverse])


def walsh(block: F32) -> F32:
    """Walsh-Hadamard coefficients of every row, padded to a power of two."""
    bits = max(1, int(block.shape[1] - 1).bit_length())
    out = np.zeros((len(block), 1 << bits), dtype=np.float32)
    out[:, : block.shape[1]] = block
    high, low = _hadamard(bits // 2), _hadamard(bits - bits // 2)
    made: F32 = (high @ out.reshape(len(block), len(high), len(low)) @ low).reshape(out.shape).astype(np.float32, copy=False)
    return made


@functools.lru_cache(maxsize=16)
def _hadamard(bits: int) -> F32:
    """Sylvester's matrix of 2^bits rows."""
    out = np.ones((1, 1), dtype=np.float32)
    for _ in range(bits):
        out = np.block([[out, out], [out, -out]])
    return out


@functools.lru_cache(maxsize=8)
def _near(units: bytes, width: int) -> F64:
    """Centred nearness of indices (int64): the same for all models and matrices in which these units were sampled."""
    return np.stack([_centred(w) for w in _nearness(np.frombuffer(units, dtype=np.int64), width)])


def _nearness(units: I64, width: int) -> list[F64]:
    """How near any two indices are: on the whole, within neighbours, modulo a width, and in one class of a period."""
    apart = np.abs(np.subtract.outer(units, units)).astype(np.float64)
    gap = max(1.0, float(np.median(np.diff(np.sort(units)))))
    around = [-np.abs(np.subtract.outer(units % n, units % n)).astype(np.float64) for n in (width, min(width, _COLUMNS))]
    classes = [(apart % p == 0).astype(np.float64) for p in _PERIODS]
    return [-apart, np.exp(-apart / (2 * gap)), *around, *classes]


def _centred(matrix: F64) -> F64:
    """Off-diagonal entries with mean 0 and standard deviation 1, cut at `_CLIP`; zeros when they do not vary."""
    m = len(matrix)
    off = matrix.ravel()[1:].reshape(m - 1, m + 1)[:, :-1]  # without the diagonal: rows of one entry more, less the last of each
    mean = off.mean()
    rest = off - mean
    sd = float(np.sqrt(np.square(rest).mean()))
    if sd < 1e-9:
        return np.zeros_like(matrix)
    np.clip(rest / sd, -_CLIP, _CLIP, out=rest)
    out = np.zeros(m * m)
    out[1:].reshape(m - 1, m + 1)[:, :-1] = rest - rest.mean()
    return out.reshape(m, m)


def _mantel(s_KMM: F64, w_LMM: F64) -> F64:
    """Z of Σ_ij S_ij W_ij for every pair of matrices [K, L], both symmetric with mean 0 off a zero diagonal."""
    m = s_KMM.shape[1]
    t_KL = s_KMM.reshape(len(s_KMM), -1) @ w_LMM.reshape(len(w_LMM), -1).T
    squares_s, squares_w = (np.square(x).sum(axis=(1, 2)) for x in (s_KMM, w_LMM))
    rows_s, rows_w = (np.square(x.sum(axis=2)).sum(axis=1) for x in (s_KMM, w_LMM))
    variance = (
        2 * np.outer(squares_s, squares_w) / (m * (m - 1))
        + 4 * np.outer(rows_s - squares_s, rows_w - squares_w) / (m * (m - 1) * (m - 2))
        + np.outer(2 * squares_s - 4 * rows_s, 2 * squares_w - 4 * rows_w) / (m * (m - 1) * (m - 2) * (m - 3))
    )
    z: F64 = np.where(variance > 1e-9, t_KL / np.sqrt(np.maximum(variance, 1e-9)), 0.0)
    return z


def _own_place(block: F32, units: I64, places: I64) -> float:
    """Units whose largest weight lies at their own index (modulo the width), as a z: P(k or more) <= 1/k!, each place counted once.

    One or none is half below zero, so that the mean is about 0 (k is Poisson with mean 1) and scores of several tests can be summed.
    """
    width = int(places.max()) + 1
    _, first = np.unique(units % width, return_index=True)
    hits = int((places[np.abs(block).argmax(axis=1)] == units % width)[first].sum())
    return float(np.sqrt(2 * np.sum(np.log(np.arange(1, hits + 1))))) if hits > 1 else -0.5
