"""A low-rank difference: a LoRA adapter merged into its base, or one direction taken out of all that writes to the residual stream.

Low rank alone is no arrow (B = A + L is A = B - L). Rounding is one: the child stores base + L rounded to its own numbers, and where L moved a value
across a power of two the size of the rounding errors shows whose numbers they were rounded to (`begat.signals.rounding`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from begat.canon.roles import ROLES
from begat.pipeline.arrows.base import ARROWS, Pair, Sign
from begat.pipeline.counterparts import counterparts
from begat.pipeline.lora import low_rank, rows_of
from begat.pipeline.sampling import generator
from begat.pipeline.steps import steps
from begat.signals.lowrank import rank_of
from begat.signals.rounding import Crossing, crossing, rounded_one
from begat.types import F64, TensorKey

_MATRICES = 48
#: matrices that must share a direction; cosine of their directions; and what may be left along it, as a share of what was there
_ALIKE_MATRICES, _PARALLEL, _EMPTY = 3, 0.98, 0.05


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
    if found.rank == 1 and (emptied := _emptied(pair, [k for k in pair.child.tensors if str(k) in places])):
        if emptied == "child":
            yield Sign("direction-removed", f"what {found.same_rank} matrices write to the residual stream lacks one and the same direction")
        return
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


def _emptied(pair: Pair, keys: Sequence[TensorKey]) -> str:
    """Which of the two ("child", "parent", "" for neither) has nothing along the one direction of the residual stream in which
    all matrices differ; an adapter of rank 1 has a direction for every matrix.
    """
    first: F64 | None = None
    left = np.zeros(2)
    rng = generator(pair.seed, "one direction")
    for key in keys[:_MATRICES]:
        axes = ROLES[key.role].residual
        if len(axes) != 1 or len(keys) < _ALIKE_MATRICES:
            return ""
        p, c = (np.moveaxis(m.read(key).astype(np.float64), axes[0], 0) for m in (pair.parent, pair.child))
        change = c - p
        u = change @ rng.standard_normal(change.shape[1])
        for _ in range(3):  # power iteration: the change has rank 1 and noise of rounding
            u = change @ (change.T @ (u / max(float(np.linalg.norm(u)), 1e-300)))
        u /= max(float(np.linalg.norm(u)), 1e-300)
        first = u if first is None else first
        if abs(float(first @ u)) < _PARALLEL:
            return ""
        left += [float(np.square(u @ m).sum()) for m in (p, c)]
    if min(left) > _EMPTY**2 * max(left):
        return ""
    return "child" if left[1] < left[0] else "parent"
