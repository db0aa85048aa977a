"""Statements of `compare`, against the truth of the pair."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from begat_lab.cases.checks.base import TRUE, UNVERIFIABLE, Answer, judged, layer_links, names_of, tower_of, weakly
from begat_lab.cases.checks.kinds import kind_is_true
from begat_lab.cases.statements import BUT_EQUAL, Statement
from begat_lab.cases.truth import PairTruth, Place, Truth

#: verdict → relations of which it is true
RELATIONS: dict[str, frozenset[str]] = {
    "identical": frozenset({"same-weights"}),
    "re-encoded": frozenset({"same-weights", "re-encoded"}),
    "derived": frozenset({"same-weights", "re-encoded", "descended", "common-ancestor"}),
    "siblings": frozenset({"common-ancestor"}),
    "shared-initialisation": frozenset({"shared-initialisation"}),
    "derived-or-shared-initialisation": frozenset(
        {"same-weights", "re-encoded", "descended", "common-ancestor", "shared-initialisation"}
    ),
    "partly-derived": frozenset({"same-weights", "re-encoded", "descended", "common-ancestor", "shared-initialisation"}),
    "no-evidence": frozenset({"independent"}),
}
#: hits over what chance explains, of independent models, from which the figure is no chance figure
_FAR = 3.0
#: axis of begat's tests → axes of tensors by which a model has it
_AXES = {"experts": {"expert"}, "expert-units": {"expert"}, "residual": {"residual"}}


def _pair(s: Statement, truth: Truth) -> PairTruth:
    return truth.pairs[s.a, s.b]


def relation(s: Statement, truth: Truth) -> Answer:
    """The verdict."""
    t = _pair(s, truth)
    if s.value == BUT_EQUAL:
        return judged(t.kept > 0 and (bool(t.component) or not t.related), f"they are {t.relation}")
    if s.value not in RELATIONS:
        return UNVERIFIABLE
    if s.value == "no-evidence" and not t.detectable:
        return "unverifiable", "beyond what weights show"
    return judged(t.relation in RELATIONS[s.value], f"they are {t.relation}")


def scope(s: Statement, truth: Truth) -> Answer:
    """A headline that speaks of the models, though one component is shared."""
    component = _pair(s, truth).component
    return judged(not component, f"only the {component} is shared")


def part(s: Statement, truth: Truth) -> Answer:
    """What is said of a layer, of experts, of an embedding, or of a tower that one side has alone."""
    t = _pair(s, truth)
    if s.value in ("only-in-a", "only-in-b"):
        return _alone(s, t)
    tower = tower_of(s.tower, t.towers_b)
    if tower is None:
        return UNVERIFIABLE
    if s.layer < 0:
        return _component(s, t, tower)
    linked = layer_links(t, tower, s.layer)
    if s.experts and "expert" in s.subject:
        linked = {a for a, b in t.links if (b.tower, b.layer) == (tower, s.layer) and b.expert in s.experts and a.layer >= 0}
        if s.value == "dependent":
            missing = [
                e for e in s.experts if not any(b.expert == e and (b.tower, b.layer) == (tower, s.layer) for _, b in t.links)
            ]
            return judged(not missing, f"experts {missing} go back to nothing of the other")
    if s.value == "dependent":
        if not linked and weakly(t, tower, s.layer):
            return "unverifiable", "only vectors of it are shared"
        return judged(bool(linked), "it goes back to nothing of the other")
    if s.value == "no-evidence":
        return judged(not linked, f"it goes back to {names_of(linked)}")
    return UNVERIFIABLE


def _component(s: Statement, t: PairTruth, tower: str) -> Answer:
    """An embedding: by its own rows, or the head's where that is the table compared."""
    tables = {a for a, b in t.links if b.layer < 0 and b.component in ("embedding", "head") and a.layer < 0}
    if "embedding" not in s.subject:
        return UNVERIFIABLE
    return judged(bool(tables) == (s.value == "dependent"), f"its table goes back to {names_of(tables)}")


def _alone(s: Statement, t: PairTruth) -> Answer:
    mine, other = (t.places_a, t.places_b) if s.value == "only-in-a" else (t.places_b, t.places_a)
    towers = t.towers_a if s.value == "only-in-a" else t.towers_b
    tower = tower_of(s.tower or s.subject, towers)
    if tower is None:
        return UNVERIFIABLE
    own = {p for p in mine if p.tower == tower and (s.layer < 0 or p.layer == s.layer)}
    side = 0 if s.value == "only-in-a" else 1
    beside = {pair[1 - side] for pair in t.links if pair[side] not in own}  # what a second copy stands for
    linked = {pair[side] for pair in t.links if pair[side] in own and pair[side].layer >= 0 and pair[1 - side] not in beside}
    if linked:
        return "false", f"the other goes back to its {names_of(linked)}"
    here = any(p.tower == tower and (s.layer < 0 or p.layer == s.layer) for p in other)
    return judged(
        bool(own) and (not here or t.relation == "independent" or len(t.towers_a) != len(t.towers_b)), "the other has it too"
    )


