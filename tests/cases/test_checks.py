"""The checker can say false: for every rule a statement that is true of a case and one that is not."""

from __future__ import annotations

from dataclasses import replace
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
from begat_lab.cases.statements import Statement
from begat_lab.cases.tally import by_claim, by_command, listed, wrong
from begat_lab.cases.truth import OPERATIONS, Recipe, Truth

SMALL: dict[str, Any] = {"layers": 3, "width": 32, "units": 48}
PARENT = llama(1, **SMALL)


def truth(a: Toy, b: Toy, **more: Any) -> Truth:
    return truth_of(Scene({"a": a, "b": b}, **more))


def say(about: str, subject: str, value: str, command: str = "compare", **more: Any) -> Statement:
    return Statement(command, about, subject, value, "a", "b", **more)


SWAPPED = truth(PARENT, layers.ordered(PARENT, [1, 0, 2], "layers-reordered"))
TUNED = truth(PARENT, training.finetuned(PARENT, 2))
STRANGER = truth(PARENT, llama(2, **SMALL))
REDRAWN = truth(PARENT, layers.with_redrawn(PARENT, [1], 3))
MIXTURE = qwen_moe(1, **SMALL)
EXPERTS = truth(MIXTURE, experts.drawn_anew(MIXTURE, [1, 3], 4))
PRUNED = truth(MIXTURE, experts.chosen(MIXTURE, [[2, 0], [1, 3], [0, 3]], "experts-left-out"))
MEANS = truth(MIXTURE, experts.averaged_in_pairs(MIXTURE))
OSS = truth(gpt_oss(1), encoded.mxfp4(gpt_oss(1)))
EMBEDDING = truth(PARENT, vocabulary.of_other(llama(5, **SMALL), PARENT))
START = training.initialised(PARENT, 6)
TWINS = truth(training.grown(START, 7), training.grown(START, 8))
SIBLINGS = truth(training.finetuned(PARENT, 9), training.finetuned(PARENT, 10))
ENCODER = truth(t5(1), _encoder(t5(1)))
CONFIG = truth(PARENT, parts.copied(PARENT, rope_theta=1e6))
NARROW = truth(PARENT, encoded.written_back(PARENT, 4, 16))
BOTH = llava(1)
VISION = truth(BOTH, parts.taken(llava(2), BOTH, "tower-taken", lambda n, p: n.startswith("vision_tower")))


