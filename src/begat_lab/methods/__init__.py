"""Clean-room published methods: one file each behind one registry. To add one, add a file and name it below.

Enters: two `Model`s (`model.py`).  Leaves: `Score`s (`base.py`).  Written from formulas, no code is copied; each file names its paper and says
where its formula is a reconstruction.  What several share: `numbers.py`; what forward passes leave: `trace.py`.  Who runs them: `begat-lab bench`.
"""

from begat_lab.methods.base import METHODS, Method, Score
from begat_lab.methods.model import Model, open_model

# one import per method, in the order of the bench's table
# isort: off
from begat_lab.methods import exact, std_correlation, gain_cosine, position_cosine, huref, awm, mdir  # noqa: F401
from begat_lab.methods import independence, phi_match, ghostspec, reef  # noqa: F401
# isort: on

__all__ = ["METHODS", "Method", "Model", "Score", "open_model"]
