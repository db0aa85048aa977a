"""The null of the order test and what follows from it: p bounds and e-values of hit counts.

Enters: the hits and sizes of L order tests.  Leaves: log10 p bound, log e-value.  Where the hits come from: `begat.signals.order`.

Null and assumption (statistics.md §2). Each test looks at m units of an axis whose units are exchangeable in at least one of the
two models: given everything else, their order is uniform on the m! orders, and independent of the other model (Zhu, Ahmed,
Kuditipudi & Liang, "Independence Tests for Language Models", ICML 2025, Thm 1). f(i) is any function of the unit i of one model
to the units of the other that does not look at their positions; a hit is f(i) = the unit at position i. Then for the hits H

    E[C(H, k)] <= C(m, k) (m-k)!/m! = 1/k!   for k <= m, 0 beyond            (any k units are all hit with at most (m-k)!/m!)
    P(H >= k)  <= 1/k!                                                       (Markov on C(H, k))
    E[(1+λ)^H]  = Σ_k λ^k E[C(H, k)] <= g_m(λ) = Σ_(k<=m) λ^k/k! <= e^λ      (binomial theorem, λ >= 0)

so (1+λ)^H / g_m(λ) is an e-value. Stopping the sum at m matters for small axes: with two KV heads both hit it tends to 2, as it should, where e^λ
in its place never exceeds 1.2.

L tests are multiplied only where their permutations are independent and the statistic of one does not depend on the
permutation of another; which axes those are is stated in `begat.signals.axes`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from begat.types import F64

LN10 = math.log(10.0)
#: The fixed mixture over λ: equal weights, fixed before any data. Small λ keep the price of an axis without signal near
#: nothing, large ones reward saturated hits (the best λ for h hits in L large tests is h/L - 1).
LAMBDAS = np.array([2.0**k for k in range(-6, 13)])
#: λ at which the tail bound is tried; every one gives a valid bound, so the smallest is one.
_TAIL_LAMBDAS = np.array([2.0 ** (k / 4) for k in range(-24, 161)])
_LOG_WEIGHT = -math.log(len(LAMBDAS))


def log10_p_bound(hits: Sequence[int], units: Sequence[int]) -> float:
    """log10 of a bound on P(total hits >= sum(hits)) over independent order tests of `units` each; 0.0 means no evidence.

    Null: see the module. The least of two bounds, both valid:
    - factorial moments of the sum are at most those of Poisson(L), so P(H >= k) <= L^(k-L) L!/k! for k > L (1/k! for one test);
    - P(H >= k) <= Π_l g_(m_l)(λ) / (1+λ)^k for every λ >= 0.
    """
    k, length = int(sum(hits)), len(hits)
    if k <= length:
        return 0.0
    factorial = (k - length) * math.log(length) + math.lgamma(length + 1) - math.lgamma(k + 1)
    chernoff = float((np.sum([_log_g(m, True) for m in units], axis=0) - k * np.log1p(_TAIL_LAMBDAS)).min())
    return min(0.0, factorial, chernoff) / LN10


def log_e_single(hits: int, units: int) -> float:
    """Natural log of the mixture e-value of one order test: log mean_λ (1+λ)^H / g_m(λ). Mean at most 1 under the null."""
    return _log_mixture(hits, _log_g(units))


def log_e_axis(hits: Sequence[int], units: Sequence[int], planned: int | None = None) -> float:
    """Natural log of the e-value of one axis from its tests (independent permutations), in the order they were read.

    Args:
        hits, units: hits and sampled units of the tests read so far.
        planned: how many tests were planned before any was read, at least len(hits) (the default). Whoever may stop early passes
            it: a test not read counts as 1 in the third mean below, which keeps it a martingale.

    The mean of three e-values, each with mean at most 1 under the null of the module (a mean of e-values is one whatever their dependence):
    - pooled: mean_λ Π_l (1+λ)^H_l / g_l(λ), strong when every layer carries a little;
    - product: Π_l mean_λ (1+λ)^H_l / g_l(λ), strong when layers differ;
    - any: (1/L) Σ_l mean_λ (1+λ)^H_l / g_l(λ), strong when one layer alone is inherited.
    Each is a martingale in l, so it may be looked at after every test (Ville). Returns 0.0 for no tests.
    """
    if not hits:
        return 0.0
    singles = [log_e_single(h, m) for h, m in zip(hits, units, strict=True)]
    pooled = _log_mixture(int(sum(hits)), np.sum([_log_g(m) for m in units], axis=0))
    unread = [0.0] * (max(planned or 0, len(hits)) - len(hits))
    return log_mean_exp([pooled, float(sum(singles)), log_mean_exp(singles + unread)])


def log_e_alternatives(hits: Sequence[int], units: Sequence[int]) -> float:
    """Natural log of the e-value over tests that share one permutation: the mean of their e-values, never the product."""
    return log_mean_exp([log_e_single(h, m) for h, m in zip(hits, units, strict=True)]) if hits else 0.0


def log10_p_alternatives(hits: Sequence[int], units: Sequence[int]) -> float:
    """log10 of a p bound over tests that share one permutation: Bonferroni over the single bounds."""
    return log10_p_combined([log10_p_bound([h], [m]) for h, m in zip(hits, units, strict=True)])


def log_e_combined(axes: Sequence[float]) -> float:
    """Natural log of the e-value over axes with independent permutations: the mean of their product and their mean.

    Null: every axis's null at once. The product has mean at most 1 because the axes can be ordered so that the e-value of
    each depends, given the permutations of those before it, on its own permutation alone (`begat.signals.axes`); the mean
    needs no such thing and keeps one surviving axis (reordered MLPs, untouched residual stream) from being drowned.
    """
    logs = list(axes)
    if not logs:
        return 0.0
    if len(logs) == 1:
        return logs[0]
    return log_mean_exp([float(sum(logs)), log_mean_exp(logs)])


def log10_p_combined(p_bounds: Sequence[float]) -> float:
    """log10 of a p bound over axes by Bonferroni: K times the smallest. Needs no independence between axes."""
    if not p_bounds:
        return 0.0
    return min(0.0, min(p_bounds) + math.log10(len(p_bounds)))


def log10_p_looks(log10_p: float, looks: int) -> float:
    """log10 of a p bound taken at look number `looks` (1 = the first) when one may stop after any look, 0 = one look was planned.

    Look k spends 2^-k of the error: P(some look k has p_k <= α 2^-k) <= α, whatever made one stop.
    """
    return min(0.0, log10_p + looks * math.log10(2.0))


def max_log_e(units: Sequence[int]) -> float:
    """Natural log of the e-value if every unit of every test were hit: what the sample could show at best."""
    return log_e_axis(list(units), list(units))


def log_mean_exp(logs: Sequence[float]) -> float:
    """Log of the mean of exp(logs), without overflow."""
    values = np.asarray(logs, dtype=np.float64)
    top = float(values.max())
    return top + math.log(float(np.exp(values - top).mean()))


def _log_mixture(hits: int, log_g: F64) -> float:
    logs = hits * np.log1p(LAMBDAS) - log_g + _LOG_WEIGHT
    top = float(logs.max())
    return top + math.log(float(np.exp(logs - top).sum()))


@lru_cache(maxsize=4096)
def _log_g(units: int, tail: bool = False) -> F64:
    """Log Σ_(k<=m) λ^k/k! for every λ of the mixture (of the tail bound's grid when `tail`)."""
    lambdas = _TAIL_LAMBDAS if tail else LAMBDAS
    k = np.arange(units + 1)
    log_factorial = np.array([math.lgamma(i + 1) for i in k])
    terms = k[None, :] * np.log(lambdas)[:, None] - log_factorial[None, :]
    top = terms.max(axis=1)
    out: F64 = top + np.log(np.exp(terms - top[:, None]).sum(axis=1))
    return out
