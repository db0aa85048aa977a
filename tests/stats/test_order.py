"""p bounds and e-values of hit counts: against exact permutation counts, simulation, and each other."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from begat.signals.order import order_hits
from begat.stats.order import (
    LAMBDAS,
    LN10,
    log10_p_alternatives,
    log10_p_bound,
    log10_p_combined,
    log10_p_looks,
    log_e_alternatives,
    log_e_axis,
    log_e_combined,
    log_e_single,
    max_log_e,
)


def fixed_points(n: int) -> list[float]:
    """Exact distribution of the number of fixed points of a uniform permutation of n."""
    counts = [0] * (n + 1)
    for p in itertools.permutations(range(n)):
        counts[sum(i == j for i, j in enumerate(p))] += 1
    return [c / math.factorial(n) for c in counts]


@pytest.mark.parametrize("n", [2, 3, 5, 7])
def test_bounds_hold_exactly_for_the_worst_case(n: int) -> None:
    """f injective is the worst case: H is the number of fixed points. Tails and e-value means are computed, not sampled."""
    dist = fixed_points(n)
    for k in range(n + 1):
        assert math.log10(max(sum(dist[k:]), 1e-300)) <= log10_p_bound([k], [n]) + 1e-12
    assert sum(p * math.exp(log_e_single(k, n)) for k, p in enumerate(dist)) <= 1 + 1e-12


@pytest.mark.parametrize(("n", "tests"), [(4, 2), (4, 3), (5, 4), (6, 10)])
def test_sums_of_independent_tests_keep_the_bounds(n: int, tests: int) -> None:
    dist = np.array(fixed_points(n))
    total = np.array([1.0])
    for _ in range(tests):
        total = np.convolve(total, dist)
    tail = total[::-1].cumsum()[::-1]
    for k, p in enumerate(tail):
        assert math.log10(max(p, 1e-300)) <= log10_p_bound([k] + [0] * (tests - 1), [n] * tests) + 1e-9


def test_axis_e_value_has_mean_at_most_one_exactly() -> None:
    dist = fixed_points(4)
    mean = 0.0
    for hits in itertools.product(range(5), repeat=3):
        weight = math.prod(dist[h] for h in hits)
        mean += weight * math.exp(log_e_axis(hits, [4] * 3)) if weight else 0.0
    assert mean <= 1 + 1e-12


def test_stopping_early_keeps_the_mean_at_most_one() -> None:
    """Stop after the first round when it looks good, else read a second one: the mean over all paths stays at most 1."""
    dist = fixed_points(4)
    mean = 0.0
    for first in itertools.product(range(5), repeat=2):
        p1 = math.prod(dist[h] for h in first)
        now = math.exp(log_e_axis(first, [4] * 2, planned=4))
        if now >= 1.0:
            mean += p1 * now
            continue
        for second in itertools.product(range(5), repeat=2):
            mean += p1 * math.prod(dist[h] for h in second) * math.exp(log_e_axis(first + second, [4] * 4, planned=4))
    assert mean <= 1 + 1e-12


def test_looks_pay_for_themselves() -> None:
    dist = np.array(fixed_points(5))
    pair = np.convolve(dist, dist)
    for alpha in (0.3, 0.1, 0.03, 0.01):
        wrong = 0.0
        for k1, p1 in enumerate(dist):
            if log10_p_looks(log10_p_bound([k1], [5]), 1) <= math.log10(alpha):
                wrong += p1
                continue
            wrong += sum(
                p1 * p2 for k2, p2 in enumerate(dist) if log10_p_looks(log10_p_bound([k1, k2], [5, 5]), 2) <= math.log10(alpha)
            )
        assert wrong <= alpha
    assert pair.sum() == pytest.approx(1)


def test_looks_spend_no_more_than_was_allowed() -> None:
    """Were the bound at every look exact and the looks disjoint, P(some look says alpha) would be the sum of what each may say."""
    for alpha in (0.3, 0.01):
        grid = np.logspace(-8, 0, 20001)
        spent = 0.0
        for look in range(1, 9):
            spent += max(p for p in grid if log10_p_looks(math.log10(p), look) <= math.log10(alpha))
        assert spent <= alpha * 1.001


def test_axes_are_combined_by_an_e_value_whatever_their_e_values_are() -> None:
    """Two axes whose e-values are 2 or next to nothing, each with probability 1/2: as large as a mean of 1 allows."""
    two, none = math.log(2), -50.0
    mean = np.mean([math.exp(log_e_combined([x, y])) for x in (two, none) for y in (two, none)])
    assert mean <= 1 + 1e-9
    assert np.mean([math.exp(log_e_combined([x])) for x in (two, none)]) <= 1 + 1e-9


def test_factorial_for_one_test() -> None:
    for k in (2, 5, 20, 170, 512):
        assert log10_p_bound([k], [4096]) == pytest.approx(-math.lgamma(k + 1) / LN10)
    assert log10_p_bound([512], [512]) < -1160


def test_no_hits_is_no_evidence_and_costs_little() -> None:
    assert log10_p_bound([0], [9]) == log10_p_bound([1], [9]) == log10_p_bound([1] * 30, [9] * 30) == 0.0
    assert -2.0 < log_e_axis([0] * 80, [64] * 80) / LN10 <= 0.0
    assert log_e_axis([], []) == 0.0
    assert log_e_combined([]) == 0.0


def test_one_live_axis_is_not_drowned() -> None:
    assert log_e_combined([log_e_axis([1] * 80, [64] * 80), log_e_single(64, 64)]) / LN10 > 70


def test_alternatives_are_averaged() -> None:
    assert log_e_alternatives([64, 0, 0], [64] * 3) == pytest.approx(log_e_single(64, 64) - math.log(3), abs=1e-6)
    assert log10_p_alternatives([10, 0], [64, 64]) == pytest.approx(log10_p_bound([10], [64]) + math.log10(2))


def test_small_axes_are_not_wasted() -> None:
    """Both of two units hit has probability 1/2, and the e-value comes near 2; 64 such layers are overwhelming."""
    assert log_e_single(2, 2) > math.log(1.5) - 0.6
    assert log_e_axis([2] * 64, [2] * 64) / LN10 > 17
    assert log10_p_bound([2] * 64, [2] * 64) == pytest.approx(64 * math.log10(0.5), abs=0.2)
    assert log10_p_combined([-3.0, -9.0, 0.0]) == pytest.approx(-9 + math.log10(3))


@given(st.lists(st.integers(0, 64), min_size=1, max_size=40))
def test_more_hits_never_weaken(hits: list[int]) -> None:
    more, units = [h + 1 for h in hits], [65] * len(hits)
    assert log_e_axis(more, units) > log_e_axis(hits, units)
    assert log10_p_bound(more, units) <= log10_p_bound(hits, units)
    assert log_e_axis(hits, units) <= max_log_e(units)


def test_lambda_grid_covers_saturated_layers() -> None:
    best = max(64 * math.log1p(x) - x for x in LAMBDAS)
    assert best > 0.97 * (64 * math.log(64) - 63)


def _stranger(rng: np.random.Generator, shared: np.ndarray, m: int, noise: float) -> np.ndarray:
    """A model's units: shared ("universal") features in an order of its own, and noise of its own."""
    return (shared[rng.permutation(len(shared))[:m]] + noise * rng.standard_normal((m, shared.shape[1]))).astype(np.float32)


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.05, 0.5, 2.0]), st.sampled_from([8, 32]))
def test_strangers_with_universal_units_keep_mean_hits_and_e_at_most_one(seed: int, noise: float, m: int) -> None:
    """Independent pairs that share *all* their features: only the order is theirs. Mean hits <= 1 and E[e] <= 1 within error."""
    rng = np.random.default_rng(seed)
    shared = rng.standard_t(3, size=(m, 24))
    hits = np.array([order_hits([_stranger(rng, shared, m, noise)], [_stranger(rng, shared, m, noise)]).hits for _ in range(300)])
    e = np.exp([log_e_single(int(h), m) for h in hits])
    assert hits.mean() <= 1 + 4 * hits.std(ddof=1) / math.sqrt(len(hits)) + 1e-9
    assert e.mean() <= 1 + 5 * max(e.std(ddof=1), 0.3) / math.sqrt(len(e))
    for k in (3, 4, 5, 6):
        bound = 1 / math.factorial(k)
        assert (hits >= k).mean() <= bound + 5 * math.sqrt(bound / len(hits))
