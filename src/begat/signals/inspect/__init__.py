"""What one model alone says about itself: one file per finding, all behind one registry.

Enters: a `Look` (a model whose rows can be asked for; the pipeline reads them).  Leaves: `begat.inspection.Found`.  The order
of registration is the
order of the report.

- `layers.py`: layers that are copies of each other.   - `experts.py`: experts grown from one network.
- `grid.py`: stored numbers on a coarser grid than their type; its arithmetic: `lattice.py`.
- `rank.py`: matrices of exactly low rank.   - `vocabulary.py`: rows of the vocabulary that look untrained.
- `zeros.py`: pruned weights and units in sorted order.   - `copies.py`: the order test between many places of one model.
"""

from begat.signals.inspect.base import FINDINGS, Inspector, Look

# the order of these imports is the order of the report
from begat.signals.inspect import layers  # isort: skip
from begat.signals.inspect import experts  # isort: skip
from begat.signals.inspect import grid  # isort: skip
from begat.signals.inspect import rank  # isort: skip
from begat.signals.inspect import vocabulary  # isort: skip
from begat.signals.inspect import zeros  # isort: skip

__all__ = ["FINDINGS", "Inspector", "Look", "experts", "grid", "layers", "rank", "vocabulary", "zeros"]
