"""The banks of independent pairs for the agreement of three views: what strangers of the lab reach.

Enters: `data/views.json` (in the frame from shared tokens; `begat-lab bank --views`), `data/invariants.json` (in frames from invariants of units;
`--invariants`) or `data/searched.json` (the same where partners are searched for; `--searched`); recipe and digest are in them.  Leaves: `Bank`, with
a conformal p.

Null and assumption: the pair at hand is independent, and exchangeable with the bank's pairs: trained apart from initial weights of their own on one text
with one recipe. Then p = (1 + #{null >= observed}) / (N + 1) is valid (Vovk, Gammerman & Shafer, Algorithmic Learning in a Random World, 2005).
The pair at hand differs from the bank's in size and training, so exchangeability is an assumption and not a fact; the policy therefore asks
for far more than the bank's largest share, and the report names the evidence as calibrated.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from dataclasses import dataclass
from functools import cache
from importlib import resources

#: ways to lay two models over each other before their units' views are compared: names of the banks
TOKENS, INVARIANTS, SEARCHED = "views", "invariants", "searched"


@dataclass(frozen=True, slots=True)
class Bank:
    """Sorted shares of agreeing units of independent pairs, and where they come from."""

    shares: tuple[float, ...]
    recipe: str
    digest: str
    made_by: str

    @property
    def most(self) -> float:
        """The largest share among independent pairs."""
        return self.shares[-1]

    def p(self, share: float) -> float:
        """(1 + pairs with at least this share) / (pairs + 1)."""
        return (1 + len(self.shares) - bisect_left(self.shares, share)) / (len(self.shares) + 1)


@cache
def load_bank(way: str = TOKENS) -> Bank:
    """The bank of one way that ships with begat; ValueError on an unknown key."""
    raw = json.loads(resources.files("begat.stats").joinpath("data", f"{way}.json").read_text("utf-8"))
    if set(raw) != {"about", "made_by", "recipe", "digest", "versions", "shares"}:
        raise ValueError(f"{way}.json has other keys than this version of begat reads")
    counts = [(float(share), int(n)) for share, n in raw["shares"]]
    shares = sorted(share for share, n in counts for _ in range(n))
    return Bank(tuple(shares), raw["recipe"], raw["digest"], raw["made_by"])
