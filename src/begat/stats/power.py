"""What an order test would have seen: the smallest row cosine detected with a stated probability.

Enters: the size and noise of the tests that ran.  Leaves: a cosine.  The threshold comes from `begat.verdict`.

Model (an assumption, used for the statement of power only, never for a verdict): a unit of B keeps cosine c with its own
unit of A; its similarity to the other m-1 units, and the noise on its own, are normal with the standard deviation measured
between unlike units. Then P(hit) = ∫ φ(z) Φ(z + c/sd)^(m-1) dz, and hits of different units are taken as independent.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from begat.stats.order import LN10, log_e_axis

_Z, _DZ = np.linspace(-6.0, 6.0, 241, retstep=True)
_PHI = np.exp(-0.5 * _Z**2) / math.sqrt(2 * math.pi)


def hit_probability(cosine: float, noise_sd: float, m: int) -> float:
    """P(a unit with row cosine `cosine` is the best match among m), in [1/m, 1]."""
    shifted = _Z + cosine / noise_sd
    below = 0.5 * (1.0 + _erf(shifted / math.sqrt(2.0)))
    return float(np.sum(_PHI * below ** (m - 1)) * _DZ)


def detectable_cosine(
    tests: Sequence[tuple[int, float]], log10_e_needed: float, probability: float = 0.99,
    log_e: Callable[[Sequence[int], Sequence[int]], float] = log_e_axis,
) -> float | None:  # fmt: skip
    """The smallest cosine in (0, 1] at which the tests would reach the needed e-value with the given probability.

    Args:
        tests: (m, noise_sd) of every order test of an axis.
        log10_e_needed: the verdict's threshold.
        probability: 0.99 by the design (statistics.md §4).

    Returns:
        the cosine to three decimals, or None when even identical rows would not reach the threshold.

    Each test's hits are put at their `1 - probability` quantile together: the total's lower quantile under a normal approximation, spread
    over the tests in proportion to their means.
    """
    if not tests:
        return None

    kinds = Counter((m, float(f"{sd:.2g}")) for m, sd in tests)  # layers are alike: a few kinds of test stand for all

    def reaches(cosine: float) -> bool:
        p = {kind: hit_probability(cosine, kind[1], kind[0]) for kind in kinds}
        mean = sum(n * k[0] * p[k] for k, n in kinds.items())
        var = sum(n * k[0] * p[k] * (1 - p[k]) for k, n in kinds.items())
        low = max(0.0, mean - _normal_quantile(probability) * math.sqrt(var)) / mean
        hits = [int(k[0] * p[k] * low) for k, n in kinds.items() for _ in range(n)]
        return log_e(hits, [k[0] for k, n in kinds.items() for _ in range(n)]) >= log10_e_needed * LN10

    if not reaches(1.0):
        return None
    low, high = 0.0, 1.0
    while high - low > 5e-4:
        middle = (low + high) / 2
        low, high = (low, middle) if reaches(middle) else (middle, high)
    return math.ceil(high * 1000) / 1000


def _erf(x: np.ndarray) -> np.ndarray:
    return np.array([math.erf(v) for v in x])


def _normal_quantile(p: float) -> float:
    from statistics import NormalDist

    return NormalDist().inv_cdf(p)
