"""Merge coefficients: the numbers of `begat decompose`.

Enters: rows of a child and of its candidate parents (minus the base's, in task form).  Leaves: sums (`Moments`), and from them coefficients by
non-negative least squares with intervals (`fit`), and where two parents' tensors lie on an arc (`arc_point`).  Dropped and trimmed differences: the
neighbour `sparse.py`.  Who reads the rows: `begat.pipeline.decompose`.

Model: child = Σ c_i P_i + rest, c_i >= 0, with a rest that is uncorrelated with the parents (rounding, further training). Everything needed is in
the small Gram matrix, so rows are streamed and forgotten.  Intervals (95 %): normal, from the larger of two standard errors: the one of least
squares (rest alike in all values) and the jackknife over blocks (rest or coefficients unlike from block to block). Each interval is the hull of the
one about the constrained and the one about the unconstrained estimate, cut at zero; its coverage is simulated in tests/signals/test_merge.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from begat.types import F32, F64

#: blocks of rows that a tensor's sums are kept in
BLOCKS = 8
_Z = 1.959964
#: eigenvalue of the correlation matrix below which a direction counts as missing: float32 inputs carry no more
_SINGULAR = 1e-10
#: coefficients are known no better than the float32 they were applied in
_FLOAT = 1e-6


@dataclass(slots=True)
class Moments:
    """Sums over one tensor (or several, stacked): B blocks, P parents.

    Attributes:
        gram_BPP: <P_i, P_j>. cross_BP: <P_i, child>. child_B: <child, child>. n_B: values. zero: values of the child that are exactly 0.
    """

    gram_BPP: F64
    cross_BP: F64
    child_B: F64
    n_B: F64
    zero: int = 0

    @property
    def scale(self) -> float:
        """Mean square of the parents that are not zero. Never the child's: it depends on the coefficients and would bias their mean."""
        sizes = np.diag(self.gram_BPP.sum(0))
        return float(sizes[sizes > 0].mean()) / max(float(self.n_B.sum()), 1.0) if (sizes > 0).any() else 0.0

    def scaled(self, factor: float) -> Moments:
        """As if all values had been multiplied by the root of `factor`."""
        return Moments(self.gram_BPP * factor, self.cross_BP * factor, self.child_B * factor, self.n_B, self.zero)

    def whole(self) -> Moments:
        """All blocks in one."""
        return Moments(self.gram_BPP.sum(0)[None], self.cross_BP.sum(0)[None], self.child_B.sum()[None], self.n_B.sum()[None], self.zero)


def moments(child: F32, parents: Sequence[F32], blocks: int = BLOCKS) -> Moments:
    """Sums of one tensor's rows, [rows, cols] or [n]; cut into runs of rows (of elements)."""
    cuts = np.array_split(np.arange(len(child)), min(blocks, len(child)))
    gram, cross, own, n = [], [], [], []
    for at in cuts:
        x_PN = np.stack([p[at].ravel() for p in parents]).astype(np.float64)
        y_N = child[at].ravel().astype(np.float64)
        gram.append(x_PN @ x_PN.T)
        cross.append(x_PN @ y_N)
        own.append(float(y_N @ y_N))
        n.append(y_N.size)
    return Moments(np.stack(gram), np.stack(cross), np.array(own), np.array(n, dtype=np.float64), int((child == 0).sum()))


