"""Who is whose relative in a family: the truth that a verdict is measured against.

Enters: a `Family`.  Leaves: the relation of a pair of members, as one word, read from the pedigree alone.  Weights flow from a
parent to a child of every kind but those that only listen to their parents (`Kind.inherits = False`: distilled).
Pedigrees: `pedigree.py`.
"""

from __future__ import annotations

from begat_lab.pedigree import Family

#: what two members can be to each other, from the closest to none
RELATIONS = ("descended", "common-ancestor", "shared-initialisation", "independent")


class Kinship:
    """Relations within one family."""

    def __init__(self, family: Family) -> None:
        self._members = family.by_name
        self._sources: dict[str, frozenset[str]] = {}
        for member in family.members:  # parents come first
            parents = member.parents if member.descent.inherits else ()
            self._sources[member.name] = frozenset({member.name}).union(*(self._sources[parent] for parent in parents))

    def sources(self, name: str) -> frozenset[str]:
        """The member itself and all whose weights went into it."""
        return self._sources[name]

    def relation(self, a: str, b: str) -> str:
        """One of `RELATIONS`; a member is "descended" from itself."""
        x, y = self._sources[a], self._sources[b]
        if a in y or b in x:
            return "descended"
        if x & y:
            return "common-ancestor"
        if self._lotteries(x) & self._lotteries(y):
            return "shared-initialisation"
        return "independent"

    def _lotteries(self, names: frozenset[str]) -> set[int]:
        """Draws of initial weights: one seed is one draw, for a pedigree has no seed in two shapes."""
        return {self._members[name].seeds["initial_seed"] for name in names if "initial_seed" in self._members[name].seeds}
