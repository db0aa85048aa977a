"""The search over pairs pays for itself, and the sign test is exact."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest

from begat.signals.inspect.copies import groups, hits_of_pairs, members
from begat.signals.order import order_hits
from begat.stats.pairs import log10_sign_test, paid, search_pairs


def test_the_worst_case_null_by_simulation() -> None:
    """All layers share one set of units; f is the identity on units, so hits of a pair are fixed points of a random
    permutation: the null's extreme."""
    rng = np.random.default_rng(0)
    layers, m = 7, 32
    es, ps, most = [], [], []
    for _ in range(3000):
        orders = [rng.permutation(m) for _ in range(layers)]
        hits = [int((a == b).sum()) for a, b in combinations(orders, 2)]
        e, p, single = search_pairs(hits, [m] * len(hits))
        es.append(10.0**e)
        ps.append(p)
        most.append(paid(max(single), len(hits)))
    assert np.mean(es) <= 1.0 + 3 * np.std(es) / len(es) ** 0.5
    for t in (1, 2, 3):
        assert np.mean(np.array(ps) <= -t) <= 10.0**-t + 3 * (10.0**-t / len(ps)) ** 0.5
        assert np.mean(np.array(most) >= t) <= 10.0**-t + 3 * (10.0**-t / len(most)) ** 0.5


def test_one_pair_of_copies_among_many_still_counts() -> None:
    n = 3160  # all pairs of 80 layers
    e, p, single = search_pairs([64] + [1] * (n - 1), [64] * n)
    assert e == pytest.approx(max(single) - math.log10(n), abs=1e-6)
    assert e > 60
    assert p == pytest.approx(-math.lgamma(65) / math.log(10) + math.log10(n), abs=0.1)
    with pytest.raises(ValueError, match="no pair"):
        search_pairs([], [])


@pytest.mark.parametrize("n", [1, 2, 7, 20, 64])
def test_sign_test_is_the_binomial(n: int) -> None:
    for k in range(n + 1):
        tail = sum(math.comb(n, i) for i in range(max(k, n - k), n + 1)) / 2**n
        assert 10 ** log10_sign_test(k, n) == pytest.approx(min(1.0, 2 * tail), rel=1e-9)


def test_pairs_of_places_are_the_order_test_of_two() -> None:
    rng = np.random.default_rng(1)
    base = rng.standard_normal((48, 60)).astype(np.float32)
    places = [
        [base + 0.5 * rng.standard_normal(base.shape).astype(np.float32), rng.standard_normal((48, 9)).astype(np.float32)]
        for _ in range(3)
    ]
    places[2] = [v[rng.permutation(48)] for v in places[2]]
    hits, cosine, m = hits_of_pairs(places, rng)
    assert m == 48
    for i, j in combinations(range(3), 2):
        assert hits[i, j] == order_hits(places[i], places[j]).hits
    assert hits[0, 1] > 40 and hits[0, 2] < 8
    assert cosine[0, 1] > 0.3 > abs(cosine[0, 2])


def test_hits_are_equivariant_and_padding_is_left_out() -> None:
    """Reordering both places alike changes no hit; units constant in one place are gone from all."""
    rng = np.random.default_rng(2)
    places = [[rng.standard_normal((40, 30)).astype(np.float32)] for _ in range(3)]
    order = rng.permutation(40)
    hits, _, _ = hits_of_pairs(places, np.random.default_rng(0))
    again, _, _ = hits_of_pairs([[v[order] for v in p] for p in places], np.random.default_rng(0))
    assert (hits == again).all()
    for p in places:
        p[0][:8] = 0.0
    padded, _, m = hits_of_pairs(places, np.random.default_rng(0))
    assert m == 32 and padded[0, 1] < 8


def test_groups_are_chained() -> None:
    root = groups(6, [(0, 2), (2, 4), (3, 5)])
    assert root == [0, 1, 0, 3, 0, 3]
    assert members(root) == [[0, 2, 4], [3, 5]]
