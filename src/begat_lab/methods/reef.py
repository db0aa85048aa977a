"""REEF: linear CKA of hidden states on the same sentences.

Enters: last-position hidden states of both models.  Leaves: the largest CKA of one of A's layers with any of B's, in [0, 1].
Paper: "REEF: Representation Encoding Fingerprints for Large Language Models", arXiv 2410.14273, section 4. A is the base model. Biased linear CKA
of centred activations. Reconstruction: the paper uses layer 18 of Llama-2's 32 and 200 TruthfulQA statements; here the layer at the same share of
the depth and the caller's sentences. Columns are centred, not scaled (scaling would end the invariance under rotation that the paper proves).
"""

from __future__ import annotations

import math

import numpy as np

from begat_lab.methods.base import METHODS, Method, Score, no_score
from begat_lab.methods.model import Model
from begat_lab.methods.numbers import linear_cka

DEPTH = 18 / 32


def reef(a: Model, b: Model, _rng: np.random.Generator) -> Score:
    """Greatest CKA between A's layer at `DEPTH` and each layer of B."""
    if len(a.trace.hidden_LND[0]) != len(b.trace.hidden_LND[0]):
        return no_score("the two models ran on different sentences")
    x_ND = a.trace.hidden_LND[max(0, round(DEPTH * a.layers) - 1)]
    found = [linear_cka(x_ND, y_ND) for y_ND in b.trace.hidden_LND]
    if not all(map(math.isfinite, found)):
        return no_score("hidden states are constant or not finite")
    return Score(max(found), detail={f"layer {i}": c for i, c in enumerate(found)})


METHODS.add("reef")(
    Method(
        "REEF: CKA of hidden states",
        "REEF, arXiv 2410.14273 §4",
        "forward",
        reef,
        symmetric=False,
        equal_shape=False,
        survives=frozenset({"mlp-permutation", "residual-permutation", "residual-rotation"}),
    )
)
