"""A search over pairs of one model, paid for: mean of e-values, Bonferroni for p bounds and for every single pair.

Enters: hits and sizes of N order tests, one per pair searched.  Leaves: log10 e, log10 p, and which pairs hold for themselves.
Null of
one pair: `begat.stats.order`. Also the exact sign test that asks whether units lie sorted.

Null of the search: each pair's two orders are independent, one of them uniform given the other. Nothing is assumed about how
pairs depend on each
other (they share layers, so they do depend):

    E[mean of e] <= 1                                          (linearity)
    P(some pair has e_pair >= N * 10^c) <= 10^-c               (Markov, union over N pairs)
    P(some pair has p_pair <= α / N) <= α                      (Bonferroni)
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from begat.stats.order import LN10, log10_p_bound, log10_p_combined, log_e_single, log_mean_exp


def search_pairs(hits: Sequence[int], units: Sequence[int]) -> tuple[float, float, list[float]]:
    """(log10 e of the whole search, log10 p of it, log10 e of every pair alone). Raises ValueError without pairs."""
    if not hits:
        raise ValueError("no pair was searched")
    logs = [log_e_single(h, m) for h, m in zip(hits, units, strict=True)]
    p = log10_p_combined([log10_p_bound([h], [m]) for h, m in zip(hits, units, strict=True)])
    return log_mean_exp(logs) / LN10, p, [x / LN10 for x in logs]


def paid(log10_e: float, searched: int) -> float:
    """log10 e of one pair after it was picked out of `searched`: it reaches c for any pair with probability at most 10^-c."""
    return log10_e - math.log10(searched)


def log10_sign_test(concordant: int, n: int) -> float:
    """log10 of the exact two-sided p-value of `concordant` of n fair coins, 0.0 for n = 0.

    Null and assumption: disjoint pairs of exchangeable units; which of the two is larger is then a fair coin, independent
    of the other pairs
    (ties are left out before).
    """
    k = max(concordant, n - concordant)
    if not n or 2 * k == n:
        return 0.0
    logs = [math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) - n * math.log(2.0) for i in range(k, n + 1)]
    top = max(logs)
    return min(0.0, (top + math.log(sum(math.exp(x - top) for x in logs)) + math.log(2.0)) / LN10)
