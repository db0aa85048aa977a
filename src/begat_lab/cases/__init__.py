"""Small cases of known truth: every claim of a report is held against them. Needs numpy only, no
torch.

A case is two or more toy models, made in well under a second, and the truth about every pair of
them: which parts of the one depend on which parts of the other, how they are related, which way, by
what operations. The truth is not written by hand: every tensor carries the names of the random
draws that it came from (`model.py`), through every edit.

Reading order: `truth.py` (what is known), `model.py` and `draw.py` (toy models), `architectures/`
and `edits/` (what they are and what is done to them), `situations/` behind `registry.py` (the
cases), `write.py` (folders), `ask.py` (what begat says of a case), `statements.py` (that, claim by
claim), `checks/` (true, false or withheld).  The family of trained models: `begat_lab.grow`.
"""

from begat_lab.cases.registry import SITUATIONS, Case, cases
from begat_lab.cases.truth import ModelTruth, PairTruth, Place, Recipe, Truth

__all__ = ["SITUATIONS", "Case", "ModelTruth", "PairTruth", "Place", "Recipe", "Truth", "cases"]
