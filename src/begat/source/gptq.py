"""GPTQ's packed layout: `qweight` [inputs * bits / 32, outputs], a word holding neighbouring inputs of one output.

Enters: `Parts`.  Leaves: the weight as an entry [inputs, outputs], or None for what is not this layout.  Written by GPTQ-for-LLaMa,
AutoGPTQ and GPTQModel: `scales` float [groups, outputs]; `qzeros` [groups, outputs * bits / 32], packed along the outputs and stored
minus one, except in `checkpoint_format` "gptq_v2"; `g_idx` [inputs], the group of each input, permuted when inputs were quantised in
order of activation (`desc_act`).

GPTQ rounds one input after another, each making up for the errors of those before it, so no two inputs were treated alike, inside a
group as little as outside: order tests leave this axis alone. Outputs do not hear of each other.
"""

from __future__ import annotations

import numpy as np

from begat.source.packed import LAYOUTS, Layout, Parts, group_size, permuted, plain, scale_of
from begat.types import Scaling, TensorEntry

HELPERS = {".qzeros": "packed zero points", ".scales": "scales", ".g_idx": "group of each input"}
_BITS = (2, 3, 4, 8)
_FORMATS = {"": 1.0, "gptq": 1.0, "gptq_v2": 0.0}


def weight(parts: Parts) -> TensorEntry | None:
    """The weight, when it is in this layout."""
    scale, words = scale_of(parts, "scales"), parts.words
    if not plain(words, ("I32",)):
        return None
    shift = _FORMATS.get(str(parts.note.get("checkpoint_format") or ""))
    if parts.method not in ("", "gptq") or shift is None or scale is None or not plain(parts.beside.get("qzeros"), ("I32",)):
        return None
    groups, outputs = scale.shape
    bits = parts.note.get("bits") or 32 * parts.beside["qzeros"].shape[1] // outputs
    if not isinstance(bits, int) or bits not in _BITS or words.shape[0] * 32 % bits or (not parts.method and words.shape[1] != outputs):
        return None
    inputs = words.shape[0] * 32 // bits
    parts.fits("scales", (groups, words.shape[1]))
    if outputs * bits % 32:
        return None
    parts.fits("qzeros", (groups, outputs * bits // 32))
    index = permuted(parts, "g_idx", inputs, groups)
    group = group_size(inputs, groups, parts.note.get("group_size"))
    if not group and index is None:
        parts.fits("scales", (-(-inputs // 128), outputs))
    if index is not None and group and np.array_equal(index, np.arange(inputs) // group):
        index = None
    scaling = Scaling(scale, None, (group or 1, 1), shift, index, (0, 1))
    return parts.entry((inputs, outputs), f"GPTQ{bits}", scaling, transposed=True, zero=("qzeros", f"PACK{bits}"))


LAYOUTS.add("gptq")(Layout(".qweight", ".weight", ("I32",), (".qzeros", ".scales"), HELPERS, weight))
