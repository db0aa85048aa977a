"""The order test on arrays."""

from __future__ import annotations

import numpy as np
import pytest

from begat.signals.order import order_hits


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def test_a_copy_hits_everywhere(rng: np.random.Generator) -> None:
    a = rng.standard_normal((40, 30)).astype(np.float32)
    b = a + 0.3 * rng.standard_normal(a.shape).astype(np.float32)
    assert order_hits([a], [b]).hits == 40
    assert order_hits([a * 1e-6], [b * 1e4]).hits == 40


def test_reordering_destroys_hits(rng: np.random.Generator) -> None:
    a = rng.standard_normal((40, 30)).astype(np.float32)
    assert order_hits([a], [np.roll(a, 1, axis=0)]).hits == 0


def test_views_add_up(rng: np.random.Generator) -> None:
    a = rng.standard_normal((64, 40)).astype(np.float32)
    noisy = [a + 6 * rng.standard_normal(a.shape).astype(np.float32) for _ in range(4)]
    one = order_hits([a], noisy[:1]).hits
    all_views = order_hits([a] * 4, noisy).hits
    assert all_views > one


def test_ties_are_no_hits() -> None:
    same = np.ones((10, 5), np.float32)
    assert order_hits([same], [same]).hits == 0
    pairs = np.repeat(np.eye(5, dtype=np.float32), 2, axis=0)
    assert order_hits([pairs], [pairs]).hits == 0


def test_padding_at_equal_indices_is_dropped(rng: np.random.Generator) -> None:
    """Two strangers padded with zeros at the same places: the padding must not find itself."""
    a, b = (rng.standard_normal((30, 20)).astype(np.float32) + 3 for _ in range(2))
    a[12:] = 0
    b[12:] = 0
    found = order_hits([a], [b])
    assert found.m == 12
    assert found.constant == 18
    one_pad_a, one_pad_b = a[:13], b[:13]
    assert order_hits([one_pad_a], [one_pad_b]).m == 12


def test_nothing_varies() -> None:
    zero = np.zeros((8, 4), np.float32)
    assert order_hits([zero], [zero]).m == 0


def test_rounding_noise_on_a_constant_feature_is_no_feature(rng: np.random.Generator) -> None:
    """All units share one large constant; float rounding around it must not become a feature."""
    noise = 3e-4 * rng.standard_normal((32, 8))
    a, b = (1234.5 + noise).astype(np.float32), (1234.5 + noise).astype(np.float32)
    assert (a.std(axis=0) > 0).all()
    assert order_hits([a], [b]).hits == 0
    assert order_hits([np.full((32, 8), 1234.5, np.float32)], [np.full((32, 8), 77.7, np.float32)]).hits == 0


def test_padding_of_one_model_leaves_both(rng: np.random.Generator) -> None:
    a, b = (rng.standard_normal((64, 40)).astype(np.float32) for _ in range(2))
    a[60:] = 0
    assert order_hits([a], [b]).m == order_hits([b], [a]).m == 60


def test_noise_is_measured(rng: np.random.Generator) -> None:
    d = 400
    found = order_hits([rng.standard_normal((64, d)).astype(np.float32)], [rng.standard_normal((64, d)).astype(np.float32)])
    assert found.noise_sd == pytest.approx(1 / np.sqrt(d), rel=0.1)
    assert found.features == d
