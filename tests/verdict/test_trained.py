"""Descended, or only grown from one start: each number must hold, and nothing is read off a config that the weights contradict."""

from __future__ import annotations

from dataclasses import replace

import pytest

from begat.signals.trained import Agreement
from begat.stats.twins import load_bank
from begat.verdict import POLICY
from begat.verdict.trained import judge_trained

SD = 0.02
CHILD = Agreement(gains=0.95, ranks=0.94, moved_a=0.06, moved_b=0.07, share=0.98, square_a=2.2 * SD**2, square_b=2.6 * SD**2,
                  quiet_a=1.05 * SD**2, quiet_b=1.1 * SD**2, cells=40)  # fmt: skip
TWIN = replace(CHILD, gains=0.45, ranks=0.43, moved_b=0.062, share=-1.2)
SIBLING = replace(CHILD, gains=0.85, ranks=0.82, moved_b=0.065, share=-0.2)


def state(found: Agreement, stated: set[float] | None = None, whole: bool = True) -> str:
    return judge_trained(found, {SD} if stated is None else stated, load_bank(), whole).state


def test_child_twin_and_sibling() -> None:
    assert state(CHILD) == "trained"
    assert state(TWIN) == "initial"
    assert state(SIBLING) == "unknown"


@pytest.mark.parametrize(
    "change",
    [
        {"gains": None},
        {"ranks": None},
        {"share": None},
        {"gains": POLICY.trained_gains - 0.01},
        {"ranks": POLICY.trained_gains - 0.01},
        {"share": POLICY.trained_share - 0.01},
        {"moved_a": POLICY.trained_moved - 0.001},
        {"moved_b": POLICY.trained_moved - 0.001},
        {"square_a": 1.4 * SD**2},
        {"square_b": 1.4 * SD**2},
        {"square_a": None, "square_b": None, "quiet_a": None, "quiet_b": None},
    ],
    ids=str,
)
def test_a_child_that_lacks_one_thing_leaves_both_open(change: dict[str, float | None]) -> None:
    assert state(replace(CHILD, **change)) == "unknown"  # type: ignore[arg-type]


def test_twins_of_a_few_hot_steps_are_not_called_derived() -> None:
    """Measured: 40 steps at 5e-3 on 64 sequences, matrices N(0, 0.04²) as stated, embeddings N(0, 1): not even the energies tell."""
    hot = replace(CHILD, gains=0.90, ranks=0.88, moved_a=0.032, moved_b=0.033, share=0.83)
    assert state(hot) == state(replace(hot, gains=0.91, ranks=0.91, share=0.86)) == "unknown"
    light = replace(hot, gains=0.99, ranks=0.98, share=1.0)
    assert state(light) == "trained", "a light fine-tune of a parent that has moved as little"


@pytest.mark.parametrize(
    "change",
    [
        {"gains": None},
        {"share": None},
        {"gains": POLICY.initial_gains + 0.01},
        {"ranks": POLICY.initial_gains + 0.01},
        {"share": POLICY.initial_share + 0.01},
        {"moved_a": POLICY.trained_moved - 0.001},
        {"moved_b": 0.06 * POLICY.initial_ratio + 0.001},
    ],
    ids=str,
)
def test_a_twin_that_lacks_one_thing_leaves_both_open(change: dict[str, float | None]) -> None:
    assert state(replace(TWIN, **change)) == "unknown"  # type: ignore[arg-type]


def test_twins_keep_every_order_and_children_need_not() -> None:
    assert state(TWIN, whole=False) == "unknown"
    assert state(CHILD, whole=False) == "trained"


@pytest.mark.parametrize("stated", [set(), {0.02, 0.04}])
def test_no_stated_deviation_or_two(stated: set[float]) -> None:
    found = judge_trained(CHILD, stated, load_bank(), True)
    assert found.state == "unknown" and "states the deviation" in found.why
    assert found.initial_sd is found.energy_a is found.energy_b is None
    assert state(TWIN, stated) == "initial"  # rests on numbers that need none


@pytest.mark.parametrize(
    ("drawn", "words"),
    [(3 * SD, "wider"), (0.0722, "wider"), (2 * SD, "wider"), (SD / 2, "narrower"), (SD / 4, "narrower")],
)
def test_a_stated_deviation_that_the_weights_contradict_counts_as_not_stated(drawn: float, words: str) -> None:
    """The same model, in units of the deviation that was drawn, under a config that says another."""
    scale = (drawn / SD) ** 2
    grown = {n: getattr(CHILD, n) * scale for n in ("square_a", "square_b", "quiet_a", "quiet_b")}
    found = judge_trained(replace(CHILD, **grown), {SD}, load_bank(), True)
    assert found.state == "unknown" and words in found.why and "counts as not stated" in found.why
    assert found.initial_sd is found.energy_a is None
    assert judge_trained(replace(CHILD, **grown), {drawn}, load_bank(), True).initial_sd == drawn


def test_one_contradiction_is_enough() -> None:
    for side in "ab":
        grown = {f"square_{side}": 12 * SD**2, f"quiet_{side}": 9 * SD**2}
        assert state(replace(CHILD, **grown)) == "unknown"


def test_training_however_far_contradicts_nothing_while_some_rows_are_near_their_start() -> None:
    far = replace(CHILD, square_a=12 * SD**2, square_b=17 * SD**2, quiet_a=1.9 * SD**2, quiet_b=1.3 * SD**2)
    found = judge_trained(far, {SD}, load_bank(), True)
    assert found.state == "trained" and found.energy_a == pytest.approx(12)


def test_what_is_told_of_the_bank() -> None:
    found, bank = judge_trained(CHILD, {SD}, load_bank(), True), load_bank()
    twins = bank.comparable(POLICY.comparable_moved)
    assert (found.twins, found.starts) == (len(twins), bank.starts(twins))
    assert found.twin_gains < POLICY.trained_gains and found.twin_share < POLICY.trained_share
    assert found.relative_gains > POLICY.initial_gains
