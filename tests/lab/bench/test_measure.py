"""Measures against counts made by hand."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("scipy", reason="the lab needs scipy: pip install begat[lab]")

from begat_lab.bench.measure import auc, auc_interval, calibrate, clopper_pearson, detection

A = np.array


def test_auc_counts_pairs_and_halves_ties() -> None:
    # against 1, 2, 3 and 4: 2 beats one and ties one, 5 beats all
    assert auc(A([4.0, 1.0, 3.0, 2.0]), A([2.0, 5.0])) == pytest.approx((1.5 + 4) / 8)
    assert auc(A([1.0, 2.0]), A([3.0])) == 1.0
    assert auc(A([3.0]), A([1.0, 2.0])) == 0.0


def test_weights_of_auc_count_as_copies() -> None:
    plain = auc(A([1.0, 1.0, 3.0]), A([2.0, 4.0, 4.0, 4.0]))
    assert auc(A([1.0, 3.0]), A([2.0, 4.0]), A([2.0, 1.0]), A([1.0, 3.0])) == pytest.approx(plain)


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),  # Clopper and Pearson: (α/2)^(1/n) at the ends; 1 of 10 from the tables
    [(0, 3240, 0.0, 1 - 0.025 ** (1 / 3240)), (5, 5, 0.025 ** (1 / 5), 1.0), (1, 10, 0.002529, 0.445016), (0, 0, 0.0, 1.0)],
)
def test_clopper_pearson(k: int, n: int, low: float, high: float) -> None:
    assert clopper_pearson(k, n) == pytest.approx((low, high), abs=1e-6)


def test_detection_stands_strictly_above_the_threshold() -> None:
    strangers = np.arange(200.0)  # the greatest are 199, 198, 197
    children = A([198.0, 199.0, 199.5, 300.0])
    none, percent = detection(strangers, children, 0.0), detection(strangers, children, 0.01)
    assert (none.threshold, none.found.k, none.found.n) == (199.0, 2, 4)
    assert percent.threshold == 197.0  # 198 and 199 are the two of 200 that may be accused
    assert percent.found.k == 4
    assert (strangers > percent.threshold).sum() == 2


def test_a_rate_below_one_stranger_is_not_resolved() -> None:
    assert detection(np.arange(999.0), A([1e9]), 0.001).found is None
    assert detection(np.arange(1000.0), A([1e9]), 0.001).found.k == 1


def test_ties_among_strangers_never_raise_the_false_alarms() -> None:
    strangers = A([0.0] * 95 + [1.0] * 5)
    assert detection(strangers, A([1.0]), 0.01).threshold == 1.0


def test_bootstrap_is_over_models() -> None:
    """Ten pairs that all share one model carry as much as that model: the interval is wide although pairs are many."""
    rng = np.random.default_rng(0)
    models = np.array([[i, j] for i in range(12) for j in range(i + 1, 12)])
    scores = np.where((models == 0).any(axis=1), 10.0, 0.0)  # one odd model makes all its pairs look related
    found = auc_interval(scores, models, np.full(20, 5.0), np.arange(20), rng)
    assert found.value == pytest.approx(1 - 11 / 66)
    assert found.low < 0.75  # with luck the odd model is drawn three times
    assert found.high == 1.0  # and a third of the time not at all
    assert auc_interval(scores[:0], models[:0], np.full(2, 5.0), np.arange(2), rng).value is None


def test_uniform_p_pass_and_halved_p_do_not() -> None:
    p = np.random.default_rng(1).uniform(size=4000)
    assert calibrate(np.log10(p)).exceeded == ()
    small = calibrate(np.log10(p / 2))
    assert 0.1 in [round(a, 3) for a in small.exceeded]
    at = {round(a, 6): f.k for a, f in zip(small.alphas, small.found, strict=True)}
    assert at[0.01] == int((p <= 0.02).sum())