@pytest.mark.parametrize(
    ("case", "right", "statement"),
    [
        (TUNED, True, say("relation", "A and B", "derived")),
        (TUNED, False, say("relation", "A and B", "shared-initialisation")),
        (TUNED, False, say("relation", "A and B", "no-evidence")),
        (TUNED, False, say("relation", "A and B", "identical")),
        (STRANGER, True, say("relation", "A and B", "no-evidence")),
        (STRANGER, False, say("relation", "A and B", "partly-derived")),
        (TWINS, False, say("relation", "A and B", "derived")),
        (TWINS, True, say("relation", "A and B", "shared-initialisation")),
        (SIBLINGS, False, say("relation", "A and B", "shared-initialisation")),
        (NARROW, True, say("relation", "A and B", "re-encoded")),
        (SWAPPED, True, say("part", "layer 0", "dependent", tower="text", layer=0)),
        (SWAPPED, False, say("part", "layer 0", "no-evidence", tower="text", layer=0)),
        (REDRAWN, True, say("part", "layer 1", "no-evidence", tower="text", layer=1)),
        (REDRAWN, False, say("part", "layer 1", "dependent", tower="text", layer=1)),
        (EXPERTS, True, say("part", "other experts of layer 0", "no-evidence", tower="text", layer=0, experts=(1, 3))),
        (EXPERTS, False, say("part", "other experts of layer 0", "no-evidence", tower="text", layer=0, experts=(0, 3))),
        (EXPERTS, True, say("part", "inherited experts of layer 0", "dependent", tower="text", layer=0, experts=(0, 2))),
        (EXPERTS, False, say("part", "inherited experts of layer 0", "dependent", tower="text", layer=0, experts=(0, 1))),
        (EXPERTS, False, say("part", "layer 0", "no-evidence", tower="text", layer=0)),
        (EMBEDDING, True, say("part", "embedding", "dependent", tower="text")),
        (EMBEDDING, False, say("part", "embedding", "no-evidence", tower="text")),
        (STRANGER, False, say("part", "embedding", "dependent", tower="text")),
        (ENCODER, False, say("part", "layer 0", "no-evidence", tower="text", layer=0)),
        (ENCODER, True, say("part", "text", "only-in-a", tower="text")),
        (ENCODER, False, say("part", "encoder", "only-in-a", tower="encoder")),
        (SWAPPED, True, say("counterpart", "layer 0", "layer 1", tower="text", layer=0, source=1)),
        (SWAPPED, False, say("counterpart", "layer 0", "layer 0", tower="text", layer=0, source=0)),
        (PRUNED, True, say("counterpart", "expert 0 of layer 0", "", tower="text", layer=0, source=0, experts=(0, 2))),
        (PRUNED, False, say("counterpart", "expert 0 of layer 0", "", tower="text", layer=0, source=0, experts=(0, 1))),
        (MEANS, True, say("counterpart", "expert 1 of layer 0", "", tower="text", layer=0, source=0, experts=(1, 2, 3))),
        (MEANS, False, say("counterpart", "expert 1 of layer 0", "", tower="text", layer=0, source=0, experts=(1, 2))),
        (TUNED, True, say("kind", "", "changed-throughout")),
        (TUNED, False, say("kind", "A", "low-rank")),
        (STRANGER, False, say("kind", "", "changed-throughout")),
        (TUNED, True, say("direction", "A and B", "A → B")),
        (TUNED, False, say("direction", "A and B", "B → A")),
        (SIBLINGS, False, say("direction", "A and B", "A → B")),
        (CONFIG, True, say("equality", "", "identical")),
        (TUNED, False, say("equality", "", "identical")),
        (NARROW, True, say("equality", "B", "on-grid")),
        (NARROW, False, say("equality", "A", "on-grid")),
        (CONFIG, True, say("config", "rope_theta", "10000 / 1000000")),
        (CONFIG, False, say("config", "vocab_size", "1 / 2")),
        (TUNED, True, say("scope", "A and B", "whole")),
        (EMBEDDING, False, say("scope", "A and B", "whole")),
        (VISION, False, say("scope", "A and B", "whole")),
        (TWINS, True, say("trained", "A and B", "initial")),
        (TWINS, False, say("trained", "A and B", "trained")),
        (OSS, False, say("absent", "B", "expert-units")),
        (TUNED, True, say("absent", "B", "expert-units")),
        (STRANGER, True, say("chance", "20 hits", "", number=1.1)),
        (STRANGER, False, say("chance", "170 hits", "", number=21.0)),
    ],
)
def test_comparisons(case: Truth, right: bool, statement: Statement) -> None:
    assert check(statement, case)[0] == ("true" if right else "false")


def _merge() -> Truth:
    base = llama(1, **SMALL)
    one, two = (training.finetuned(base, s) for s in (2, 3))
    weights = {(who, "text", layer, "MLP"): c for who, c in (("a", 0.7), ("c", 0.3)) for layer in range(3)}
    child = merging.linear((one, two), lambda n, p: (0.7, 0.3))
    return truth_of(
        Scene({"a": one, "b": child, "c": two}, recipes={"b": Recipe(frozenset({"linear"}), ("a", "c"), None, weights)})
    )


MERGE = _merge()


@pytest.mark.parametrize(
    ("case", "right", "statement"),
    [
        (MERGE, True, say("recipe", "", "linear", "decompose")),
        (MERGE, False, say("recipe", "", "copy", "decompose")),
        (MERGE, True, say("coefficient", "1", "identified", "decompose", number=0.72)),
        (MERGE, False, say("coefficient", "1", "identified", "decompose", number=0.6)),
        (MERGE, True, say("part-coefficient", "c", "MLP", "decompose", tower="text", layer=1, number=0.3)),
        (MERGE, False, say("part-coefficient", "c", "MLP", "decompose", tower="text", layer=1, number=0.5)),
        (MERGE, False, say("sources", "b", "not given", "decompose")),
        (TUNED, True, say("sources", "b", "not given", "decompose")),
        (TUNED, False, say("recipe", "", "copy", "decompose")),
        (CONFIG, True, say("recipe", "", "copy", "decompose")),
        (STRANGER, False, say("recipe", "", "linear", "decompose")),
        (TUNED, False, say("rank", "1", "low-rank", "decompose", number=4.0)),
        (truth(PARENT, merging.low_rank(PARENT, 1, 4)), True, say("rank", "1", "low-rank", "decompose", number=4.0)),
    ],
)
def test_recipes(case: Truth, right: bool, statement: Statement) -> None:
    assert check(statement, case)[0] == ("true" if right else "false")


