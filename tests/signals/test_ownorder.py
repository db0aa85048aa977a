"""Patterns too weak for one layer show in all layers together; random orders of any weights do not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.linalg import hadamard
from scipy.stats import qmc

from begat.signals.alike import row_ties
from begat.signals.order import unit_rows
from begat.signals.ownorder import CERTAIN, own_scores, shown

L, M, D = 12, 128, 64
TABLES: dict[str, np.ndarray] = {
    "identity": np.tile(np.eye(D), (M // D, 1)),
    "hadamard": hadamard(M)[:, :D],
    "cosines": np.cos(np.pi * np.outer(np.arange(M), np.arange(D) + 0.5) / D),
    "sobol": qmc.Sobol(D, scramble=False).random(M) - 0.5,
    "golden ratio": (np.arange(M * D).reshape(M, D) * 0.6180339887498949) % 1 - 0.5,
    "random table": np.random.default_rng(0).standard_normal((M, D)),
}


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.mark.parametrize("roll", [0, 1])
@pytest.mark.parametrize("name", TABLES)
def test_a_faint_pattern_shows_in_all_layers_together(name: str, roll: int, rng: np.random.Generator) -> None:
    table = TABLES[name] / np.sqrt(np.mean(np.square(TABLES[name])))
    layers = [(rng.standard_normal((M, D)) + 0.25 * np.roll(table, roll * i, 1)).astype(np.float32) for i in range(L)]
    assert shown(own_scores(layers, range(L))) is not None
    reordered = [x[rng.permutation(M)] for x in layers]
    assert shown(own_scores(reordered, range(L))) is None


STRANGE: dict[str, Callable[[np.random.Generator, int, int, int], np.ndarray]] = {
    "normal": lambda rng, n, m, d: rng.standard_normal((n, m, d)),
    "heavy-tailed": lambda rng, n, m, d: rng.standard_t(1.5, (n, m, d)),
    "low rank": lambda rng, n, m, d: rng.standard_normal((n, m, 2)) @ rng.standard_normal((2, d)) + 0.2 * rng.standard_normal((n, m, d)),
    "smooth features": lambda rng, n, m, d: np.cumsum(rng.standard_normal((n, m, d)), axis=2),
    "one large column": lambda rng, n, m, d: rng.standard_normal((n, m, d)) + 50 * rng.standard_normal((n, m, 1)) * (np.arange(d) == 3),
    "sparse": lambda rng, n, m, d: rng.standard_normal((n, m, d)) * (rng.random((n, m, d)) < 0.05),
    "dead units": lambda rng, n, m, d: rng.standard_normal((n, m, d)) * (rng.random((n, m, 1)) < 0.5),
    "every layer twice": lambda rng, n, m, d: np.repeat(rng.standard_normal((n // 2, m, d)), 2, axis=0) + 0.3 * rng.standard_normal((n // 2 * 2, m, d)),
    "one layer throughout": lambda rng, n, m, d: rng.standard_normal((1, m, d)) + 0.3 * rng.standard_normal((n, m, d)),
}


@pytest.mark.parametrize("name", STRANGE)
def test_random_orders_stay_far_from_certain_whatever_the_weights(name: str, rng: np.random.Generator) -> None:
    least = 0.0
    for n, m, d in [(8, 64, 48), (24, 32, 64), (4, 128, 96), (12, 8, 64)] * 5:
        layers = STRANGE[name](rng, n, m, d).astype(np.float32)
        least = min([least, *(s.log10_p for s in own_scores(list(layers), range(len(layers))))])
    assert least > CERTAIN


def test_rows_of_one_draw_are_tied_at_any_shift_and_others_are_not(rng: np.random.Generator) -> None:
    drawn = rng.standard_normal((200, 64)).astype(np.float32)
    tokens = unit_rows([drawn[:128]])
    for shift in (0, 5):
        units = (drawn[shift : shift + 96] + 2 * rng.standard_normal((96, 64))).astype(np.float32)
        assert row_ties(unit_rows([units]), tokens)[0] > 10
    others = [row_ties(unit_rows([rng.standard_normal((96, 64)).astype(np.float32)]), tokens)[0] for _ in range(20)]
    assert max(others) < 6
