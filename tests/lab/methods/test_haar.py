"""MDIR's null: the bound on the trace of a random rotation against exact moments, simulation and its own limit."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("scipy", reason="the lab needs scipy: pip install begat[lab]")
mpmath = pytest.importorskip("mpmath", reason="determinants of many digits; torch brings it")

from scipy import stats  # noqa: E402

from begat_lab.methods.numbers import haar_rate, log_p_haar, log_p_trace  # noqa: E402

RNG = np.random.default_rng(8)
DIGITS = 400  # the determinants cancel hundreds of digits near the identity


def log_moment(d: int, t: float) -> float:
    """ln E exp(t tr U), U Haar on O(d), d even: half a Toeplitz plus Hankel determinant of Bessel functions, and half a minus one."""
    half = d // 2
    with mpmath.workdps(DIGITS):
        bessel = [mpmath.besseli(n, 2 * mpmath.mpf(t)) for n in range(2 * half + 2)]
        plus = mpmath.matrix(half, half)
        for i in range(half):
            for j in range(half):
                plus[i, j] = (bessel[abs(i - j)] + bessel[i + j]) / (2 if i == 0 else 1)
        minus = mpmath.matrix(half - 1, half - 1)
        for i in range(half - 1):
            for j in range(half - 1):
                minus[i, j] = bessel[abs(i - j)] - bessel[i + j + 2]
        return float(mpmath.log((mpmath.det(plus) + mpmath.det(minus)) / 2))


def chernoff(d: int, c: float) -> float:
    """ln of Chernoff's bound on P(tr U >= cd), at the t that is best for large d."""
    t = d * (c if c <= 0.5 else 1 / (4 * (1 - c)))
    return log_moment(d, t) - t * c * d


def test_the_exact_moments_are_those_of_random_rotations() -> None:
    traces = np.array([np.trace(stats.ortho_group.rvs(4, random_state=RNG)) for _ in range(5_000)])
    for t in (0.3, 1.0):
        draws = np.exp(t * traces)
        assert math.exp(log_moment(4, t)) == pytest.approx(draws.mean(), abs=5 * draws.std() / math.sqrt(len(draws)))


@pytest.mark.parametrize("d", [4, 8, 16])
@pytest.mark.parametrize("c", [0.3, 0.5, 0.55, 0.75, 0.9, 0.97, 0.995])
def test_the_bound_holds(d: int, c: float) -> None:
    """P <= Chernoff <= ours; and ours is not much larger, so it is the right rate."""
    exact, ours = chernoff(d, c), log_p_haar(c * d, d)
    assert exact <= ours + 1e-6
    assert ours <= exact * (1 - 1.5 / d) + 1e-6


@pytest.mark.parametrize("c", [0.75, 0.9])
def test_the_limit_formula_alone_would_claim_too_much(c: float) -> None:
    assert -16 * 16 * haar_rate(c) < chernoff(16, c) - 1


def test_the_rate_is_smooth_at_its_transition_and_the_bound_falls() -> None:
    c = np.linspace(0.49, 0.51, 201)
    slope = np.gradient([haar_rate(float(x)) for x in c], c)
    assert np.abs(np.diff(slope)).max() < 2e-4
    bound = [log_p_haar(s, 24) for s in np.linspace(0, 24, 400)]
    assert (np.diff(bound) <= 0).all() and math.isfinite(bound[-1])


def test_the_p_of_the_trace() -> None:
    assert all(log_p_trace(stats.ortho_group.rvs(24, random_state=RNG)) > math.log(0.05) for _ in range(50))
    assert log_p_trace(np.eye(24)[RNG.permutation(24)] * -1) < -500
