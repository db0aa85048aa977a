"""Statements of `search`, `tree` and `audit`, against the truth of every pair they speak of."""

from __future__ import annotations

from collections.abc import Callable

from begat_lab.cases.checks.base import UNVERIFIABLE, Answer, judged
from begat_lab.cases.checks.comparison import RELATIONS
from begat_lab.cases.statements import Statement
from begat_lab.cases.truth import PairTruth, Truth

_ARROWS = {"ancestor": "B → A", "descendant": "A → B"}


def _pair(s: Statement, truth: Truth) -> PairTruth | None:
    return truth.pairs.get((s.a, s.b))


def relative(s: Statement, truth: Truth) -> Answer:
    """What the index's model (B) is to the one that was asked about (A)."""
    t = _pair(s, truth)
    if t is None:
        return UNVERIFIABLE
    if not t.related:
        return "false", "they are independent"
    return judged(s.value not in _ARROWS or t.direction == _ARROWS[s.value], f"true is {t.direction or 'no arrow'}")


def descends(s: Statement, truth: Truth) -> Answer:
    """An arrow from A to B."""
    t = _pair(s, truth)
    return (
        UNVERIFIABLE
        if t is None
        else judged(t.direction == "A → B", f"they are {t.relation}, true is {t.direction or 'no arrow'}")
    )


def related(s: Statement, truth: Truth) -> Answer:
    """In one component."""
    t = _pair(s, truth)
    return UNVERIFIABLE if t is None else judged(t.related, "they are independent")


def same(s: Statement, truth: Truth) -> Answer:
    """Equal weights wherever they correspond, up to rounding; one may hold more layers or units."""
    t = _pair(s, truth)
    moved = {
        "layers-left-out",
        "layers-repeated",
        "layers-inserted",
        "units-left-out",
        "units-reordered",
        "heads-reordered",
        "quantised",
        "cast",
    }
    return (
        UNVERIFIABLE
        if t is None
        else judged(
            t.relation in ("same-weights", "re-encoded") or (t.related and t.operations <= moved),
            f"done was: {', '.join(sorted(t.operations))}",
        )
    )


def mixed(s: Statement, truth: Truth) -> Answer:
    """B was mixed from several, A among them."""
    t = _pair(s, truth)
    return (
        UNVERIFIABLE
        if t is None
        else judged(
            t.direction == "A → B" and "merged" in t.operations_b,
            f"they are {t.relation}, done was: {', '.join(sorted(t.operations))}",
        )
    )


def start(s: Statement, truth: Truth) -> Answer:
    """Grown apart from one start."""
    t = _pair(s, truth)
    return UNVERIFIABLE if t is None else judged(t.relation == "shared-initialisation", f"they are {t.relation}")


def none(s: Statement, truth: Truth) -> Answer:
    """Nobody is anybody's kin, or nobody the query's."""
    kin = [pair for pair, t in truth.pairs.items() if t.related and t.detectable and s.a in ("", pair[0])]
    return judged(not kin, f"{' and '.join(kin[0]) if kin else ''} are")


def finding(s: Statement, truth: Truth) -> Answer:
    """A finding of an audit that is not about weights: what texts say is not the family's."""
    return UNVERIFIABLE


def card(s: Statement, truth: Truth) -> Answer:
    """What an audit says of the card and a dependence of weights that it found, or did not find."""
    t = truth.pairs["a", "b"]
    if s.value == "scratch-fits":
        return judged(t.relation == "shared-initialisation", f"they are {t.relation}")
    if s.value in ("base-not-given", "base-not-found"):
        return UNVERIFIABLE
    return judged(t.related, f"they are {t.relation}")


def ancestor(s: Statement, truth: Truth) -> Answer:
    """A reference named as an ancestor of the release by its weights."""
    t = truth.pairs["a", "b"]
    return judged(t.direction == "A → B" or t.relation == "same-weights", f"they are {t.relation}")


def weights(s: Statement, truth: Truth) -> Answer:
    """The verdict on the weights."""
    t = truth.pairs["a", "b"]
    return UNVERIFIABLE if s.value not in RELATIONS else judged(t.relation in RELATIONS[s.value], f"they are {t.relation}")


def arrow(s: Statement, truth: Truth) -> Answer:
    """Which of the two was made from the other, the release being B."""
    t = truth.pairs["a", "b"]
    named = {"from-reference": "A → B", "to-reference": "B → A"}.get(s.value)
    return UNVERIFIABLE if named is None else judged(named == t.direction, f"true is {t.direction or 'none'}")


def answer(s: Statement, truth: Truth) -> Answer:
    """The answer to whether weights were reused."""
    t = truth.pairs["a", "b"]
    if "weight" not in s.subject.lower():
        return UNVERIFIABLE
    reused = t.related and t.relation != "shared-initialisation"
    if s.value == "dependent":
        return judged(t.related, f"they are {t.relation}")
    if s.value in ("shared", "reused"):
        return judged(reused, f"they are {t.relation}")
    if s.value in ("not found", "none"):
        return judged(not reused, f"they are {t.relation}")
    return UNVERIFIABLE


RULES: dict[tuple[str, str], Callable[[Statement, Truth], Answer]] = {
    ("search", "relative"): relative,
    ("tree", "descends"): descends,
    ("tree", "related"): related,
    ("tree", "same"): same,
    ("tree", "mixed"): mixed,
    ("tree", "start"): start,
    ("tree", "none"): none,
    ("search", "none"): none,
    ("audit", "audit"): finding,
    ("audit", "ancestor"): ancestor,
    ("audit", "audit-weights"): weights,
    ("audit", "audit-arrow"): arrow,
    ("audit", "audit-card"): card,
    ("audit", "answer"): answer,
}