def pooled(parts: Sequence[Moments], evenly: bool) -> Moments:
    """Several tensors as one, with all their blocks (`evenly`: each tensor in units of its parents' mean square, one block a tensor)."""
    if evenly:
        # a parent that is the base, and nothing else, has no mean square anywhere
        parts = [m.scaled(1 / m.scale).whole() for m in parts if m.scale > 0] or [m.whole() for m in parts]
    return Moments(
        np.concatenate([m.gram_BPP for m in parts]), np.concatenate([m.cross_BP for m in parts]),
        np.concatenate([m.child_B for m in parts]), np.concatenate([m.n_B for m in parts]), sum(m.zero for m in parts),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fit:
    """Coefficients of P parents, their 95 % intervals, the unexplained share, and how alike the parents are.

    `identified_P`: False for parents that others reproduce; their interval then spans what the group shares. `change`: what is left, as a share of
    the squared distance to the nearest parent (of the child's size in task form, where zero is a parent too): near 0 for a merge, 1 for a child of one parent.
    """

    value_P: F64
    low_P: F64
    high_P: F64
    identified_P: np.ndarray
    residual: float
    change: float
    condition: float
    n: int


def fit(m: Moments) -> Fit:
    """Non-negative least squares of the child on its parents (Lawson & Hanson 1974, by `scipy.optimize.nnls` on the Gram matrix)."""
    gram, cross, own, n = m.gram_BPP.sum(0), m.cross_BP.sum(0), float(m.child_B.sum()), int(m.n_B.sum())
    p = len(cross)
    if own <= 0 or not np.diag(gram).any():
        zeros = np.zeros(p)
        return Fit(zeros, zeros, zeros, np.ones(p, dtype=bool), 0.0 if own <= 0 else 1.0, 1.0, 1.0, n)
    value = nnls(gram, cross)
    rest = max(own - 2 * float(value @ cross) + float(value @ gram @ value), 0.0)
    condition, identified, group = _alike(gram)
    low, high = value.copy(), value.copy()
    for centre, active in ((value, value > 0), (_solve(gram, cross), np.ones(p, dtype=bool))):
        half = _Z * np.maximum(_ols_error(gram, rest, n, active), _jackknife_error(m, active)) + _FLOAT
        low = np.minimum(low, np.where(active, centre - half, value))
        high = np.maximum(high, np.where(active, centre + half, value))
    nearest = max(float((own - 2 * cross + np.diag(gram)).min()), 0.0)
    low = np.where(identified, np.maximum(low, 0), 0.0)
    high = np.where(identified, np.maximum(high, 0), group @ value)
    return Fit(value, low, high, identified, min(rest / own, 1.0), min(rest / nearest, 1.0) if nearest > 0 else 0.0, condition, n)


def nnls(gram_PP: F64, cross_P: F64) -> F64:
    """The c >= 0 that minimises c'Gc - 2c'b."""
    from scipy.optimize import nnls as lawson_hanson

    scale = np.sqrt(np.maximum(np.diag(gram_PP), 0))
    safe = np.where(scale > 0, scale, 1.0)
    values, vectors = np.linalg.eigh(gram_PP / np.outer(safe, safe))
    root = np.sqrt(np.maximum(values, 0))
    keep = values > _SINGULAR
    design = root[keep, None] * vectors[:, keep].T
    target = (vectors[:, keep].T @ (cross_P / safe)) / root[keep]
    found: F64 = lawson_hanson(design, target)[0] / safe
    return np.where(scale > 0, found, 0.0)


def _solve(gram: F64, cross: F64) -> F64:
    """Unconstrained; the smallest solution where parents repeat each other."""
    scale = np.sqrt(np.maximum(np.diag(gram), 1e-300))
    found: F64 = np.linalg.pinv(gram / np.outer(scale, scale), rcond=_SINGULAR, hermitian=True) @ (cross / scale) / scale
    return found


def _alike(gram: F64) -> tuple[float, np.ndarray, F64]:
    """Condition number of the parents' correlation matrix; which parents are identified; who is reproduced by whom, [P, P]."""
    scale = np.sqrt(np.maximum(np.diag(gram), 0))
    live = scale > 0
    safe = np.where(live, scale, 1.0)
    corr = gram / np.outer(safe, safe) + np.diag((~live).astype(float))
    values, vectors = np.linalg.eigh(corr)
    missing = vectors[:, values <= _SINGULAR]
    group = (np.abs(missing @ missing.T) > 1e-6).astype(np.float64)
    bad = group.diagonal() > 0
    np.fill_diagonal(group, 1.0)
    return float(values[-1] / max(values[0], _SINGULAR)), ~bad & live, group


def _ols_error(gram: F64, rest: float, n: int, active: np.ndarray) -> F64:
    """Standard errors of least squares on the active parents, 0 elsewhere."""
    out = np.zeros(len(gram))
    if active.any():
        inner = gram[np.ix_(active, active)]
        scale = np.sqrt(np.maximum(np.diag(inner), 1e-300))
        inverse = np.linalg.pinv(inner / np.outer(scale, scale), rcond=_SINGULAR, hermitian=True)
        variance = rest / max(n - int(active.sum()), 1) * np.diag(inverse)
        out[active] = np.sqrt(np.maximum(variance, 0)) / scale
    return out


def _jackknife_error(m: Moments, active: np.ndarray) -> F64:
    """Standard errors by leaving out one block at a time (Efron & Stein 1981), for the unconstrained fit on the active parents."""
    out = np.zeros(m.cross_BP.shape[1])
    blocks = len(m.n_B)
    if blocks < 2 or not active.any():
        return out
    at = np.ix_(active, active)
    gram, cross = m.gram_BPP.sum(0), m.cross_BP.sum(0)
    left = np.stack([_solve((gram - m.gram_BPP[b])[at], (cross - m.cross_BP[b])[active]) for b in range(blocks)])
    out[active] = np.sqrt((blocks - 1) / blocks * np.square(left - left.mean(0)).sum(0))
    # few blocks know their own spread badly: Student's t instead of the normal
    from scipy.stats import t

    out *= float(t.ppf(0.975, blocks - 1)) / _Z
    return out


# --- two parents on an arc -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ArcPoint:
    """Where one tensor lies between two parents: `t` on the arc, the coefficients' `excess` over one, the excess an arc would have, and the
    angle (radians) between the parents.
    """

    t: float
    excess: float
    arc_excess: float
    angle: float


def arc_point(m: Moments) -> ArcPoint | None:
    """SLERP on flattened tensors (Shoemake 1985): c_1 = sin((1-t)θ)/sin θ, c_2 = sin(tθ)/sin θ.

    So c_1 + c_2 cos θ = cos tθ and c_2 sin θ = sin tθ, which gives t; then c_1 + c_2 = cos((t - ½)θ)/cos(θ/2), above one, where a line has
    one. None where parents are parallel, opposed or missing.
    """
    gram, cross = m.gram_BPP.sum(0), m.cross_BP.sum(0)
    x, y = np.sqrt(np.diag(gram))
    if x <= 0 or y <= 0:
        return None
    cosine = float(np.clip(gram[0, 1] / (x * y), -1, 1))
    angle = math.acos(cosine)
    if not 0.05 < angle < 3.0:
        return None
    c1, c2 = _solve(gram, cross)
    t = math.atan2(c2 * math.sin(angle), c1 + c2 * cosine) / angle
    return ArcPoint(t, float(c1 + c2 - 1), math.cos((t - 0.5) * angle) / math.cos(angle / 2) - 1, angle)
