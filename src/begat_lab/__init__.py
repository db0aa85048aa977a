"""begat's lab: models of known ancestry, made to measure begat by. Needs torch (`pip install begat[lab]`).

Reading order: `text.py` (what they are trained on), `models/` (what they are), `training.py`, `descent/` (how one is made from
another), `demo_family.py` (the smallest family; it ships with begat).  The lab uses begat's public API only; begat never imports
the lab.
"""
