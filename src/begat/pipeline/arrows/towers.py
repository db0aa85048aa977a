"""Towers: one model has a tower more than the other (vision beside text).

No arrow: a text model that equals the text tower of a larger one may be what that was built on, or what was taken out of it. A tower that
nearly repeats another of its own model (averaged weights beside raw ones, a ControlNet) is named as that.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from begat.canon.model import Canonical
from begat.canon.roles import ROLES
from begat.pipeline.arrows.base import ARROWS, Pair, Sign
from begat.pipeline.sampling import generator
from begat.types import TensorKey

#: matrices, and rows of each, that two towers of one model are compared in; mean cosine of copies
_MATRICES, _ROWS, _SAME = 12, 4, 0.4


@ARROWS.add("towers")
def towers(pair: Pair) -> Iterator[Sign]:
    """`child` has towers that `parent` lacks."""
    mine, theirs = ({k.tower for k in m.tensors} for m in (pair.child, pair.parent))
    more = sorted(mine - theirs)
    if not more or not theirs < mine or len(pair.child.tensors) <= len(pair.parent.tensors):
        return
    for tower in more:
        twin = next((t for t in sorted(theirs) if _alike(pair.child, tower, t, pair.seed) >= _SAME), "")
        if twin:
            yield Sign("tower-copied", f"one has {tower}, which nearly repeats its {twin}")
        else:
            yield Sign("tower-more", f"one has {tower} beside {', '.join(sorted(theirs))}")


def _alike(model: Canonical, tower: str, other: str, seed: int) -> float:
    """Mean cosine of some rows of matrices that two towers of one model have in common; 0 where there are none."""

    def twin(key: TensorKey) -> TensorKey:
        return replace(key, tower=other)

    keys = [k for k, t in model.tensors.items() if k.tower == tower and k.layer >= 0 and ROLES[k.role].kind == "matrix"
            and twin(k) in model.tensors and model.tensors[twin(k)].shape == t.shape]  # fmt: skip
    found = []
    for i in sorted(generator(seed, "twin towers", tower, other).permutation(len(keys))[:_MATRICES]):
        at = np.arange(min(_ROWS, model.tensors[keys[i]].shape[0]), dtype=np.int64)
        x, y = (model.read(k, at).astype(np.float64).ravel() for k in (keys[i], twin(keys[i])))
        found.append(float(x @ y) / max(float(np.linalg.norm(x) * np.linalg.norm(y)), 1e-30))
    return float(np.mean(found)) if found else 0.0
