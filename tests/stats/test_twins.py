"""The bank of twins that ships with begat: read strictly, made from the shipped pedigrees, and apart from the relatives."""

from __future__ import annotations

import hashlib
from importlib import resources

import numpy as np

from begat.stats.twins import load_bank
from begat.verdict import POLICY


def test_the_recipes_are_the_shipped_pedigrees() -> None:
    """A pedigree changed after the bank was measured makes the bank stale."""
    pedigrees = resources.files("begat_lab.pedigrees")
    for name, digest in load_bank().recipes.items():
        assert hashlib.sha256(pedigrees.joinpath(f"{name}.toml").read_bytes()).hexdigest() == digest


def test_thresholds_stand_between_twins_and_relatives() -> None:
    """No twin reaches both thresholds of "trained", with a margin; nearly all relatives that were not trained far on do."""
    bank = load_bank()
    twins = bank.comparable(POLICY.trained_energy)
    assert len(twins) >= 80
    assert len({(t.family, t.lottery) for t in twins}) >= 5
    shares, gains = (np.array([getattr(t, name) or 0.0 for t in twins]) for name in ("share", "gains"))
    assert shares.max() <= POLICY.trained_share - 0.1
    assert gains.max() <= POLICY.trained_gains - 0.05


def test_no_relative_of_the_bank_is_taken_for_a_twin() -> None:
    bank = load_bank()
    for relation in ("descended", "common-ancestor"):
        for t in bank.comparable(POLICY.trained_energy, relation):
            least, most = sorted((t.energy_a, t.energy_b))
            taken = t.share is not None and t.share <= POLICY.initial_share and (t.gains or 0) <= POLICY.initial_gains
            assert not (taken and most <= POLICY.initial_ratio * least), t
