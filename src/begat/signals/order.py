"""The order test: how many sampled units of A find their own index in B (statistics.md §2).

Enters: features of the same m sampled units of A and B, in one or more blocks (views).  Leaves: hits.  What hits are worth:
`begat.stats.order`. Which units and tensors: `begat.signals.axes`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from begat.types import F32

#: Two similarities closer than this are a tie, and a tie is no hit: a float32 product may differ in the last digits with the
#: position in the matrix, and the null forbids looking at positions.
_TIE = 1e-5


@dataclass(frozen=True, slots=True)
class Hits:
    """Outcome of one order test: `hits` of `m` units; `constant` units were left out of both models first.

    noise_sd: standard deviation of the similarities between unlike units; features: number of features that vary.
    """

    m: int
    hits: int
    constant: int
    noise_sd: float
    features: int


def order_hits(a_blocks: Sequence[F32], b_blocks: Sequence[F32]) -> Hits:
    """Count strict same-index matches.

    Args:
        a_blocks, b_blocks: per view the features of the same sampled units, [m, D_view] in A and in B.

    Every feature is standardised over the sampled units of its own model (a symmetric function of them, so the order stays
    uniform), views are concatenated, rows scaled to length 1, and f(i) = argmax_j <A_i, B_j>. A unit that is constant
    (padding: all zeros, all ones) in either model is dropped from both, since padding sits at chosen indices.
    """
    keep = varies(a_blocks) & varies(b_blocks)
    constant = int((~keep).sum())
    a_MD = unit_rows([block[keep] for block in a_blocks])
    b_MD = unit_rows([block[keep] for block in b_blocks])
    m = int(keep.sum())
    if m < 2:
        return Hits(m, 0, constant, 0.0, 0)
    s_MM = a_MD @ b_MD.T
    off = s_MM[~np.eye(m, dtype=bool)]
    return Hits(m, strict_hits(s_MM), constant, float(off.std()), int((np.abs(a_MD).max(axis=0) > 0).sum()))


def strict_hits(s_MM: F32) -> int:
    """How many rows of a similarity matrix are largest on the diagonal, ties counting as none. Overwrites the diagonal."""
    own = s_MM.diagonal().copy()
    np.fill_diagonal(s_MM, -np.inf)
    return int((own > s_MM.max(axis=1) + _TIE).sum())


def varies(blocks: Sequence[F32]) -> np.ndarray:
    """[m] booleans: units whose weights in some matrix are not all equal: padding, with zeros or any other filling, sits at chosen indices (a vector
    view such as a bias alone does not make a unit).
    """
    wide = [b for b in blocks if b.shape[1] > 1] or list(blocks)
    out = np.zeros(len(blocks[0]), dtype=bool)
    for block in wide:
        out |= (block != (block[:, :1] if block.shape[1] > 1 else 0)).any(axis=1)
    return out


def unit_rows(blocks: Sequence[F32]) -> F32:
    """Views of m units side by side, every feature standardised over the units, every unit scaled to length 1: [m, D]."""
    parts = []
    for block in blocks:
        if not len(block):
            return np.zeros((0, 1), dtype=np.float32)
        # squares of very small or large weights leave float32; a tensor and its partner can be rescaled at will
        largest = np.maximum(block.max(axis=0), -block.min(axis=0))
        scale = np.float32(2.0 ** -np.clip(np.frexp(largest.max(initial=0))[1], -120, 120))
        centred = block * scale
        centred -= centred.mean(axis=0, dtype=np.float64).astype(np.float32)
        sd = centred.std(axis=0)
        # a feature that is equal in all units says nothing; rounding noise on it would
        centred *= np.divide(1, sd, out=np.zeros_like(sd), where=sd > 1e-6 * (largest * scale))
        parts.append(centred)
    rows_MD: F32 = np.concatenate(parts, axis=1).astype(np.float32, copy=False)
    length = np.linalg.norm(rows_MD, axis=1, keepdims=True)
    unit_MD: F32 = np.divide(rows_MD, length, out=np.zeros_like(rows_MD), where=length > 0)
    return unit_MD
