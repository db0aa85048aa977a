"""The bank of twins that ships with begat: read strictly, made from the shipped pedigrees, and apart from the relatives."""

from __future__ import annotations

import hashlib
from importlib import resources

from begat.signals.trained import Agreement
from begat.stats.twins import RELATIVES, TWINS, Pair, load_bank
from begat.verdict import POLICY
from begat.verdict.trained import judge_trained

#: what a pair of the bank would be read as, were its config right and its matrices grown far enough: the numbers alone
SD = 1.0


def read(p: Pair) -> str:
    found = Agreement(p.gains, p.ranks, p.moved_a, p.moved_b, p.share, 2.0, 2.0, 1.0, 1.0, 1)
    return judge_trained(found, {SD}, load_bank(), True).state


def test_the_recipes_are_the_shipped_pedigrees() -> None:
    """A pedigree changed after the bank was measured makes the bank stale."""
    pedigrees = resources.files("begat_lab.pedigrees")
    assert "starts-held" not in load_bank().recipes, "no threshold has seen it"
    for name, digest in load_bank().recipes.items():
        assert hashlib.sha256(pedigrees.joinpath(f"{name}.toml").read_bytes()).hexdigest() == digest


def test_the_bank_holds_enough_of_each() -> None:
    bank = load_bank()
    twins, siblings = bank.pairs[TWINS], bank.pairs["common-ancestor"]
    assert len(twins) >= 80 and bank.starts(twins) >= 10
    assert len(siblings) >= 60 and bank.starts(siblings) >= 5
    assert len(bank.comparable(POLICY.comparable_moved)) >= 40
    assert bank.starts(bank.comparable(POLICY.comparable_moved)) >= 8
    assert sum(p.moved < 0.015 for p in twins) >= 80, "twins trained briefly"


def test_thresholds_stand_beyond_every_comparable_twin() -> None:
    twins = load_bank().comparable(POLICY.comparable_moved)
    assert POLICY.comparable_moved <= 0.8 * POLICY.trained_moved
    assert max(max(t.gains, t.ranks) for t in twins) <= POLICY.trained_gains - 0.05
    assert max(t.share for t in twins) <= POLICY.trained_share - 0.03


def test_thresholds_stand_below_every_comparable_relative() -> None:
    relatives = load_bank().comparable(POLICY.comparable_moved, RELATIVES, POLICY.initial_ratio)
    assert len(relatives) >= 60
    assert min(min(t.gains, t.ranks) for t in relatives) >= POLICY.initial_gains + 0.1


def test_no_twin_of_the_bank_is_taken_for_a_child_and_no_relative_for_a_twin() -> None:
    bank = load_bank()
    assert [p for p in bank.pairs[TWINS] if read(p) == "trained"] == []
    assert [p for r in RELATIVES for p in bank.pairs[r] if read(p) == "initial"] == []
    children = bank.pairs["descended"]
    assert sum(read(p) == "trained" for p in children) > len(children) / 2


def test_twins_that_have_moved_less_agree_as_relatives_do() -> None:
    """Why there is a least movement: below it the ranges of twins and of parent and child overlap in both numbers."""
    short = [p for p in load_bank().pairs[TWINS] if p.moved < 0.015]
    assert any(min(p.gains, p.ranks) >= POLICY.trained_gains and p.share >= POLICY.trained_share for p in short)
