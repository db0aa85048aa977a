"""Orders that stand by index are told from orders drawn at random, looking at one model alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.fft import dct
from scipy.linalg import hadamard

from begat.signals.indexed import INDEXED, index_scores

N, D, M = 256, 128, 64
NONE = np.zeros(0, dtype=np.int64)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def _noise(rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal((N, D))


def _banded(rng: np.random.Generator) -> np.ndarray:
    i, j = np.indices((N, D))
    return _noise(rng) * (np.abs(i * D / N - j) < 12)


def _sorted(rng: np.random.Generator) -> np.ndarray:
    w = _noise(rng) * np.exp(0.5 * rng.standard_normal(N))[:, None]
    return w[np.argsort(np.linalg.norm(w, axis=1))]


def _periodic(rng: np.random.Generator) -> np.ndarray:
    return _noise(rng) * (np.add.outer(np.arange(N), np.arange(D)) % 4 == 0)


PATTERNS: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "identity, tiled": lambda rng: np.tile(np.eye(D), (2, 1)) + 0.05 * _noise(rng),
    "hadamard": lambda rng: hadamard(N)[:, :D] + 0.5 * _noise(rng),
    "cosines": lambda rng: dct(np.eye(N), norm="ortho")[:, :D] + 0.02 * _noise(rng),
    "banded": _banded,
    "periodic mask": _periodic,
    "sorted by norm": _sorted,
    "blocks": lambda rng: _noise(rng) * np.kron(np.eye(8), np.ones((N // 8, D // 8))),
}
STRANGE: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "normal": _noise,
    "heavy-tailed": lambda rng: (
        _noise(rng) * np.exp(rng.standard_cauchy(N).clip(-4, 4))[:, None] * np.exp(rng.standard_cauchy(D).clip(-4, 4))
    ),
    "signs": lambda rng: np.sign(_noise(rng)),
    "repeated units": lambda rng: _noise(rng)[rng.integers(N // 4, size=N)],
    "one large column": lambda rng: _noise(rng) + 50.0 * (np.arange(D) == 3),
}


def _scores(w: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    units = np.sort(rng.permutation(N)[:M])
    return index_scores([w[units].astype(np.float32)], units, NONE)


@pytest.mark.parametrize("name", PATTERNS)
def test_a_pattern_is_seen_and_gone_when_reordered(name: str, rng: np.random.Generator) -> None:
    w = PATTERNS[name](rng)
    assert _scores(w, rng).max() > 1.5 * INDEXED
    assert max(_scores(w[rng.permutation(N)], rng).max() for _ in range(20)) < INDEXED


@pytest.mark.parametrize("name", STRANGE)
def test_random_orders_are_not_flagged_whatever_the_weights(name: str, rng: np.random.Generator) -> None:
    found = [_scores(STRANGE[name](rng), rng) for _ in range(60)]
    assert max(s.max() for s in found) < INDEXED


def test_scores_have_mean_zero_and_variance_one_over_all_orders(rng: np.random.Generator) -> None:
    """The exact moments of Mantel's statistic; the count of units at their own place is the last score and has a bound instead."""
    w = (_noise(rng) * np.exp(rng.standard_normal(N))[:, None]).astype(np.float32)[:M]
    units = np.sort(rng.permutation(N)[:M])
    z = np.stack([index_scores([w[rng.permutation(M)]], units, NONE)[:-1] for _ in range(600)])
    varies = z.std(axis=0) > 0
    assert np.abs(z.mean(axis=0)).max() < 0.25
    assert np.abs(z.std(axis=0)[varies] - 1).max() < 0.15


def test_sampled_columns_are_known_by_their_index(rng: np.random.Generator) -> None:
    """An embedding that starts as one-hot rows: the columns of a view are sampled tokens."""
    tokens = np.sort(rng.permutation(200)[:64])
    table = np.eye(200, 128) + 0.01 * rng.standard_normal((200, 128))
    found = index_scores([np.ascontiguousarray(table[tokens].T, dtype=np.float32)], np.arange(128), tokens)
    assert found[-1] > INDEXED


def test_vectors_are_looked_at_together(rng: np.random.Generator) -> None:
    """Norm gains of several layers, each a smooth function of the index."""
    t = np.linspace(0, 1, 128)
    gains = [np.exp(-((t - k / 8) ** 2) / 0.02)[:, None].astype(np.float32) for k in range(8)]
    assert index_scores(gains, np.arange(128), NONE).max() > INDEXED


def test_too_few_units_say_nothing(rng: np.random.Generator) -> None:
    assert index_scores([np.eye(4, dtype=np.float32)], np.arange(4), NONE).size == 0
