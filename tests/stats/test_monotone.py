"""The null of the longest increasing run, by counting all permutations, and the calibrator by integration."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from begat.signals.monotone import longest_increasing
from begat.stats.monotone import log10_p_increasing, log_e_increasing, log_e_of_p


@pytest.mark.parametrize("n", range(1, 8))
def test_the_bound_holds_for_all_permutations(n: int) -> None:
    lengths = [longest_increasing(list(p)) for p in itertools.permutations(range(n))]
    for k in range(1, n + 1):
        assert np.mean([x >= k for x in lengths]) <= 10 ** log10_p_increasing(k, n) * (1 + 1e-9)
    assert np.mean([math.exp(log_e_increasing(x, n)) for x in lengths]) <= 1


def test_whole_order_is_one_permutation_of_all() -> None:
    assert log10_p_increasing(20, 20) == pytest.approx(-math.log10(math.factorial(20)))
    assert log10_p_increasing(0, 0) == log10_p_increasing(1, 5) == 0.0


def test_longest_increasing_against_brute_force() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        values = rng.permutation(8).tolist()
        brute = max(len(s) for r in range(9) for s in itertools.combinations(values, r) if list(s) == sorted(s))
        assert longest_increasing(values) == brute


def test_the_calibrator_integrates_to_at_most_one_and_falls() -> None:
    logs = np.linspace(-60, 0, 60_001)  # log10 p
    e = np.array([math.exp(log_e_of_p(x)) for x in logs])
    assert (np.diff(e) <= 1e-9 * e[1:]).all()
    p = 10**logs
    assert np.sum(np.diff(p) * e[:-1]) <= 1.001  # an upper sum, as e falls
    assert log_e_of_p(-5000) > 11_000  # no underflow


def test_a_simulated_null_of_large_runs() -> None:
    rng = np.random.default_rng(1)
    e = [math.exp(log_e_increasing(longest_increasing(rng.permutation(150).tolist()), 150)) for _ in range(400)]
    assert np.mean(e) <= 1
