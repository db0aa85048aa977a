"""compressed-tensors' packed layout ("pack-quantized"): `weight_packed` [outputs, inputs * bits / 32], a word holding neighbouring inputs.

Enters: `Parts`.  Leaves: the weight as an entry [outputs, inputs], or None for what is not this layout.  `weight_scale` float [outputs,
groups]; `weight_shape` [2]; `weight_zero_point` [outputs * bits / 32, groups], packed along the outputs, when not symmetric. Integers are
stored plus half their range, zero points alike, so the halves cancel. Not read: rows padded to whole words, stacked experts, groups
permuted by `weight_g_idx`.  Tensors of one int8 or fp8 number a value are the neighbour's: `scales.py`; 4- and 6-bit floats:
`microscaling.py`.

Most such files are GPTQ's work, so order tests leave the inputs alone, as in `gptq.py`.
"""

from __future__ import annotations

import math

from begat.source.packed import LAYOUTS, Layout, Parts, group_size, plain, scale_of
from begat.types import Scaling, TensorEntry, Unread

HELPERS = {
    ".weight_scale": "scales",
    ".weight_zero_point": "packed zero points",
    ".weight_shape": "shape",
    ".weight_g_idx": "group of each input",
}
_TOOL = "packed integers of compressed-tensors"


def weight(parts: Parts) -> TensorEntry | Unread | None:
    """The weight, when it is in this layout."""
    scale, shape, zero = scale_of(parts, "weight_scale"), parts.beside.get("weight_shape"), parts.beside.get("weight_zero_point")
    if parts.method not in ("", "compressed-tensors") or shape is None or not plain(shape, ("I64", "I32"), 1) or shape.size > 8:
        return None
    said = [int(n) for n in parts.reader.rows(shape, None).ravel()]
    size = math.prod(said) if min(said) > 0 and math.prod(said) <= 32 * parts.words.size else 0
    if scale is None or len(said) != 2 or not size or not plain(parts.words, ("I32",)):
        return Unread(f"{_TOOL} in a layout that is not read", size)
    if "weight_g_idx" in parts.beside:
        return Unread(f"{_TOOL}, groups permuted", size)
    (outputs, words), inputs = parts.words.shape, said[1]
    bits = 32 * words // inputs
    if said[0] != outputs or not 1 <= bits <= 8 or bits * inputs != 32 * words:
        return Unread(f"{_TOOL}, rows padded to whole words", size)
    parts.fits("weight_scale", (outputs, scale.shape[1]))
    group = group_size(inputs, scale.shape[1], _said_group(parts))
    if not group:
        parts.fits("weight_scale", (outputs, -(-inputs // 128)))
    if inputs * bits % (32 * bits // math.gcd(bits, 32)):
        return Unread(f"{_TOOL}, rows padded to whole words", size)
    scaling = Scaling(scale, None, (1, group), alike=(1, 0))
    if zero is None:
        return parts.entry((outputs, inputs), f"PACK{bits}",
                           Scaling(scale, None, (1, group), 2.0 ** (bits - 1), None, (1, 0)), transposed=False)  # fmt: skip
    if not plain(zero, ("I32",)) or outputs * bits % (32 * bits // math.gcd(bits, 32)):
        return Unread(f"{_TOOL}, zero points padded to whole words", size)
    parts.fits("weight_zero_point", (outputs * bits // 32, scale.shape[1]))
    return parts.entry((outputs, inputs), f"PACK{bits}", scaling, transposed=False, zero=("weight_zero_point", f"GPTQ{bits}"))


def _said_group(parts: Parts) -> object:
    """The group size that all of the config's groups name, None where they differ or name none."""
    groups = parts.note.get("config_groups")
    weights = [g.get("weights") for g in (groups.values() if isinstance(groups, dict) else ()) if isinstance(g, dict)]
    sizes = [w.get("group_size") for w in weights if isinstance(w, dict)]
    return sizes[0] if sizes and all(s == sizes[0] for s in sizes) else None


LAYOUTS.add("compressed-tensors")(
    Layout(".weight_packed", ".weight", ("I32", "I64", "U8"), (".weight_scale", ".weight_shape"), HELPERS, weight)
)
