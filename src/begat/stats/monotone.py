"""The null of the longest increasing run and what follows from it.

Enters: the length k of the longest increasing run among n matched units.  Leaves: log10 p bound, log e-value.  Where they come from:
`begat.signals.monotone`.

Null and assumption. n units of B are matched one to one with units of A by a rule that does not look at positions, and the units of B are
exchangeable: given everything else their order is uniform. Then the sequence of likes, read in B's order, is a uniform random permutation of n
numbers, and the number N_k of its increasing subsequences of length k has mean C(n, k)/k!. So for the longest, by Markov,

    P(longest >= k) <= C(n, k) / k!.

A p bound p becomes an e-value by ∫_0^1 κ p^(κ-1) dκ = (1 - p + p ln p) / (p (ln p)^2) (Vovk & Wang, "E-values: Calibration, combination
and applications", Annals of Statistics 49, 2021, §2), which falls in p, so that a bound may stand for p.
"""

from __future__ import annotations

import math

from begat.stats.order import LN10


def log10_p_increasing(longest: int, matched: int) -> float:
    """log10 of a bound on P(longest increasing run >= `longest`) among `matched` units; 0.0 means no evidence."""
    if longest < 1 or matched < longest:
        return 0.0
    log_p = math.lgamma(matched + 1) - 2 * math.lgamma(longest + 1) - math.lgamma(matched - longest + 1)
    return min(0.0, log_p / LN10)


def log_e_of_p(log10_p: float) -> float:
    """Natural log of the e-value that a p bound of 10^log10_p is worth."""
    log_p = log10_p * LN10
    if log_p > -1e-3:  # the limit at p = 1 is 1/2; near it the quotient loses all digits
        return math.log(0.5)
    p = math.exp(log_p)
    return math.log(1 - p + p * log_p) - log_p - 2 * math.log(-log_p)


def log_e_increasing(longest: int, matched: int) -> float:
    """Natural log of the e-value of one longest increasing run. Mean at most 1 under the null of the module."""
    return log_e_of_p(log10_p_increasing(longest, matched))
