"""Statements of `decompose`, against the recipe of the child, or against what was done where the
case names none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from begat_lab.cases.checks.base import UNVERIFIABLE, Answer, judged
from begat_lab.cases.statements import Statement
from begat_lab.cases.truth import PairTruth, Truth

#: how far a coefficient may be off
TOLERANCE = 0.05
#: recipe of one parent → operations of which one makes it true
_DONE = {
    "low-rank": frozenset({"low-rank-added", "direction-removed"}),
    "stitched": frozenset({"layers-replaced", "layers-reordered", "layers-repeated", "layers-left-out", "layers-inserted"}),
    "slerp": frozenset({"merged"}),
    "ties": frozenset({"merged"}),
    "dare": frozenset({"merged"}),
    "task-arithmetic": frozenset({"merged"}),
}


def method(s: Statement, truth: Truth) -> Answer:
    """What the recipe is called."""
    known = truth.recipes.get(s.b)
    if known is not None:
        return judged(
            s.value in known.methods or (s.value == "layered" and known.varies), f"it is {' or '.join(sorted(known.methods))}"
        )
    t = truth.pairs["a", s.b]
    if s.value == "copy":
        return judged(
            t.equal or t.relation == "same-weights" or _matrices_equal(t), f"done was: {', '.join(sorted(t.operations))}"
        )
    if s.value in _DONE:
        return judged(bool(_DONE[s.value] & t.operations) and t.related, f"done was: {', '.join(sorted(t.operations))}")
    return judged(t.related, "they are independent")


def _matrices_equal(t: PairTruth) -> bool:
    """All that was done left every matrix that both have as it was."""
    return t.operations <= {
        "head-added",
        "head-replaced",
        "tower-taken",
        "tower-added",
        "renamed",
        "config-changed",
        "copied",
        "resharded",
        "vocabulary-extended",
        "vocabulary-pruned",
    }


def coefficient(s: Statement, truth: Truth) -> Answer:
    """The share of a parent over all matrices; no single number where shares differ from place to
    place.
    """
    known = truth.recipes.get(s.b)
    if known is None or not known.weights or known.varies:
        return UNVERIFIABLE
    parent = known.parents[int(s.subject) - 1] if s.subject.isdigit() else s.subject
    values = {v for (who, *_), v in known.weights.items() if who == parent}
    return judged(all(abs(v - (s.number or 0.0)) <= TOLERANCE for v in values), f"it is {sorted(values)}")


def part_coefficient(s: Statement, truth: Truth) -> Answer:
    """The share of a parent in one place."""
    known = truth.recipes.get(s.b)
    right = None if known is None else known.weights.get((s.subject, s.tower, s.layer, s.value))
    if right is None:
        return UNVERIFIABLE
    return judged(abs(right - (s.number or 0.0)) <= TOLERANCE, f"it is {right:.3f}")


def sources(s: Statement, truth: Truth) -> Answer:
    """It says that sources may be missing."""
    known = truth.recipes.get(s.b)
    return judged(not (known is not None and known.whole), "the parents given explain it")


def rank(s: Statement, truth: Truth) -> Answer:
    """A difference of low rank."""
    parent = (
        (truth.recipes[s.b].parents if s.b in truth.recipes else ("a",))[int(s.subject) - 1] if s.subject.isdigit() else s.subject
    )
    pair = truth.pairs.get((parent, s.b))
    return (
        UNVERIFIABLE
        if pair is None
        else judged(
            "low-rank-added" in pair.operations or "direction-removed" in pair.operations,
            f"done was: {', '.join(sorted(pair.operations))}",
        )
    )


RULES: dict[str, Callable[[Statement, Truth], Answer]] = {
    "recipe": method,
    "coefficient": coefficient,
    "part-coefficient": part_coefficient,
    "sources": sources,
    "rank": rank,
}


def unsaid(found: Any, truth: Truth) -> Iterator[tuple[str, str]]:
    """What the words of a right answer hold beyond its claims."""
    known = truth.recipes.get("b")
    if known is not None and known.whole and found.method in ("unexplained", "partial"):
        yield "recipe", f"it is {' or '.join(sorted(known.methods))}"
    if known is None and "direction-removed" in truth.pairs["a", "b"].operations and "LoRA" in found.sentence and not re.search("direction", found.sentence):
        yield "direction removed", "called a LoRA adapter"
