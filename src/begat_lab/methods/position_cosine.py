"""Cosine of sampled weights at equal positions, mean over layers.

Enters: all matrices of the layers.  Leaves: the mean cosine, in [-1, 1].
Source: Cisco Model Provenance Kit (2026), signal WVC: a cosine per layer of 4,096 sampled elements. Reconstruction: which elements it takes is not
documented; here they are drawn anew for each layer, evenly over its attention and MLP matrices, by the generator that is passed in.
"""

from __future__ import annotations

import numpy as np

from begat.types import F64
from begat_lab.methods.base import METHODS, Method, Score, no_score
from begat_lab.methods.model import ATTENTION, MLP, Model

SAMPLES = 4096
_ROLES = (*ATTENTION, *MLP)


def position_cosine(a: Model, b: Model, rng: np.random.Generator) -> Score:
    """Mean over layers of the cosine of the same sampled elements."""
    if not (a.has(_ROLES) and b.has(_ROLES)) or a.shapes(_ROLES) != b.shapes(_ROLES):
        return no_score("needs attention and MLP matrices of equal shapes")
    found = []
    for layer in range(a.layers):
        xs: list[F64] = []
        ys: list[F64] = []
        for role in _ROLES:
            x, y = a.weight(role, layer).ravel(), b.weight(role, layer).ravel()
            at = rng.integers(len(x), size=-(-SAMPLES // len(_ROLES)))
            xs.append(x[at])
            ys.append(y[at])
        x, y = np.concatenate(xs), np.concatenate(ys)
        size = float(np.sqrt((x @ x) * (y @ y)))
        if size == 0:
            return no_score(f"layer {layer} is zero")
        found.append(float(x @ y) / size)
    return Score(float(np.mean(found)), detail={"least": min(found), "most": max(found)})


METHODS.add("position-cosine")(
    Method("cosine of sampled weights", "Cisco Model Provenance Kit, signal WVC, 2026", "weights", position_cosine)
)
