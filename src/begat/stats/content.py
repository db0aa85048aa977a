"""The bank of independent pairs for units chosen by content: what strangers of the lab reach.

Enters: `data/content.json` (made by `begat-lab bank --fingerprints`; recipe and digest are in it).  Leaves: `ContentBank`, with a conformal p.
The statistic: `begat.signals.content`.

Null and assumption: the pair at hand is independent, and exchangeable with the bank's pairs (as in the neighbour `views.py`, whose p it shares).
Models differ in size and training, so that is an assumption and not a fact: the evidence is named as calibrated, asks for
several times what any stranger reached, and is a lead to compare the weights, never a relation.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources

#: agreeing slots from which a pair is a lead: at least this many, and this many times the most that any independent pair has
LEAST, FACTOR = 8, 3


@dataclass(frozen=True, slots=True)
class ContentBank:
    """counts[k]: independent pairs with k agreeing slots (the most over pairs of MLPs); recipe, digest, made_by: where they come from."""

    counts: tuple[int, ...]
    recipe: str
    digest: str
    made_by: str

    @property
    def pairs(self) -> int:
        """N, independent pairs."""
        return sum(self.counts)

    @property
    def most(self) -> int:
        """The most agreeing slots of any of them."""
        return len(self.counts) - 1

    @property
    def needed(self) -> int:
        """Agreeing slots from which a pair is a lead."""
        return max(LEAST, FACTOR * self.most)

    def p(self, slots: int) -> float:
        """(1 + pairs with at least so many) / (pairs + 1)."""
        return (1 + sum(self.counts[slots:])) / (self.pairs + 1)


@cache
def load_content_bank() -> ContentBank:
    """The bank that ships with begat; ValueError on an unknown key."""
    raw = json.loads(resources.files("begat.stats").joinpath("data", "content.json").read_text("utf-8"))
    if set(raw) != {"about", "made_by", "recipe", "digest", "versions", "counts"}:
        raise ValueError("content.json has other keys than this version of begat reads")
    return ContentBank(tuple(int(n) for n in raw["counts"]), raw["recipe"], raw["digest"], raw["made_by"])
