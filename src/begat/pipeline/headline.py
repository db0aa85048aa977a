"""The parts of a headline that name places: where dependence lies, what the rest showed, what was not read or tested.

Enters: parts, axes and coverage, the values that the report's claims are made of (`claims.py`).  Leaves: clauses for the decision
table's sentences.  A part is named as dependent only if it has hits of its own, and as showing none only if it was tested.
"""

from __future__ import annotations

from collections.abc import Sequence

from begat.canon.function import ConfigDifference
from begat.errors import printable
from begat.pipeline.words import ranges
from begat.types import AxisResult, Coverage, Gap, PartResult
from begat.verdict.policy import POLICY


def dependent_words(parts: Sequence[PartResult], axes: Sequence[AxisResult]) -> str:
    """The parts that are dependent by themselves, else the axes that are, else no place at all."""
    names = [p.part for p in parts if p.status == "dependent"]
    if names:
        return ranges(names)
    found = [x.title for x in axes if x.log10_e is not None and x.log10_e >= POLICY.dependence_log10_e]
    return " and ".join(f"the order of the {title}" for title in found) or "no single part by itself"


def rest_words(parts: Sequence[PartResult]) -> str:
    """What all parts that are not dependent showed, as a clause after a semicolon; "" when there are none."""
    clauses = []
    for status, one, many in (
        ("no-evidence", "shows none", "show none"),
        ("undetermined", "is undetermined", "are undetermined"),
        ("not-tested", "was not tested", "were not tested"),
    ):
        names = [p.part for p in parts if p.status == status]
        if names:
            clauses.append(f"{ranges(names)} {one if len(names) == 1 else many}")
    return "; " + ", ".join(clauses) if clauses else ""


def is_component(parts: Sequence[PartResult]) -> bool:
    """Only things outside the layers (an embedding), or one tower of several, are dependent, and no layer elsewhere looks related."""
    dependent = {(p.tower, p.layer >= 0) for p in parts if p.status == "dependent"}
    layers = [p for p in parts if p.layer >= 0 and (p.tower, True) not in dependent]
    related = [p for p in layers if p.cosine is not None and p.cosine > POLICY.agreeing_cosine]
    return bool(dependent) and bool(layers) and not related


def coverage_words(coverage: Sequence[Coverage]) -> str:
    """A sentence on what of either model was not read or tested, where it is more than the policy's share; "" else."""
    said = []
    for c in coverage:
        if c.missing > POLICY.unread_share:
            said.append(f"of {c.model}'s parameters {gap_words(c.gaps)}")
    return f"Not covered by this: {'; '.join(said)}." if said else ""


def gap_words(gaps: Sequence[Gap]) -> str:
    """Shares with their reasons."""
    return ", ".join(f"{_percent(g.share)} ({g.why})" for g in gaps)


def equal_words(names: Sequence[str]) -> str:
    """A sentence on single tensors that are equal; "" when there are none."""
    if not names:
        return ""
    shown = ", ".join(printable(n, 60) for n in names[:3]) + (f" and {len(names) - 3:,} more" if len(names) > 3 else "")
    verb = "holds" if len(names) == 1 else "hold"
    return f"But {shown} {verb} equal values in both: copied, or computed alike by both programs."


def config_words(differences: Sequence[ConfigDifference]) -> str:
    """A sentence on configs that tell equal weights to compute different functions; "" where they agree."""
    if not differences:
        return ""
    said = "; ".join(f"{d.key} is {d.a} in A and {d.b} in B" for d in differences[:4])
    more = f" and {len(differences) - 4} more" if len(differences) > 4 else ""
    return f"But their configs disagree, so that the same weights compute another function: {said}{more}."


def covered(coverage: Sequence[Coverage]) -> bool:
    """Enough of both models was read and tested for an all-clear."""
    return all(1 - c.missing >= POLICY.cleared_share for c in coverage)


def _percent(share: float) -> str:
    """Whole percent, never rounded to none or all."""
    if 0 < share < 0.005:
        return "below 1 %"
    return f"{min(share, 0.99) if share < 1 else 1:.0%}".replace("%", " %")
