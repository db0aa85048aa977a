"""Do stored floats lie on a coarser grid than their type? The arithmetic, run by run.

Enters: runs of values that may share one scale, [G, N], and the spacing of the stored type at each.  Leaves: `Fit`: which runs
lie on a grid, which one,
and how improbable that is.  Which tensors, what counts: `grid.py`.  Equality of *two* models on a grid: `begat.signals.grid`.

Null and assumption. Within any few neighbouring numbers of the stored type, all are equally likely, independently of each other
(a smooth density).
A grid of step s, rounded to the stored type whose spacing at a value is u, then hits that value by chance with probability at
most
min(1, 2 t/s), where t >= u/2 is the tolerance; so a run whose values all fit has p <= (grids tried) * Π min(1, 2 t/s). The
value that sets the
step counts for nothing, nor does a zero (pruned weights are zero, whatever the grid), nor a run of one single value.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from begat.types import F32, F64, I64

#: largest multiple of a step, and largest number of steps above an offset: 8 bits
TOP = 255
#: rounding twice (scale and product) may miss by this much more than half the spacing; and by this share of a step whatever
#: the type
_TWICE, _SLACK = 1.15, 0.004
#: values of a run that are tried first, and values of a run that are looked at in all
_FEW, _MANY = 32, 256
#: steps between zero and the largest value that are tried, coarse ones first
_TRIED = ((1, 16), (17, 64), (65, TOP))
#: non-zero values from which a run can say anything
ABLE = 8
#: binades that values of a small float type spread over; the few levels of two or three even grids side by side span less
_BINADES = 5
#: NF4: the 16 levels of Dettmers et al., "QLoRA" (arXiv:2305.14314, appendix E), relative to the largest magnitude of a run
NF4 = np.array([
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0,
    0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224, 0.44070982933044434,
    0.5626170039176941, 0.7229568362236023, 1.0,
])  # fmt: skip
#: multiples of half a unit that E2M1 (the four-bit float of MXFP4 and NVFP4) has
_E2M1 = np.array([0, 1, 2, 3, 4, 6, 8, 12])


@dataclass(frozen=True, slots=True)
class Fit:
    """Which of G runs lie on a grid of one kind.

    kind: "even", "offset", "float" or "nf4". able: runs that could say something [G]. fits: of them, those on a grid [G].
    log10_p: bound per run, 0 where it does
    not fit [G]. low, high: smallest and largest multiple of the step per run (of the levels for "float": distinct
    significands) [G].
    """

    kind: str
    able: np.ndarray
    fits: np.ndarray
    log10_p: F64
    low: I64
    high: I64
    half_units: bool = False

    @property
    def log10_total(self) -> float:
        """Bound over all runs; which runs fit was not known beforehand, and 2^G choices are paid for."""
        return float(self.log10_p[self.fits].sum()) + int(self.able.sum()) * math.log10(2.0)

    @property
    def share(self) -> float:
        """Of the runs that could say something, those on the grid."""
        able = int(self.able.sum())
        return int((self.fits & self.able).sum()) / able if able else 0.0


def spacing(values: F32, mantissa: int, tiny: float) -> F64:
    """Distance between neighbouring numbers of a float type with `mantissa` explicit bits at each value; `tiny`: its
    smallest subnormal.
    """
    _, exponent = np.frexp(values.astype(np.float64))
    out: F64 = np.maximum(np.ldexp(1.0, exponent - 1 - mantissa), tiny)
    return out


def even(runs_GN: F32, spacing_GN: F64, rng: np.random.Generator) -> Fit:
    """Multiples of one step per run: round-to-nearest with or without an integer zero point (GPTQ, AWQ, Q4_0, Q8_0, int8,
    ternary).
    """
    return _stepped("even", runs_GN, spacing_GN, rng)


def offset(runs_GN: F32, spacing_GN: F64, rng: np.random.Generator) -> Fit:
    """Multiples of one step above the smallest value of the run (Q4_1, Q4_K)."""
    return _stepped("offset", runs_GN, spacing_GN, rng)


def _stepped(kind: str, runs_GN: F32, spacing_GN: F64, rng: np.random.Generator) -> Fit:
    v_GN, u_GN = _some(runs_GN, spacing_GN, rng)
    able = _able(v_GN)
    g = len(v_GN)
    fits, log10_p = np.zeros(g, dtype=bool), np.zeros(g)
    low, high = np.zeros(g, dtype=np.int64), np.zeros(g, dtype=np.int64)
    half = bool(able.any())
    for i in np.flatnonzero(able):
        found = _one(kind, v_GN[i], u_GN[i])
        if found is None:
            half = False
            continue
        k_N, log10_p[i] = found
        fits[i], low[i], high[i] = True, k_N.min(), k_N.max()
        half = half and bool(np.isin(np.abs(k_N), _E2M1).all())
    return Fit(kind, able, fits, log10_p, low, high, half and kind == "even" and int(high.max(initial=0)) == 12)


def screen(kind: str, runs_GN: F32, spacing_GN: F64, rng: np.random.Generator, runs: int = 4) -> bool:
    """Do most of a few runs, looked at in a few values, fit? Most tensors that carry no grid are dismissed by it."""
    able = np.flatnonzero(_able(runs_GN))[:runs]
    ok = 0
    for v, u in zip(runs_GN[able].astype(np.float64), spacing_GN[able], strict=True):
        keep = np.unique(np.r_[np.abs(v).argmax(), v.argmin(), rng.permutation(len(v))[:_FEW]])
        ok += _one(kind, v[keep], u[keep], strict=False) is not None
    return len(able) > 0 and ok >= 0.6 * len(able)


def _one(kind: str, v_N: F64, u_N: F64, strict: bool = True) -> tuple[I64, float] | None:
    """The most improbable grid that all values of a run fit: their multiples and log10 p; None when none fits better than chance.

    Coarse grids are tried first: finer ones fit whatever these fit, with less to say.
    """
    x_N = v_N - (v_N.min() if kind == "offset" else 0.0)
    peak = int(np.abs(x_N).argmax())
    counted = x_N != 0
    counted[peak] = False
    t_N = 0.5 * _TWICE * u_N
    relative = float(u_N[peak] + (u_N[v_N.argmin()] if kind == "offset" else 0.0)) / max(float(abs(x_N[peak])), 1e-300)
    drift = relative * (
        max(0.35, 2.0 / len(v_N) ** 0.5) if strict else 1.0
    )  # few levels are rounded alike: errors do not average out
    for first, last in _TRIED:
        s_K = np.abs(x_N[peak]) / np.arange(first, last + 1, dtype=np.float64)
        k_KN, base_K = np.rint(x_N / s_K[:, None]), np.zeros(len(s_K))
        for _ in range(2 if strict else 0):  # the step (and offset) that fit all values best, not the values that set them
            mean_K = k_KN.mean(1) * (kind == "offset")
            d_KN = k_KN - mean_K[:, None]
            s_K = (d_KN @ x_N) / np.maximum((d_KN * d_KN).sum(1), 1.0)
            base_K = (x_N.mean() - s_K * mean_K) * (kind == "offset")
            k_KN = np.rint((x_N - base_K[:, None]) / s_K[:, None])
        slack_KN = _SLACK + np.abs(k_KN) * drift + (kind == "offset") * (not strict) * (u_N.max() / s_K)[:, None]
        t_KN = t_N + s_K[:, None] * slack_KN
        ok_K = (np.abs(x_N - base_K[:, None] - k_KN * s_K[:, None]) <= t_KN).all(1)
        if not ok_K.any():
            continue
        p_KN = np.log10(np.minimum(1.0, 2 * t_KN[ok_K] / s_K[ok_K, None]))
        p_K = p_KN[:, counted].sum(1) + math.log10(2.0 * TOP)
        best = int(p_K.argmin())
        if p_K[best] < 0:
            return k_KN[ok_K][best].astype(np.int64), float(p_K[best])
    return None


def significands(runs_GN: F32, mantissa: int, smallest: float, rng: np.random.Generator) -> Fit:
    """Floats of a smaller type times one scale: at most eight significands (E4M3) where the stored type has 2^mantissa.

    p <= C(M, d) (2 d/M)^n for n values with d distinct significands of M: under a smooth density none is more than twice as
    likely as the mean. Values below `smallest`, the stored type's smallest normal number, have lost bits and are left out.
    """
    v_GN = np.abs(runs_GN[:, rng.permutation(runs_GN.shape[1])[:_MANY]].astype(np.float64))
    v_GN = np.where(v_GN < smallest, 0.0, v_GN)
    able = (v_GN > 0).sum(1) >= 2 * ABLE
    g, top = len(v_GN), 2.0 ** min(mantissa, 10)
    log10_p = np.zeros(g)
    codes = np.sort(np.where(v_GN > 0, np.rint(np.frexp(v_GN)[0] * 2 * top), 0.0), axis=1)  # zeros first
    count = ((np.diff(codes, axis=1) > 0).sum(1) + (codes[:, 0] > 0)).astype(np.int64)
    for i in np.flatnonzero(able & (count <= 8)):
        d, n = int(count[i]), int((v_GN[i] > 0).sum())
        log10_p[i] = min(0.0, sum(np.log10((top - j) / (j + 1)) for j in range(d)) + n * np.log10(min(1.0, 2 * d / top)))
    exponent = np.where(v_GN > 0, np.frexp(v_GN)[1], 0)
    lowest = np.where(v_GN > 0, exponent, 1 << 20).min(1)
    wide = np.where(v_GN > 0, exponent, -(1 << 20)).max(1) - lowest >= _BINADES
    fits = able & (count <= 8) & (log10_p < 0)
    fits &= bool(fits.any()) and wide[fits].mean() >= 0.5  # a small sample may miss the small values
    return Fit("float", able, fits, np.where(fits, log10_p, 0.0), np.zeros(g, dtype=np.int64), count)


def nf4(runs_GN: F32, spacing_GN: F64) -> Fit:
    """Levels of NF4 times the largest magnitude of the run (bitsandbytes, runs of 64)."""
    v_GN, u_GN = runs_GN.astype(np.float64), spacing_GN
    able, peak = _able(v_GN), np.abs(v_GN).max(axis=1, keepdims=True)
    safe = np.where(peak > 0, peak, 1.0)
    r_GN = v_GN / safe
    at = np.abs(r_GN[:, :, None] - NF4).argmin(2)
    gaps = np.diff(NF4)
    gap_GN = np.minimum(np.r_[gaps[0], gaps][at], np.r_[gaps, gaps[-1]][at])
    t_GN = 0.5 * _TWICE * (u_GN / safe + np.abs(r_GN) * (u_GN.max(axis=1, keepdims=True) / safe)) + 1e-4
    fits = able & (np.abs(r_GN - NF4[at]) <= t_GN).all(1)
    p_GN = np.log10(np.minimum(1.0, 2 * t_GN / gap_GN))
    log10_p = np.where((np.abs(r_GN) < 1) & (v_GN != 0), p_GN, 0.0).sum(1)
    return Fit("nf4", able, fits & (log10_p < 0), np.where(fits, log10_p, 0.0), at.min(1), at.max(1))


def _able(v_GN: F32 | F64) -> np.ndarray:
    """Runs with enough non-zero values, and not all of them one number: padding and masks are no grid."""
    lowest = np.where(v_GN != 0, v_GN, np.inf).min(1)
    highest = np.where(v_GN != 0, v_GN, -np.inf).max(1)
    able: np.ndarray = ((v_GN != 0).sum(1) >= ABLE) & (highest > lowest)
    return able


def _some(runs_GN: F32, spacing_GN: F64, rng: np.random.Generator) -> tuple[F64, F64]:
    """At most `_MANY` values of each run, the largest and the smallest among them."""
    if runs_GN.shape[1] <= _MANY:
        return runs_GN.astype(np.float64), spacing_GN
    at = rng.permutation(runs_GN.shape[1])[: _MANY - 2]
    keep = np.c_[np.tile(at, (len(runs_GN), 1)), np.abs(runs_GN).argmax(1), runs_GN.argmin(1)]
    return np.take_along_axis(runs_GN, keep, 1).astype(np.float64), np.take_along_axis(spacing_GN, keep, 1)
