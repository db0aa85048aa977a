"""A low-rank difference: a LoRA adapter merged into its base.

Low rank alone is no arrow (B = A + L is A = B - L). Rounding is one: the child stores base + L rounded to its own numbers, and where L moved a value
across a power of two the size of the rounding errors shows whose numbers they were rounded to (`begat.signals.rounding`).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from begat.pipeline.arrows.base import ARROWS, Pair, Sign
from begat.pipeline.counterparts import counterparts
from begat.pipeline.lora import low_rank, rows_of
from begat.pipeline.steps import steps
from begat.signals.lowrank import rank_of
from begat.signals.rounding import Crossing, crossing, rounded_one

_MATRICES = 48


@ARROWS.add("lowrank")
def lowrank(pair: Pair) -> Iterator[Sign]:
    """`child` is `parent` plus a low-rank difference."""
    if len(pair.child.tensors) != len(pair.parent.tensors):
        return
    behind = counterparts(pair.child, pair.parent, pair.seed)
    if any(s is None for s in behind.keys.values()) or behind.moved:
        return
    found = low_rank(pair.child, pair.parent, behind, 0, pair.seed)
    if found.state != "low-rank":
        return
    places = {m.place for m in found.matrices if m.state == "low-rank"}
    total = Crossing(0, 0, 0, 0)
    for key in [k for k in pair.child.tensors if str(k) in places][:_MATRICES]:
        at = rows_of(pair.child, key, pair.parent.tensors[key].shape[0], pair.seed)
        p, c = pair.parent.read(key, at), pair.child.read(key, at)
        p_step, c_step = steps(pair.parent, key, at, p), steps(pair.child, key, at, c)
        if p_step is None or c_step is None:
            return
        rank = rank_of(p, c, np.maximum(p_step, c_step))
        total += crossing(p, c, rank.left_MR @ rank.basis_RN, p_step, c_step)
    words = f"they differ by rank {found.rank} in {found.same_rank} matrices and nowhere else"
    if rounded_one(total) == "child":
        yield Sign("low-rank-rounded", f"{words}; the rounding errors fit this model's numbers, not the other's ({total.up_beyond} of {total.up} against "
                   f"{total.down_beyond} of {total.down})")  # fmt: skip
    elif not rounded_one(total):
        yield Sign("low-rank", words)
