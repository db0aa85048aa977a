"""Trained-state agreement on weights whose initial and learned parts are known."""

from __future__ import annotations

import numpy as np
import pytest

from begat.signals.trained import Agreement, _floor, trained_agreement

D, ROWS, MATRICES, NORMS = 96, 64, 12, 6
Model = tuple[list[np.ndarray], list[np.ndarray]]  # gains, matrices


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def start(rng: np.random.Generator, sd: float) -> Model:
    return [np.ones(D) for _ in range(NORMS)], [sd * rng.standard_normal((ROWS, D)) for _ in range(MATRICES)]


def learned(rng: np.random.Generator, gain_sd: float, sd: float) -> Model:
    """What training adds: more to some rows and columns than to others, and nothing to a few."""
    gains = [gain_sd * rng.standard_normal(D) for _ in range(NORMS)]
    scale = [np.outer(rng.uniform(0, 2, ROWS), rng.uniform(0, 2, D)) for _ in range(MATRICES)]
    return gains, [sd * s * rng.standard_normal((ROWS, D)) for s in scale]


def plus(*models: Model, weights: tuple[float, ...] = ()) -> Model:
    weights = weights or (1.0,) * len(models)
    return tuple([sum(w * m[kind][i] for w, m in zip(weights, models, strict=True)) for i in range(len(models[0][kind]))] for kind in (0, 1))  # type: ignore[return-value]


def agree(a: Model, b: Model) -> Agreement:
    f32 = np.float32
    return trained_agreement(
        [(x.astype(f32), y.astype(f32)) for x, y in zip(a[0], b[0], strict=True)],
        ((x.astype(f32), y.astype(f32)) for x, y in zip(a[1], b[1], strict=True)),
    )


@pytest.mark.parametrize("sd", [0.005, 0.02, 0.3])
@pytest.mark.parametrize("common", [0.0, 0.3, 0.8])
def test_twins_share_no_more_than_what_they_learned_alike(rng: np.random.Generator, common: float, sd: float) -> None:
    """Gains correlate at what was learned alike; the share is at most that, whatever the initial deviation was."""
    w, both, mine, other = start(rng, sd), learned(rng, 0.1, sd), learned(rng, 0.1, sd), learned(rng, 0.1, sd)
    a, b = (plus(w, both, own, weights=(1, common**0.5, (1 - common) ** 0.5)) for own in (mine, other))
    found = agree(a, b)
    assert found.gains == pytest.approx(common, abs=0.12) and found.ranks == pytest.approx(common, abs=0.12)
    assert found.moved_a == pytest.approx(0.1, rel=0.1) and found.moved_b == pytest.approx(0.1, rel=0.1)
    assert found.share is not None and found.share <= common + 0.1


@pytest.mark.parametrize("sd", [0.005, 0.02, 0.3])
@pytest.mark.parametrize("drift", [0.0, 0.3, 1.0, 2.0])
def test_a_child_shares_all_however_far_it_went(rng: np.random.Generator, drift: float, sd: float) -> None:
    parent = plus(start(rng, sd), learned(rng, 0.1, sd))
    child = plus(parent, learned(rng, 0.1 * drift, drift * sd))
    for found in (agree(parent, child), agree(child, parent)):
        assert found.share == pytest.approx(1, abs=0.12)
        assert found.gains == pytest.approx((1 + drift**2) ** -0.5, abs=0.08)


def test_swapped_models_agree_as_much(rng: np.random.Generator) -> None:
    w = start(rng, 0.02)
    a, b = plus(w, learned(rng, 0.1, 0.02)), plus(w, learned(rng, 0.05, 0.03))
    x, y = agree(a, b), agree(b, a)
    assert (x.gains, x.ranks, x.share) == pytest.approx((y.gains, y.ranks, y.share))
    assert (x.moved_a, x.square_a, x.quiet_a) == pytest.approx((y.moved_b, y.square_b, y.quiet_b))


def test_one_giant_gain_carries_the_correlation_and_not_the_ranks(rng: np.random.Generator) -> None:
    w = start(rng, 0.02)
    a, b = plus(w, learned(rng, 0.05, 0.02)), plus(w, learned(rng, 0.05, 0.02))
    for gains in (*a[0], *b[0]):
        gains[7] += 5
    found = agree(a, b)
    assert found.gains is not None and found.gains > 0.9
    assert found.ranks is not None and abs(found.ranks) < 0.2


def test_equal_gains_share_a_rank() -> None:
    """On a coarse grid most gains are equal; their order in the file says nothing."""
    a, b = (np.repeat(x, 32).astype(np.float32) for x in ([1.0, 1.0, 1.0, 1.5], [1.0, 1.0, 1.0, 1.5]))
    assert trained_agreement([(a, b)], []).ranks == pytest.approx(1)
    assert abs(trained_agreement([(a, b[::-1])], []).ranks or 9) < 0.5


@pytest.mark.parametrize("shape", [(64, 96), (16, 200), (64, 64), (200, 24)])
def test_the_floor_of_weights_drawn_alike_is_their_variance(rng: np.random.Generator, shape: tuple[int, int]) -> None:
    """The quietest are chosen on one half and measured on the other, so chance makes the floor too low by no more than its noise."""
    floors = [_floor(rng.standard_normal(shape) ** 2) for _ in range(200)]
    assert np.mean(floors) == pytest.approx(1, abs=0.1)


def test_the_floor_is_that_of_the_columns_or_rows_left_alone(rng: np.random.Generator) -> None:
    w = rng.standard_normal((64, 96))
    w[:, 20:] *= 3
    assert _floor(w**2) == pytest.approx(1, abs=0.2)
    assert _floor(w.T**2) == pytest.approx(1, abs=0.2)


def test_the_quietest_matrix_shows_the_initial_variance(rng: np.random.Generator) -> None:
    model = plus(start(rng, 0.02), learned(rng, 0.1, 0.08))
    found = agree(model, model)
    assert found.quiet_a == found.quiet_b == pytest.approx(0.02**2, rel=0.5)
    assert found.square_a == found.square_b and (found.square_a or 0) > 5 * 0.02**2


def test_what_cannot_be_computed_is_none(rng: np.random.Generator) -> None:
    w = start(rng, 0.02)
    found = agree(w, w)
    assert found.gains is None and found.ranks is None and found.moved == 0  # all gains are constant
    flat = w[0], [np.full((ROWS, D), 0.02)] * MATRICES
    assert agree(flat, flat).share is None  # nothing stands above the floor
    assert agree((w[0], w[1][:0]), (w[0], w[1][:0])).square_a is None
    few = [(np.array([1.0, 1.1, 0.9], np.float32),) * 2]
    assert trained_agreement(few, []).gains is None
    assert trained_agreement([], []).cells == 0
    zero = ([np.zeros(D)] * NORMS, [np.zeros((ROWS, D))] * MATRICES)
    assert agree(zero, zero).share is None
