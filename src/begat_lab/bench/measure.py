"""What follows from scores: AUC, detection at a false-alarm rate, exact intervals, calibration.

Enters: scores of related and of unrelated pairs, higher meaning more related.  Leaves: frozen results.  Nothing here knows methods or families.

Pairs of one bench share models, so they are not independent: intervals of Clopper and Pearson are stated for pairs as if they were, and the interval of
an AUC is a bootstrap over *models* (unrelated side) and *families of descent* (related side), each drawn with replacement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import beta

from begat.types import F64, I64

# P related pairs    N unrelated pairs    R replicates


@dataclass(frozen=True, slots=True)
class Share:
    """k of n, with the exact interval of Clopper and Pearson (95 %)."""

    k: int
    n: int
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Rate:
    """Detection at a false-alarm rate: pairs above `threshold`, the least that keeps false alarms within `false_alarms`.

    `found` is None where so few unrelated pairs were scored that the rate cannot be resolved (fewer than 1 / rate).
    """

    false_alarms: float
    threshold: float | None
    found: Share | None


@dataclass(frozen=True, slots=True)
class Auc:
    """Probability that a related pair scores above an unrelated one, ties counted half; None without pairs.

    low, high: bootstrap, 95 %; None where none was made.
    """

    value: float | None
    low: float | None
    high: float | None


def clopper_pearson(k: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Exact interval of a binomial share (Clopper and Pearson 1934)."""
    if n == 0:
        return 0.0, 1.0
    tail = (1 - level) / 2
    low = 0.0 if k == 0 else float(beta.ppf(tail, k, n - k + 1))
    high = 1.0 if k == n else float(beta.ppf(1 - tail, k + 1, n - k))
    return low, high


def share(k: int, n: int) -> Share:
    """`k` of `n` with its interval."""
    return Share(k, n, *clopper_pearson(k, n))


def auc(unrelated_N: F64, related_P: F64, weight_N: F64 | None = None, weight_P: F64 | None = None) -> float:
    """Area under the curve by ranks: P(related > unrelated) + ½ P(equal); weights as counts."""
    order = np.argsort(unrelated_N, kind="stable")
    x = unrelated_N[order]
    w_N = np.ones(len(x)) if weight_N is None else weight_N[order]
    w_P = np.ones(len(related_P)) if weight_P is None else weight_P
    below = np.concatenate([[0.0], np.cumsum(w_N)])
    less, up_to = below[np.searchsorted(x, related_P, "left")], below[np.searchsorted(x, related_P, "right")]
    return float((w_P * (less + up_to)).sum() / (2 * w_N.sum() * w_P.sum()))


def auc_interval(
    unrelated_N: F64, models_N2: I64, related_P: F64, families_P: I64, rng: np.random.Generator, replicates: int = 200
) -> Auc:
    """AUC with its bootstrap. models_N2: the two models of each unrelated pair; families_P: the family of descent of each related pair.

    In a replicate a model drawn twice counts twice: a pair weighs the product of its models' counts.
    """
    if not len(unrelated_N) or not len(related_P):
        return Auc(None, None, None)
    value, found = auc(unrelated_N, related_P), []
    n_models, n_families = int(models_N2.max()) + 1, int(families_P.max()) + 1
    for _ in range(replicates):
        models = np.bincount(rng.integers(n_models, size=n_models), minlength=n_models)
        families = np.bincount(rng.integers(n_families, size=n_families), minlength=n_families)
        w_N, w_P = (models[models_N2[:, 0]] * models[models_N2[:, 1]]).astype(float), families[families_P].astype(float)
        if w_N.sum() and w_P.sum():
            found.append(auc(unrelated_N, related_P, w_N, w_P))
    if not found:
        return Auc(value, None, None)
    low, high = np.quantile(found, [0.025, 0.975])
    return Auc(value, float(low), float(high))


def detection(unrelated_N: F64, related_P: F64, false_alarms: float) -> Rate:
    """Related pairs above the least threshold that at most this share of unrelated pairs exceeds (strictly above, so 0 means 0)."""
    n = len(unrelated_N)
    if not n or (false_alarms > 0 and n * false_alarms < 1):
        return Rate(false_alarms, None, None)
    allowed = int(np.floor(n * false_alarms + 1e-9))
    threshold = float(np.sort(unrelated_N)[n - 1 - allowed])
    return Rate(false_alarms, threshold, share(int((related_P > threshold).sum()), len(related_P)))


@dataclass(frozen=True, slots=True)
class Calibration:
    """Of p bounds of unrelated pairs: for each alpha how many are at most alpha. Honest bounds have `found` <= alpha.

    exceeded: the alphas at which even the lower end of the exact interval is above alpha (as if pairs were independent).
    """

    alphas: tuple[float, ...]
    found: tuple[Share, ...]
    exceeded: tuple[float, ...]


def calibrate(log10_p_N: F64, decades: Sequence[float] = (-0.301, -0.5, -1.0, -1.5, -2.0, -2.5, -3.0, -4.0, -5.0, -6.0)) -> Calibration:
    """Share of p bounds at most 10^decade, decade by decade."""
    alphas = tuple(10.0**d for d in decades)
    # a bound written with seven digits may stand a hair above the power of ten it equals
    found = tuple(share(int((log10_p_N <= d + 1e-6).sum()), len(log10_p_N)) for d in decades)
    return Calibration(alphas, found, tuple(a for a, f in zip(alphas, found, strict=True) if f.low > a))


def quantiles(values: F64, at: Sequence[float] = (0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1)) -> dict[str, float]:
    """Quantiles by name ("0.5")."""
    return {f"{q:g}": float(v) for q, v in zip(at, np.quantile(values, at), strict=True)} if len(values) else {}
