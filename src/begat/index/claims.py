"""The claims of a search.

Enters: a `SearchResult`.  Leaves: `Claim`s; their subjects are names of the index's models.
"""

from __future__ import annotations

from begat.claims import Claim
from begat.index.search import SearchResult


def claims_of_search(found: SearchResult) -> tuple[Claim, ...]:
    """What every relative is said to be; leads are claims of their own kind."""
    out = [Claim("relative", r.entry.name, r.relation) for r in found.relatives]
    return tuple(out + [Claim("relative", lead.entry.name, "lead") for lead in found.leads])
