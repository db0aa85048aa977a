"""Networks that are no transformers: a plain chain of layers, and a convolution net under names
that begat does not know.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from begat_lab.cases.draw import Draft
from begat_lab.cases.model import Toy
from begat_lab.cases.truth import Place


def chain(seed: int, *, widths: tuple[int, ...] = (70, 160, 128, 96, 40), name: str = "net", dtype: str = "float32") -> Toy:
    """A multilayer perceptron as a Sequential saves it: an activation between any two layers."""
    draft = Draft(seed, "chain", widths[0])
    for layer, (ins, outs) in enumerate(pairwise(widths)):
        at = Place(name, layer)
        draft.matrix(f"{name}.{2 * layer}.weight", (outs, ins), at, (f"unit{layer}", f"unit{layer - 1}"))
        draft.bias(f"{name}.{2 * layer}.bias", outs, at, f"unit{layer}")
    return draft.done({}, (name,), 0, dtype)


def cnn(seed: int, *, channels: tuple[int, ...] = (3, 24, 32, 48, 64), classes: int = 10, dtype: str = "float32") -> Toy:
    """Convolutions with batch norms, and a classifier."""
    draft = Draft(seed, "cnn", channels[-1])
    for layer, (ins, outs) in enumerate(pairwise(channels)):
        at, p = Place("net", layer), f"features.{layer}."
        draft.matrix(p + "conv.weight", (outs, ins, 3, 3), at, (f"unit{layer}", f"unit{layer - 1}", "row", "column"))
        draft.gain(p + "bn.weight", outs, at, f"unit{layer}")
        for n in ("bias", "running_mean"):
            draft.bias(f"{p}bn.{n}", outs, at, f"unit{layer}")
        draft.gain(p + "bn.running_var", outs, at, f"unit{layer}")
    last = Place("net", -1, component="head")
    draft.matrix("classifier.weight", (classes, channels[-1]), last, ("class", f"unit{len(channels) - 2}"))
    draft.raw("step", np.array([9.0], np.float32), last, ("one",))
    return draft.done({}, ("net",), 0, dtype)
