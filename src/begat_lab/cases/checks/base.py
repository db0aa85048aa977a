"""What the rules share: answers, and how a tower or a layer that is named in a report is found in
the truth.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from begat_lab.cases.truth import PairTruth, Place

#: (status, why)
Answer = tuple[str, str]
TRUE: Answer = ("true", "")
UNVERIFIABLE: Answer = ("unverifiable", "")


def judged(right: bool, why: str) -> Answer:
    """True, or false with the reason."""
    return TRUE if right else ("false", why)


def tower_of(name: str, towers: Collection[str]) -> str | None:
    """The tower of the truth that a report's name means: its own, the only one, or the main one for
    "text".
    """
    names = list(towers)
    bare = name.removesuffix(" (A)").removesuffix(" (B)").removesuffix("'")
    if bare in names:
        return bare
    if len(names) == 1:
        return names[0]
    if bare in ("", "text", "decoder", "language"):
        return names[0]
    return next((t for t in names if bare in t or t in bare), None)


def layer_links(truth: PairTruth, tower: str, layer: int) -> set[Place]:
    """Places in A's layers that stand behind a layer of B."""
    return {a for a, b in truth.links if (b.tower, b.layer) == (tower, layer) and a.layer >= 0}


def weakly(truth: PairTruth, tower: str, layer: int) -> bool:
    """Only vectors of this layer of B go back to A."""
    return any((b.tower, b.layer) == (tower, layer) for _, b in truth.weak)


def names_of(places: Iterable[Place]) -> str:
    """A few places in words."""
    some = sorted(map(str, places))
    return ", ".join(some[:3]) + (" …" if len(some) > 3 else "") or "nothing"
