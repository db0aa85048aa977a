"""Statements of `inspect`, against what one model alone could say."""

from __future__ import annotations

from collections.abc import Callable

from begat_lab.cases.checks.base import UNVERIFIABLE, Answer, judged
from begat_lab.cases.statements import Statement
from begat_lab.cases.truth import ModelTruth, Truth

#: operations after which token rows may rightly look untrained
_FRESH = frozenset({"initialised", "head-replaced", "embedding-replaced", "vocabulary-extended"})


def _holds(t: ModelTruth) -> dict[str, bool]:
    return {
        "layers": bool(t.copied_layers),
        "experts": bool(t.copied_experts),
        "grid": t.rounded,
        "rank": t.low_rank,
        "vocabulary": bool(t.new_rows) or bool(t.operations & _FRESH),
        "zeros": t.zeroed,
    }


def trace(s: Statement, truth: Truth) -> Answer:
    """Something was found."""
    holds = _holds(truth.models[s.b])
    if s.subject not in holds:
        return "unverifiable", f"no row for the finding {s.subject}"
    return judged(s.value != "found" or holds[s.subject], "there is none")


def copies(s: Statement, truth: Truth) -> Answer:
    """Two layers, or two experts, that go back to one."""
    t = truth.models[s.b]
    if s.subject == "experts":
        if min(s.experts) < 0:
            return UNVERIFIABLE
        return judged(
            any({(x[1], x[2]) for x in group} >= {(s.layer, e) for e in s.experts} for group in t.copied_experts),
            "they go back to different ones",
        )
    return judged(
        any({x[1] for x in group} >= {s.layer, s.source} for group in t.copied_layers), "they go back to different ones"
    )


def rows(s: Statement, truth: Truth) -> Answer:
    """Token rows that look untrained."""
    t = truth.models[s.b]
    inside = any(first <= s.layer and s.source <= last for first, last in t.new_rows)
    return judged(inside or bool(t.operations & (_FRESH - {"vocabulary-extended"})), f"new rows are {list(t.new_rows)}")


def descent(s: Statement, truth: Truth) -> Answer:
    """It speaks of earlier weights."""
    t = truth.models[s.b]
    return judged(bool(t.copied_layers or t.copied_experts) or t.rounded, "nothing in it is a copy or rounded")


RULES: dict[str, Callable[[Statement, Truth], Answer]] = {"trace": trace, "copies": copies, "rows": rows, "descent": descent}
