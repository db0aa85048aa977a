"""Cosine of sampled weights at equal positions, mean over layers.

Enters: all matrices of the layers, experts among them.  Leaves: the mean cosine, in [-1, 1].
Source: Cisco Model Provenance Kit (2026), signal WVC: a cosine per layer of 4,096 sampled elements. Reconstruction: which elements it takes is not
documented; here they are drawn anew for each layer, evenly over its matrices, by the generator that is passed in.
"""

from __future__ import annotations

import numpy as np

from begat.types import F64
from begat_lab.methods.base import METHODS, Method, Score, no_score
from begat_lab.methods.model import Model

SAMPLES = 4096


def position_cosine(a: Model, b: Model, rng: np.random.Generator) -> Score:
    """Mean over layers of the cosine of the same sampled elements."""
    keys = a.layer_matrices
    if not keys or keys != b.layer_matrices:
        return no_score("needs matrices of equal shapes in equally many layers")
    found = []
    for layer in range(a.layers):
        here = [k for k in keys if k.layer == layer]
        xs: list[F64] = []
        ys: list[F64] = []
        for key in here:
            x, y = a.read(key).ravel(), b.read(key).ravel()
            at = rng.integers(len(x), size=-(-SAMPLES // len(here)))
            xs.append(x[at])
            ys.append(y[at])
        if not here:
            continue
        x, y = np.concatenate(xs), np.concatenate(ys)
        size = float(np.sqrt((x @ x) * (y @ y)))
        if size == 0:
            return no_score(f"the samples of layer {layer} are zero")
        found.append(float(x @ y) / size)
    return Score(float(np.mean(found)), detail={"least": min(found), "most": max(found)})


METHODS.add("position-cosine")(
    Method("cosine of sampled weights", "Cisco Model Provenance Kit, signal WVC, 2026", "weights", position_cosine)
)
