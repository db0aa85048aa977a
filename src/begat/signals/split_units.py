"""Units of *one* MLP that are one unit split into several, and what they are together.

Enters: gate rows (of an MLP without a gate: up rows), up rows and down columns of one model's layer.  Leaves: a `Reduction`: the units of an
MLP that computes the same with fewer.  Who reads and serves them: `begat.pipeline.merged`.

A unit adds act(g·x) (u·x) d to the residual stream. Units with one gate row g add act(g·x) M x together, M = Σ d uᵀ. Where M has rank one they are one
unit, however it was cut: up rows alike and down columns d/2 + r, d/2 - r; up rows u + r, u - r; unequal shares; scales and signs moved between up and
down. Without a gate a unit adds act(u·x) d, and units with one up row add act(u·x) Σ d. Under ReLU rows that differ by a positive factor s count as
one: act(s g·x) = s act(g·x). Units whose gate row, up row or down column is all zeros add nothing and are left out.

Noise and training after the split leave the rows merely alike, so they are compared with room, and M by its greatest singular value. No two units of
an ordinary model have gate rows so alike; one that has a pair by chance keeps it, because its M has rank two.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from begat.types import F32, F64, I64

# Shape suffixes: F units, D residual width, K units of a group, R units that a group comes to

#: cosine from which two gate rows are one at least; without a gate there is only this to go by
ALIKE, PLAIN_ALIKE = 0.85, 0.97
#: pairs of rows of an MLP that may reach it by chance
_CHANCE = 0.01
#: range of the ratio of lengths of two rows that are one where the activation is not ReLU
_LENGTHS = (0.7, 1 / 0.7)
#: singular values of M below this share of the greatest are noise
_RANK = 0.6
#: share of the groups of an MLP that must come to fewer units, and rows of similarities made at a time
_REDUCED, _CHUNK = 0.5, 1024


@dataclass(frozen=True, slots=True)
class Group:
    """Units that come to fewer: new up rows are `up_RK` times theirs, new down columns `down_RK` times theirs, their gate row `gate_K` times theirs."""

    members: I64
    gate_K: F64
    up_RK: F64
    down_RK: F64


@dataclass(frozen=True, slots=True)
class Reduction:
    """Of an MLP: the groups that come to fewer units, and units that add nothing. All others stay."""

    groups: tuple[Group, ...]
    dead: I64


def twins_of(all_FD: F32, units: I64, plain: bool) -> int:
    """How many sampled units [M] have another one with their gate row (of a plain MLP: up row), scale aside, or a row of zeros."""
    unit_FD = _apart(all_FD)
    s_MF = unit_FD[units] @ unit_FD.T
    s_MF[np.arange(len(units)), units] = 0
    return int(((s_MF.max(axis=1, initial=0) >= _one_from(all_FD, plain)) | ~all_FD[units].any(axis=1)).sum())


def reduction(gate_FD: F32, up_FD: F32 | None, down_FD: F32, relu: bool) -> Reduction | None:
    """What the MLP comes to; None where no units are one, or none adds anything.

    Args:
        gate_FD: rows that decide whether a unit fires, a bias as their last number. up_FD: up rows, likewise; None without a gate.
        down_FD: down columns as rows. relu: the activation is max(0, x).
    """
    dead = ~gate_FD.any(axis=1) | ~down_FD.any(axis=1)
    if up_FD is not None:
        dead |= ~up_FD.any(axis=1)
    alive = np.flatnonzero(~dead)
    if not alive.size:
        return None
    groups, found = [], 0
    for members in _groups(gate_FD[alive], up_FD is None, relu):
        found += 1
        at = alive[members]
        group = _group(at, gate_FD[at], None if up_FD is None else up_FD[at], down_FD[at], relu)
        groups += [group] if group is not None else []
    if found and len(groups) < _REDUCED * found:
        groups = []
    return Reduction(tuple(groups), np.flatnonzero(dead)) if groups or dead.any() else None


def _one_from(x_ND: F32, plain: bool) -> float:
    """The cosine from which rows are one: what so many rows of so few columns hardly reach by chance, and at least `ALIKE`.

    Of random directions a pair passes t with probability below (1 - t²)^((D-1)/2).
    """
    units, width = x_ND.shape
    by_chance = (1 - (_CHANCE / max(1, units) ** 2) ** (2 / max(1, width - 1))) ** 0.5
    return max(PLAIN_ALIKE if plain else ALIKE, float(by_chance))


def _apart(x_ND: F32) -> F32:
    """Rows of length 1 in which those that are not one are far apart, whatever their size.

    Rows of trained matrices lean to one side, and some columns are large in all: the common direction is taken out and columns are brought to one
    size. Both are linear, so that rows that differ by a factor stay so.
    """
    unit_ND = _rows(x_ND)
    common_D = unit_ND.mean(axis=0)
    out_ND = x_ND - np.outer(x_ND @ common_D, common_D / max(float(common_D @ common_D), 1e-30))
    size_D = np.sqrt(np.square(_rows(out_ND)).mean(axis=0))
    return _rows(np.divide(out_ND, size_D, out=np.zeros_like(out_ND), where=size_D > 1e-9))


def _rows(x_ND: F32) -> F32:
    length_N = np.linalg.norm(x_ND, axis=1, keepdims=True)
    out: F32 = np.divide(x_ND, length_N, out=np.zeros_like(x_ND), where=length_N > 0)
    return out


def _groups(gate_FD: F32, plain: bool, relu: bool) -> list[I64]:
    """Units whose rows are one, by chains of pairs: at least two in each."""
    unit_FD, length_F = _apart(gate_FD), np.linalg.norm(gate_FD, axis=1)
    needed, parent = _one_from(gate_FD, plain), np.arange(len(gate_FD))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = int(parent[i])
        return i

    for first in range(0, len(unit_FD), _CHUNK):
        s_CF = unit_FD[first : first + _CHUNK] @ unit_FD.T
        for i, j in zip(*np.nonzero(s_CF >= needed), strict=True):
            x = first + int(i)
            if x < j and (relu or _LENGTHS[0] <= length_F[x] / length_F[j] <= _LENGTHS[1]):
                parent[max(root(x), root(int(j)))] = min(root(x), root(int(j)))
    roots = np.array([root(i) for i in range(len(parent))])
    return [np.flatnonzero(roots == r) for r in np.unique(roots) if np.count_nonzero(roots == r) > 1]


def _group(members: I64, gate_KD: F32, up_KD: F32 | None, down_KD: F32, relu: bool) -> Group | None:
    """What units with one gate row come to; None where that is no fewer."""
    k = len(members)
    length_K = np.linalg.norm(gate_KD, axis=1).astype(np.float64)
    times_K = length_K / length_K.mean() if relu else np.ones(k)  # how much a unit fires of what the mean one does
    gate_K = 1 / times_K / k
    if up_KD is None:
        return Group(members, gate_K, gate_K[None, :], times_K[None, :])
    q_u, r_u = np.linalg.qr(up_KD.T.astype(np.float64))
    q_d, r_d = np.linalg.qr((down_KD * times_K[:, None]).T.astype(np.float64))
    left, values, right = np.linalg.svd(r_d @ r_u.T)
    rank = int((values > _RANK * values[0]).sum()) if values[0] > 0 else 0
    if rank >= k:
        return None
    size = float(np.median(np.linalg.norm(up_KD, axis=1)))
    up_RD, down_RD = size * (q_u @ right[:rank].T).T, (values[:rank, None] / size) * (q_d @ left[:, :rank]).T
    turn = np.where(up_RD @ up_KD.sum(axis=0) < 0, -1.0, 1.0)[:, None]
    return Group(members, gate_K, _as_sums(turn * up_RD, up_KD), _as_sums(turn * down_RD, down_KD))


def _as_sums(x_RD: F64, of_KD: F32) -> F64:
    """Coefficients [R, K] with which rows are sums of others, whose span they lie in."""
    return np.asarray(np.linalg.lstsq(of_KD.T.astype(np.float64), x_RD.T, rcond=1e-9)[0].T, dtype=np.float64)
