"""The power statement: against simulation."""

from __future__ import annotations

import numpy as np
import pytest

from begat.signals.order import order_hits
from begat.stats.order import LN10, log_e_axis
from begat.stats.power import detectable_cosine, hit_probability


def test_hit_probability_matches_simulation() -> None:
    rng = np.random.default_rng(0)
    m, sd, cosine = 32, 0.05, 0.1
    noise = rng.normal(0, sd, (4000, m))
    noise[:, 0] += cosine
    assert hit_probability(cosine, sd, m) == pytest.approx((noise.argmax(axis=1) == 0).mean(), abs=0.03)
    assert hit_probability(0.0, sd, m) == pytest.approx(1 / m, rel=0.02)


def test_the_stated_cosine_is_seen_and_a_much_smaller_one_is_not() -> None:
    rng = np.random.default_rng(1)
    layers, m, d = 6, 48, 256

    def run(cosine: float) -> float:
        hits = []
        for _ in range(layers):
            a = rng.standard_normal((m, d)).astype(np.float32)
            b = cosine * a + np.sqrt(1 - cosine**2) * rng.standard_normal((m, d)).astype(np.float32)
            hits.append(order_hits([a], [b.astype(np.float32)]).hits)
        return log_e_axis(hits, [m] * layers) / LN10

    c = detectable_cosine([(m, 1 / np.sqrt(d))] * layers, 6.0)
    assert c is not None
    seen = [run(c + 0.01) >= 6 for _ in range(60)]
    assert np.mean(seen) >= 0.95
    assert np.mean([run(c / 3) >= 6 for _ in range(30)]) <= 0.1


def test_hopeless_samples_say_so() -> None:
    assert detectable_cosine([(3, 0.05)], 6.0) is None
    assert detectable_cosine([], 6.0) is None
