"""What a search costs: e-values over unknown counterparts have mean at most 1, copies on the averaged side included."""

from __future__ import annotations

import math

import numpy as np
import pytest

from begat.stats.order import log_e_single
from begat.stats.search import log_e_search

M = 6


def _hits(x: np.ndarray, y: np.ndarray) -> int:
    """Fixed points between two orders: the worst case, a rule that always finds the right partner."""
    return int((x == y).sum())


@pytest.mark.parametrize("copies", [False, True])
def test_mean_at_most_one(copies: bool) -> None:
    rng = np.random.default_rng(3)
    e = []
    for _ in range(6000):
        xs = [rng.permutation(M) for _ in range(3)]
        ys = [rng.permutation(M)] * 4 if copies else [rng.permutation(M) for _ in range(4)]
        e.append(math.exp(log_e_search({i: [log_e_single(_hits(x, y), M) for y in ys] for i, x in enumerate(xs)})))
    assert np.mean(e) <= 1 + 4 * np.std(e) / math.sqrt(len(e))


def test_the_other_way_about_would_not_hold() -> None:
    """The product over copied layers of means over the other's layers counts one lottery four times: this is why X is the product's side."""
    rng = np.random.default_rng(4)
    e = []
    for _ in range(6000):
        xs = [rng.permutation(M) for _ in range(3)]
        ys = [rng.permutation(M)] * 6
        e.append(math.exp(log_e_search({j: [log_e_single(_hits(x, y), M) for x in xs] for j, y in enumerate(ys)})))
    assert np.mean(e) > 1.5


def test_one_true_counterpart_among_many_costs_their_number() -> None:
    found = log_e_single(64, 64)
    chance = log_e_single(1, 64)
    logs = {i: [found if i == j else chance for j in range(10)] for i in range(4)}
    assert log_e_search(logs) == pytest.approx(4 * (found - math.log(10)) - math.log(2), rel=0.01)
    assert log_e_search({}) == 0.0


@pytest.mark.parametrize(("by_order", "holds"), [(False, True), (True, False)])
def test_a_partner_may_be_chosen_by_anything_but_the_order(by_order: bool, holds: bool) -> None:
    """Each of X's three lotteries is held against one of 400 candidates: chosen by which units were sampled, at no cost; chosen by hits, at a cost."""
    rng = np.random.default_rng(5)
    e = []
    for _ in range(1500):
        ys = rng.permuted(np.tile(np.arange(M + 1), (400, 1)), axis=1)[:, :M]
        logs = {}
        for i in range(3):
            x = rng.permutation(M + 1)[:M]  # the units that stand at the sampled indices
            score = (ys == x).sum(axis=1) if by_order else np.isin(ys, x).sum(axis=1)
            logs[i] = [log_e_single(_hits(x, ys[score.argmax()]), M)]
        e.append(math.exp(log_e_search(logs)))
    assert (np.mean(e) <= 1 + 4 * np.std(e) / math.sqrt(len(e))) == holds