@pytest.mark.parametrize(
    ("case", "right", "statement"),
    [
        (
            truth(PARENT, layers.ordered(PARENT, [0, 1, 1], "layers-repeated")),
            True,
            say("copies", "layers", "copied", "inspect", layer=2, source=1),
        ),
        (
            truth(PARENT, layers.ordered(PARENT, [0, 1, 1], "layers-repeated")),
            False,
            say("copies", "layers", "copied", "inspect", layer=2, source=0),
        ),
        (
            truth(PARENT, experts.upcycled(PARENT, 1)),
            True,
            say("copies", "experts", "copied", "inspect", layer=0, source=0, experts=(0, 1)),
        ),
        (EXPERTS, False, say("copies", "experts", "copied", "inspect", layer=0, source=0, experts=(0, 1))),
        (NARROW, True, say("trace", "grid", "found", "inspect")),
        (TUNED, False, say("trace", "grid", "found", "inspect")),
        (TUNED, False, say("trace", "layers", "found", "inspect")),
        (
            truth(PARENT, vocabulary.resized(PARENT, 260, "mean")),
            True,
            say("rows", "256-259", "", "inspect", layer=256, source=259),
        ),
        (
            truth(PARENT, vocabulary.resized(PARENT, 260, "mean")),
            False,
            say("rows", "250-259", "", "inspect", layer=250, source=259),
        ),
        (NARROW, True, say("descent", "b", "earlier weights", "inspect")),
        (TUNED, False, say("descent", "b", "earlier weights", "inspect")),
        (TUNED, True, say("descends", "a", "b", "tree")),
        (SIBLINGS, False, say("descends", "a", "b", "tree")),
        (STRANGER, False, say("related", "a", "b", "tree")),
        (SWAPPED, True, say("same", "a", "b", "tree")),
        (TUNED, False, say("same", "a", "b", "tree")),
        (TWINS, True, say("start", "a", "b", "tree")),
        (SIBLINGS, False, say("start", "a", "b", "tree")),
        (TUNED, False, say("mixed", "a", "b", "tree")),
        (TUNED, True, say("relative", "b", "descendant", "search")),
        (TUNED, False, say("relative", "b", "ancestor", "search")),
        (STRANGER, False, say("relative", "b", "lead", "search")),
        (TUNED, True, say("audit", "reuse.weights:a", "established", "audit")),
        (TWINS, False, say("audit", "reuse.weights:a", "established", "audit")),
        (STRANGER, False, say("ancestor", "a", "weights", "audit")),
        (SIBLINGS, False, say("ancestor", "a", "weights", "audit")),
        (STRANGER, False, say("weights", "a", "derived", "audit")),
        (TUNED, False, say("weights-direction", "a", "", "audit")),
        (STRANGER, False, say("answer", "Were weights reused?", "shared", "audit")),
        (TUNED, False, say("answer", "Were weights reused?", "not found", "audit")),
    ],
)
def test_other_commands(case: Truth, right: bool, statement: Statement) -> None:
    assert check(statement, case)[0] == ("true" if right else "false")


def test_what_is_withheld_is_not_judged() -> None:
    assert check(say("part", "layer 0", "undetermined", withheld=True), SWAPPED)[0] == "withheld"
    assert check(replace(say("direction", "A and B", "undetermined"), withheld=True), SIBLINGS)[0] == "withheld"


def test_every_claim_fact_verdict_and_finding_has_a_rule() -> None:
    judged = {about for _, about in RULES}
    assert set(CLAIMS) - judged <= {"adapter-base"}, "a new kind of claim needs a rule in begat_lab/cases/checks"
    assert {r.fact for r in KINDS} | {r.kind for r in POLICY.rules} - {""} <= set(FACTS), (
        "a new kind needs a row in checks/kinds.py"
    )
    assert set(VERDICTS) - {"cannot-test"} <= set(comparison.RELATIONS)
    assert set(FINDINGS) <= set(alone._holds(TUNED.models["b"]))
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
