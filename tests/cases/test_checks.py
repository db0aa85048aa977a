"""The checker can say false: for every rule a statement that is true of a case and one that is not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from begat.claims import CLAIMS
from begat.signals.inspect import FINDINGS
from begat.verdict.kinds import KINDS
from begat.verdict.policy import POLICY, VERDICTS
from begat_lab.cases.architectures import gpt_oss, llama, llava, qwen_moe, t5
from begat_lab.cases.ask import Record
from begat_lab.cases.checks import RULES, alone, check, comparison
from begat_lab.cases.checks.kinds import FACTS
from begat_lab.cases.edits import encoded, experts, layers, merging, parts, training, vocabulary
from begat_lab.cases.model import Toy
from begat_lab.cases.registry import Scene, truth_of
from begat_lab.cases.situations.towers import _encoder
from begat_lab.cases.statements import BUT_EQUAL, Statement
from begat_lab.cases.tally import by_claim, by_command, listed, wrong
from begat_lab.cases.truth import OPERATIONS, Recipe, Truth

SMALL: dict[str, Any] = {"layers": 3, "width": 32, "units": 48}


@cache
def parent() -> Toy:
    return llama(1, **SMALL)


@cache
def mixture() -> Toy:
    return qwen_moe(1, **SMALL)


def truth(a: Toy, b: Toy, **more: Any) -> Truth:
    return truth_of(Scene({"a": a, "b": b}, **more))


def say(about: str, subject: str, value: str, command: str = "compare", **more: Any) -> Statement:
    return Statement(command, about, subject, value, "a", "b", **more)


def _twins() -> Truth:
    start = training.initialised(parent(), 6)
    return truth(training.grown(start, 7), training.grown(start, 8))


def _vision() -> Truth:
    both = llava(1)
    return truth(both, parts.taken(llava(2), both, "tower-taken", lambda n, p: n.startswith("vision_tower")))


def _merge() -> Truth:
    one, two = (training.finetuned(parent(), s) for s in (2, 3))
    weights = {(who, "text", layer, "MLP"): c for who, c in (("a", 0.7), ("c", 0.3)) for layer in range(3)}
    child = merging.linear((one, two), lambda n, p: (0.7, 0.3))
    return truth_of(
        Scene({"a": one, "b": child, "c": two}, recipes={"b": Recipe(frozenset({"linear"}), ("a", "c"), None, weights)})
    )


#: made when a test asks
TRUTHS: dict[str, Callable[[], Truth]] = {
    "swapped": lambda: truth(parent(), layers.ordered(parent(), [1, 0, 2], "layers-reordered")),
    "twice": lambda: truth(parent(), layers.ordered(parent(), [0, 1, 1], "layers-repeated")),
    "tuned": lambda: truth(parent(), training.finetuned(parent(), 2)),
    "stranger": lambda: truth(parent(), llama(2, **SMALL)),
    "redrawn": lambda: truth(parent(), layers.with_redrawn(parent(), [1], 3)),
    "experts": lambda: truth(mixture(), experts.drawn_anew(mixture(), [1, 3], 4)),
    "pruned": lambda: truth(mixture(), experts.chosen(mixture(), [[2, 0], [1, 3], [0, 3]], "experts-left-out")),
    "means": lambda: truth(mixture(), experts.averaged_in_pairs(mixture())),
    "upcycled": lambda: truth(parent(), experts.upcycled(parent(), 1)),
    "oss": lambda: truth(gpt_oss(1), encoded.mxfp4(gpt_oss(1))),
    "embedding": lambda: truth(parent(), vocabulary.of_other(llama(5, **SMALL), parent())),
    "extended": lambda: truth(parent(), vocabulary.resized(parent(), 260, "mean")),
    "twins": _twins,
    "siblings": lambda: truth(training.finetuned(parent(), 9), training.finetuned(parent(), 10)),
    "encoder": lambda: truth(t5(1), _encoder(t5(1))),
    "config": lambda: truth(parent(), parts.copied(parent(), rope_theta=1e6)),
    "narrow": lambda: truth(parent(), encoded.written_back(parent(), 4, 16)),
    "adapted": lambda: truth(parent(), merging.low_rank(parent(), 1, 4)),
    "vision": _vision,
    "projection": lambda: truth(llava(1), parts.taken(llava(2), llava(1), "projection-taken", lambda n, p: "projector" in n)),
    "merge": _merge,
}


@cache
def known(name: str) -> Truth:
    return TRUTHS[name]()


@pytest.mark.parametrize(
    ("case", "right", "statement"),
    [
        ("tuned", True, say("relation", "A and B", "derived")),
        ("tuned", False, say("relation", "A and B", "shared-initialisation")),
        ("tuned", False, say("relation", "A and B", "no-evidence")),
        ("tuned", False, say("relation", "A and B", "identical")),
        ("stranger", True, say("relation", "A and B", "no-evidence")),
        ("stranger", False, say("relation", "A and B", "partly-derived")),
        ("twins", False, say("relation", "A and B", "derived")),
        ("twins", True, say("relation", "A and B", "shared-initialisation")),
        ("siblings", False, say("relation", "A and B", "shared-initialisation")),
        ("narrow", True, say("relation", "A and B", "re-encoded")),
        ("projection", True, say("relation", "A and B", BUT_EQUAL)),
        ("tuned", False, say("relation", "A and B", BUT_EQUAL)),
        ("projection", True, say("equal-tensor", "projector.1.weight", "equal")),
        ("stranger", False, say("equal-tensor", "projector.1.weight", "equal")),
        ("swapped", True, say("part", "layer 0", "dependent", tower="text", layer=0)),
        ("swapped", False, say("part", "layer 0", "no-evidence", tower="text", layer=0)),
        ("redrawn", True, say("part", "layer 1", "no-evidence", tower="text", layer=1)),
        ("redrawn", False, say("part", "layer 1", "dependent", tower="text", layer=1)),
        ("experts", True, say("part", "other experts of layer 0", "no-evidence", tower="text", layer=0, experts=(1, 3))),
        ("experts", False, say("part", "other experts of layer 0", "no-evidence", tower="text", layer=0, experts=(0, 3))),
        ("experts", True, say("part", "inherited experts of layer 0", "dependent", tower="text", layer=0, experts=(0, 2))),
        ("experts", False, say("part", "inherited experts of layer 0", "dependent", tower="text", layer=0, experts=(0, 1))),
        ("experts", False, say("part", "layer 0", "no-evidence", tower="text", layer=0)),
        ("embedding", True, say("part", "embedding", "dependent", tower="text")),
        ("embedding", False, say("part", "embedding", "no-evidence", tower="text")),
        ("stranger", False, say("part", "embedding", "dependent", tower="text")),
        ("encoder", False, say("part", "layer 0", "no-evidence", tower="text", layer=0)),
        ("encoder", True, say("part", "text", "only-in-a", tower="text")),
        ("encoder", False, say("part", "encoder", "only-in-a", tower="encoder")),
        ("swapped", True, say("counterpart", "layer 0", "layer 1", tower="text", layer=0, source=1)),
        ("swapped", False, say("counterpart", "layer 0", "layer 0", tower="text", layer=0, source=0)),
        ("pruned", True, say("counterpart", "expert 0 of layer 0", "", tower="text", layer=0, source=0, experts=(0, 2))),
        ("pruned", False, say("counterpart", "expert 0 of layer 0", "", tower="text", layer=0, source=0, experts=(0, 1))),
        ("means", True, say("counterpart", "expert 1 of layer 0", "", tower="text", layer=0, source=0, experts=(1, 2, 3))),
        ("means", False, say("counterpart", "expert 1 of layer 0", "", tower="text", layer=0, source=0, experts=(1, 2))),
        ("tuned", True, say("kind", "", "changed-throughout")),
        ("tuned", False, say("kind", "A", "low-rank")),
        ("stranger", False, say("kind", "", "changed-throughout")),
        ("tuned", True, say("direction", "A and B", "A → B")),
        ("tuned", False, say("direction", "A and B", "B → A")),
        ("siblings", False, say("direction", "A and B", "A → B")),
        ("config", True, say("equality", "", "identical")),
        ("tuned", False, say("equality", "", "identical")),
        ("narrow", True, say("equality", "B", "on-grid")),
        ("narrow", False, say("equality", "A", "on-grid")),
        ("config", True, say("config", "rope_theta", "10000 / 1000000")),
        ("config", False, say("config", "vocab_size", "1 / 2")),
        ("tuned", True, say("scope", "A and B", "whole")),
        ("embedding", False, say("scope", "A and B", "whole")),
        ("vision", False, say("scope", "A and B", "whole")),
        ("twins", True, say("trained", "A and B", "initial")),
        ("twins", False, say("trained", "A and B", "trained")),
        ("oss", False, say("absent", "B", "expert-units")),
        ("tuned", True, say("absent", "B", "expert-units")),
        ("stranger", True, say("chance", "20 hits", "", number=1.1)),
        ("stranger", False, say("chance", "170 hits", "", number=21.0)),
    ],
)
def test_comparisons(case: str, right: bool, statement: Statement) -> None:
    assert check(statement, known(case))[0] == ("true" if right else "false")


@pytest.mark.parametrize(
    ("case", "right", "statement"),
    [
        ("merge", True, say("recipe", "", "linear", "decompose")),
        ("merge", False, say("recipe", "", "copy", "decompose")),
        ("merge", True, say("coefficient", "1", "identified", "decompose", number=0.72)),
        ("merge", False, say("coefficient", "1", "identified", "decompose", number=0.6)),
        ("merge", True, say("part-coefficient", "c", "MLP", "decompose", tower="text", layer=1, number=0.3)),
        ("merge", False, say("part-coefficient", "c", "MLP", "decompose", tower="text", layer=1, number=0.5)),
        ("merge", False, say("sources", "b", "not given", "decompose")),
        ("tuned", True, say("sources", "b", "not given", "decompose")),
        ("tuned", False, say("recipe", "", "copy", "decompose")),
        ("config", True, say("recipe", "", "copy", "decompose")),
        ("stranger", False, say("recipe", "", "linear", "decompose")),
        ("tuned", False, say("rank", "1", "low-rank", "decompose", number=4.0)),
        ("adapted", True, say("rank", "1", "low-rank", "decompose", number=4.0)),
    ],
)
def test_recipes(case: str, right: bool, statement: Statement) -> None:
    assert check(statement, known(case))[0] == ("true" if right else "false")


@pytest.mark.parametrize(
    ("case", "right", "statement"),
    [
        (
            "twice",
            True,
            say("copies", "layers", "copied", "inspect", layer=2, source=1),
        ),
        (
            "twice",
            False,
            say("copies", "layers", "copied", "inspect", layer=2, source=0),
        ),
        (
            "upcycled",
            True,
            say("copies", "experts", "copied", "inspect", layer=0, source=0, experts=(0, 1)),
        ),
        ("experts", False, say("copies", "experts", "copied", "inspect", layer=0, source=0, experts=(0, 1))),
        ("narrow", True, say("trace", "grid", "found", "inspect")),
        ("tuned", False, say("trace", "grid", "found", "inspect")),
        ("tuned", False, say("trace", "layers", "found", "inspect")),
        (
            "extended",
            True,
            say("rows", "256-259", "", "inspect", layer=256, source=259),
        ),
        (
            "extended",
            False,
            say("rows", "250-259", "", "inspect", layer=250, source=259),
        ),
        ("narrow", True, say("descent", "b", "earlier weights", "inspect")),
        ("tuned", False, say("descent", "b", "earlier weights", "inspect")),
        ("tuned", True, say("descends", "a", "b", "tree")),
        ("siblings", False, say("descends", "a", "b", "tree")),
        ("stranger", False, say("related", "a", "b", "tree")),
        ("swapped", True, say("same", "a", "b", "tree")),
        ("tuned", False, say("same", "a", "b", "tree")),
        ("twins", True, say("start", "a", "b", "tree")),
        ("siblings", False, say("start", "a", "b", "tree")),
        ("tuned", False, say("mixed", "a", "b", "tree")),
        ("stranger", True, say("none", "a", "no relative", "search")),
        ("tuned", False, say("none", "a", "no relative", "search")),
        ("tuned", True, say("relative", "b", "descendant", "search")),
        ("tuned", False, say("relative", "b", "ancestor", "search")),
        ("stranger", False, say("relative", "b", "lead", "search")),
        ("tuned", True, say("audit-card", "a", "scratch-contradicted", "audit")),
        ("stranger", False, say("audit-card", "a", "not-said", "audit")),
        ("twins", True, say("audit-card", "a", "scratch-fits", "audit")),
        ("tuned", False, say("audit-card", "a", "scratch-fits", "audit")),
        ("tuned", True, say("audit-arrow", "a", "from-reference", "audit")),
        ("tuned", False, say("audit-arrow", "a", "to-reference", "audit")),
        ("twins", False, say("audit-arrow", "a", "from-reference", "audit")),
        ("twins", True, say("audit-weights", "a", "shared-initialisation", "audit")),
        ("stranger", False, say("ancestor", "a", "weights", "audit")),
        ("siblings", False, say("ancestor", "a", "weights", "audit")),
        ("stranger", False, say("audit-weights", "a", "derived", "audit")),
        ("stranger", False, say("answer", "weights", "dependent", "audit")),
        ("stranger", False, say("answer", "Were weights reused?", "shared", "audit")),
        ("tuned", False, say("answer", "Were weights reused?", "not found", "audit")),
    ],
)
def test_other_commands(case: str, right: bool, statement: Statement) -> None:
    assert check(statement, known(case))[0] == ("true" if right else "false")


def test_what_is_withheld_is_not_judged() -> None:
    assert check(say("part", "layer 0", "undetermined", withheld=True), known("swapped"))[0] == "withheld"
    assert check(replace(say("direction", "A and B", "undetermined"), withheld=True), known("siblings"))[0] == "withheld"


def test_every_claim_fact_verdict_and_finding_has_a_rule() -> None:
    judged = {about for _, about in RULES}
    assert set(CLAIMS) - judged <= {"adapter-base"}, "a new kind of claim needs a rule in begat_lab/cases/checks"
    assert {r.fact for r in KINDS} | {r.kind for r in POLICY.rules} - {""} <= set(FACTS), (
        "a new kind needs a row in checks/kinds.py"
    )
    assert set(VERDICTS) - {"cannot-test"} <= set(comparison.RELATIONS)
    assert set(FINDINGS) <= set(alone._holds(known("tuned").models["b"]))
    assert frozenset().union(*FACTS.values()) <= set(OPERATIONS)


def test_tables_count_and_name_what_is_false() -> None:
    records = [
        Record("x/one", "compare", "relation: derived", "relation", "false", "they are independent", "", 0.1),
        Record("x/one", "compare", "direction:", "direction", "withheld", "", "", 0.1),
        Record("x/two", "tree", "related: a b", "related", "true", "", "", 0.1),
    ]
    assert [r.case for r in wrong(records)] == ["x/one"]
    assert "| compare | 1 | 1 | 0 | 1 | 1 |" in by_command(records)
    assert "| tree | related | 1 | 1 | 1 | 0 |" in by_claim(records)
    assert "run --case x/one" in listed(records, ("false",), "run --case {case}")
    assert "x/two" not in listed(records, ("false",), "run --case {case}")
