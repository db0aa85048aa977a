"""Sign bits of random projections: unit features in few bytes, and the cosine two sets of bits imply.

Enters: features of m units, or bits.  Leaves: bits, or agreements.  Who keeps them: `begat.pipeline.sketch`; what agreement at equal
index is worth: `begat.stats.order`.

For unit vectors x, y at angle θ and a random direction r, P(sign <x, r> ≠ sign <y, r>) = θ/π (Goemans & Williamson, "Improved
approximation algorithms for maximum cut …", J. ACM 42, 1995, Lemma 3.2; Charikar, "Similarity estimation techniques from rounding
algorithms", STOC 2002). Directions with entries ±1 come close to that for features that are not a few alone. The order test needs none of
it: bits of a unit are a function of that unit and of symmetric functions of all, so whatever they are, the test on them is exact.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from begat.signals.order import unit_rows
from begat.types import F32, F64, U8

# Shape suffixes: S sites, M units, D features, K bits, B = K / 8 bytes


def directions(features: int, bits: int, rng: np.random.Generator) -> F32:
    """Random signs [D, K]."""
    raw = np.unpackbits(rng.integers(0, 256, size=(features, (bits + 7) // 8), dtype=np.uint8), axis=1)[:, :bits]
    signs_DK: F32 = raw.astype(np.float32) * 2 - 1
    return signs_DK


def sign_bits(blocks: Sequence[F32], directions_DK: F32) -> U8:
    """Packed sign bits [M, B] of m units, features standardised over them as in the order test.

    Args:
        blocks: [M, D_view] per view.
        directions_DK: from `directions`, D = all views' features together.
    """
    return np.packbits(unit_rows(blocks) @ directions_DK > 0, axis=1)


def signs_of(bits_SMB: U8) -> F32:
    """Bits as ±1, [S, M, K]."""
    signs_SMK: F32 = np.unpackbits(bits_SMB, axis=-1).astype(np.float32) * 2 - 1
    return signs_SMK


def agreements(a_SMK: F32, b_SMK: F32) -> F32:
    """Agreeing minus differing bits of every unit of A with every unit of B, [S, M, M], whole numbers."""
    out: F32 = np.matmul(a_SMK, b_SMK.transpose(0, 2, 1))
    return out


def order_hits_of(agreements_SMM: F32) -> np.ndarray:
    """Units of every site that agree more with their own index than with any other, ties counting as none: int [S]."""
    own_SM = np.einsum("smm->sm", agreements_SMM)
    m = own_SM.shape[1]
    others = np.where(np.eye(m, dtype=bool), -np.inf, agreements_SMM)
    hits: np.ndarray = (own_SM > others.max(axis=2, initial=-np.inf)).sum(axis=1)
    return hits


def angles(a_SMB: U8, b_SMB: U8) -> F64:
    """Mean angle in radians between units at equal index, per site [S], from the share of differing bits."""
    differing = np.unpackbits(a_SMB ^ b_SMB, axis=-1).mean(axis=(1, 2), dtype=np.float64)
    theta: F64 = np.pi * differing
    return theta
