"""Claims: every statement of a report as a typed value, from which its words are made.

`base.py`: the type and its strict table, `table.toml`.  Every room that delivers a result says what it claims:
`begat.pipeline.claims` (compare, decompose, inspect), `begat.index.claims` (search), `begat.tree.claims`,
`begat.audit.claims`.
"""

from begat.claims.base import CLAIMS, Claim

__all__ = ["CLAIMS", "Claim"]
