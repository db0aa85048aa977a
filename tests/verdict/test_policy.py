"""The decision table: strict, total, and in the right order."""

from __future__ import annotations

import itertools
from collections import defaultdict
from importlib import resources

import pytest

from begat.verdict import POLICY, VERDICTS, Facts, judge
from begat.verdict.policy import parse_policy

TEXT = resources.files("begat.verdict").joinpath("policy.toml").read_text("utf-8")
WORDS = defaultdict(str, a="A", b="B")


def facts(**changes: object) -> Facts:
    base = {
        "equality": "different",
        "coarser": "",
        "tested": True,
        "at_index": True,
        "dependence": False,
        "aligned": False,
        "calibrated": False,
        "mixed": False,
        "component": False,
        "covered": True,
        "reachable": True,
        "trained": "unknown",
        "words": WORDS,
    }
    return Facts(**(base | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({"equality": "identical", "tested": False}, "identical"),
        ({"equality": "identical", "dependence": True}, "identical"),
        ({"equality": "on-grid", "coarser": "B", "dependence": True}, "re-encoded"),
        ({"tested": False}, "cannot-test"),
        ({"dependence": True}, "derived-or-shared-initialisation"),
        ({"dependence": True, "trained": "trained"}, "derived"),
        ({"dependence": True, "trained": "initial"}, "shared-initialisation"),
        ({"trained": "trained"}, "no-evidence"),
        ({"dependence": True, "mixed": True}, "partly-derived"),
        ({"dependence": True, "mixed": True, "trained": "trained"}, "partly-derived"),
        ({"dependence": True, "mixed": True, "apart": True}, "derived-or-shared-initialisation"),
        ({"dependence": True, "mixed": True, "component": True, "apart": True}, "partly-derived"),
        ({"dependence": True, "apart": True}, "derived-or-shared-initialisation"),
        ({"dependence": True, "aligned": True}, "derived-or-shared-initialisation"),
        ({"dependence": True, "aligned": True, "mixed": True}, "partly-derived"),
        ({"dependence": True, "component": True}, "partly-derived"),
        ({"dependence": True, "component": True, "trained": "trained"}, "partly-derived"),
        ({"dependence": True, "covered": False}, "derived-or-shared-initialisation"),
        ({"covered": False}, "cannot-test"),
        ({"calibrated": True, "covered": False}, "derived-or-shared-initialisation"),
        ({"calibrated": True}, "derived-or-shared-initialisation"),
        ({"dependence": False, "mixed": True}, "no-evidence"),
        ({"dependence": False, "reachable": False}, "cannot-test"),
        ({"at_index": False}, "no-evidence"),
        ({"at_index": False, "dependence": True, "aligned": True}, "derived-or-shared-initialisation"),
        ({}, "no-evidence"),
    ],
)
def test_verdicts(changes: dict[str, object], verdict: str) -> None:
    assert judge(facts(**changes)).verdict == verdict


def test_direction_follows_the_grid() -> None:
    assert judge(facts(equality="on-grid", coarser="B")).direction == "A → B"
    assert judge(facts(equality="on-grid", coarser="A")).direction == "B → A"
    assert judge(facts(equality="on-grid")).direction == "undetermined"


def test_every_combination_of_facts_is_decided() -> None:
    for equality, coarser, *flags in itertools.product(
        ["identical", "on-grid", "different", "unknown"], ["A", "B", ""], *[[True, False]] * 9
    ):
        names = ("tested", "dependence", "mixed", "reachable", "aligned", "calibrated", "at_index", "component", "covered")
        assert judge(facts(equality=equality, coarser=coarser, **dict(zip(names, flags, strict=True)))).verdict in VERDICTS


def test_without_dependence_or_equality_nothing_is_accused() -> None:
    for tested, mixed, reachable, aligned in itertools.product([True, False], repeat=4):
        for equality in ("different", "unknown"):
            verdict = judge(facts(equality=equality, tested=tested, mixed=mixed, reachable=reachable, aligned=aligned)).verdict
            assert POLICY.exit_codes[verdict] in (0, 3)


@pytest.mark.parametrize(
    "edit",
    [
        ("[thresholds]", "[thresholds]\nextra = 1"),
        ("dependence_log10_e = 6.0", "dependence_log10 = 6.0"),
        ('verdict = "no-evidence"', 'verdict = "innocent"'),
        ("when = { tested = false }", "when = { testd = false }"),
        ("when = { tested = false }", 'when = { tested = "no" }'),
        ("no-evidence = 0\n", ""),
        ('kind = "copy"\n', ""),
    ],
)
def test_typos_are_errors(edit: tuple[str, str]) -> None:
    assert edit[0] in TEXT
    with pytest.raises(ValueError, match=r"unknown|missing"):
        parse_policy(TEXT.replace(*edit, 1))


def test_the_threshold_is_what_the_design_promises() -> None:
    assert POLICY.dependence_log10_e >= 6
    assert POLICY.power == 0.99


def test_no_sentence_prints_chance_for_an_alignment_that_was_searched() -> None:
    """Layers that match were chosen by what the search found, so what chance gives without a choice says nothing of them."""
    searched = [r for r in POLICY.rules if "{route}" in r.sentence or "{aligned" in r.sentence or "{tried}" in r.sentence]
    assert searched and all("chance" not in r.sentence and "{expected}" not in r.sentence for r in searched)
    assert all(r.when.get("aligned") is True or r.when.get("at_index") is False for r in searched)
