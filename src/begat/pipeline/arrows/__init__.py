"""Signs of kind and direction: one file each behind one registry. Each is asked twice, with either model as the parent.

Enters: two canonical models.  Leaves: signs.  What a sign means: `begat/verdict/kinds.toml`; who asks: `begat.pipeline.kind`.
Only weights are looked at, never names or configs.
"""

from begat.pipeline.arrows import depth, expert_sets, experts, lowrank, noise, towers, vocabulary, width, zeros  # noqa: F401  (imports register)
from begat.pipeline.arrows.base import ARROWS, Pair, Sign

__all__ = ["ARROWS", "Pair", "Sign"]