def counterpart(s: Statement, truth: Truth) -> Answer:
    """Which layer of A a layer of B holds, or which experts of A an expert of B."""
    t = _pair(s, truth)
    tower = tower_of(s.tower, t.towers_b)
    if tower is None:
        return UNVERIFIABLE
    if s.experts:  # the expert of B, then those of A
        here = {a for a, b in t.links if b == Place(tower, s.layer, s.experts[0]) and a.layer == s.source}
        behind, named = {a.expert for a in here}, set(s.experts[1:])
        copy = len(named) == 1 and named < behind and "experts-repeated" in t.operations
        return judged(named == behind or copy, f"it goes back to {names_of(here)}")
    linked = layer_links(t, tower, s.layer)
    return judged(any(a.layer == s.source for a in linked), f"it goes back to {names_of(linked)}")


def kind(s: Statement, truth: Truth) -> Answer:
    """Of what kind the descent is."""
    t = _pair(s, truth)
    right = kind_is_true(s.value, t)
    if right is None:
        return "unverifiable", f"no row for the fact {s.value}"
    if not t.related:
        return "false", "they are independent"
    return judged(right, f"done was: {', '.join(sorted(t.operations))}")


def direction(s: Statement, truth: Truth) -> Answer:
    """The arrow."""
    t = _pair(s, truth)
    return judged(s.value == t.direction, f"true is {t.direction or 'none'}")


def equality(s: Statement, truth: Truth) -> Answer:
    """Equal, or equal but for a rounding."""
    t = _pair(s, truth)
    if s.value == "identical":
        return judged(t.equal, "values differ")
    side = {"A": t.operations_a, "B": t.operations_b}.get(s.subject)
    coarser = side is None or bool(side & {"cast", "quantised"})
    return judged(
        t.relation in ("same-weights", "re-encoded") and (coarser or t.equal),
        f"they are {t.relation}, done was {sorted(t.operations)}",
    )


def trained(s: Statement, truth: Truth) -> Answer:
    """Are trained weights shared, or only a start?"""
    t = _pair(s, truth)
    start = t.relation == "shared-initialisation"
    return judged(t.related and start == (s.value == "initial"), f"they are {t.relation}")


def chance(s: Statement, truth: Truth) -> Answer:
    """A chance figure beside hits that chance did not make."""
    t = _pair(s, truth)
    return TRUE if t.related or (s.number or 0.0) < _FAR else ("false", "the models are independent")


def config(s: Statement, truth: Truth) -> Answer:
    """A key that the configs disagree on."""
    t = _pair(s, truth)
    return judged(s.subject in t.config or s.subject.split(".")[-1] in t.config, f"they disagree on {sorted(t.config)}")


def absent(s: Statement, truth: Truth) -> Answer:
    """Of units or heads that a side is said not to have."""
    t = _pair(s, truth)
    if s.value not in _AXES:
        return UNVERIFIABLE
    return judged(not _AXES[s.value] & (t.axes_a if s.subject == "A" else t.axes_b), "it has them")


def equal_tensor(s: Statement, truth: Truth) -> Answer:
    """A tensor of equal values in models that are otherwise cleared."""
    return judged(_pair(s, truth).kept > 0, "no tensor is equal")


def unread(s: Statement, truth: Truth) -> Answer:
    """What was not read is begat's own account."""
    return UNVERIFIABLE


RULES: dict[str, Callable[[Statement, Truth], Answer]] = {
    "relation": relation,
    "scope": scope,
    "part": part,
    "counterpart": counterpart,
    "kind": kind,
    "direction": direction,
    "equality": equality,
    "trained": trained,
    "chance": chance,
    "config": config,
    "equal-tensor": equal_tensor,
    "unread": unread,
    "absent": absent,
}


def unsaid(v: Any, t: PairTruth) -> Iterator[tuple[str, str]]:
    """What the words of a right answer hold beyond its claims."""
    words = " ".join([v.sentence, v.kind, *v.signs, *v.caveats])
    if v.verdict in ("identical", "re-encoded") and t.config and not re.search("config", words, re.I):
        yield "configs disagree", f"on {', '.join(sorted(t.config))}"
    if v.verdict == "identical" and "layers-reordered" in t.operations and not re.search("order|another place", words):
        yield "layers in another order", ""
    if "noised" in t.operations and v.kind and not re.search("noise|random", words):
        yield "noise", "kind names another"
    named = any(c.about == "equal-tensor" for c in v.claims)
    if v.verdict == "no-evidence" and t.related and t.detectable and not named:
        yield "dependence", f"they are {t.relation}"
