"""`begat-lab bench`: begat and the published methods on every pair of a family of known ancestry.

The straight line: `pairs.py` (which pairs, and what they truly are) → `run.py` (scores, into an append-only file) → `measure.py` (what follows from
scores) → `summary.py` (one JSON-able object with every figure) → `report.py` and `plots.py` (present it).  Methods: `begat_lab.methods`.
"""
