"""begat's lab: models of known ancestry, made to measure begat by. Needs torch (`pip install begat[lab]`), but for `cases/`.

Reading order: `text.py` (what they are trained on), `models/` (what they are), `training.py`, `descent/` (how one is made from
another), `pedigree.py` (which members a family has), `grow.py` (`begat-lab grow`), `truth.py` and `kinship.py` (what is known about
them), `demo_family.py` (the family that ships with begat).  The lab uses begat's public API only; begat never imports the lab.
"""
