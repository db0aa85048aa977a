"""compressed-tensors' packed layout ("pack-quantized"): `weight_packed` [outputs, inputs * bits / 32], a word holding neighbouring inputs.

Enters: `Parts`.  Leaves: the weight as an entry [outputs, inputs], or None for what is not this layout.  `weight_scale` float [outputs,
groups]; `weight_shape` [2]; `weight_zero_point` [outputs * bits / 32, groups], packed along the outputs, when not symmetric. Integers are
stored plus half their range, zero points alike, so the halves cancel. Rows padded to whole words and groups permuted by
`weight_g_idx` are not read.  Tensors of one int8 or fp8 number a value are the neighbour's: `scales.py`.

Most such files are GPTQ's work, so order tests leave the inputs alone, as in `gptq.py`.
"""

from __future__ import annotations

from begat.source.packed import Parts, group_size, plain, scale_of
from begat.types import Scaling, TensorEntry

HELPERS = {
    "weight_scale": "scales",
    "weight_zero_point": "packed zero points",
    "weight_shape": "shape",
    "weight_g_idx": "group of each input",
}
_BITS = (2, 3, 4, 8)


def weight(parts: Parts) -> TensorEntry | None:
    """The weight, when it is in this layout."""
    scale, shape, (outputs, words) = scale_of(parts, "weight_scale"), parts.beside.get("weight_shape"), parts.words.shape
    zero = parts.beside.get("weight_zero_point")
    if parts.method not in ("", "compressed-tensors") or scale is None or shape is None or "weight_g_idx" in parts.beside:
        return None
    if not plain(shape, ("I64", "I32"), 1) or shape.shape != (2,):
        return None
    said = parts.reader.rows(shape, None).ravel()
    inputs = int(said[1])
    bits = 32 * words // inputs if inputs > 0 else 0
    if int(said[0]) != outputs or bits not in _BITS or bits * inputs != 32 * words:
        return None
    parts.fits("weight_scale", (outputs, scale.shape[1]))
    group = group_size(inputs, scale.shape[1], None)
    if not group:
        parts.fits("weight_scale", (outputs, -(-inputs // 128)))
    if zero is None:
        return parts.entry(
            (outputs, inputs), f"PACK{bits}", Scaling(scale, None, (1, group), 2.0 ** (bits - 1), None, (1, 0)), transposed=False
        )
    if not plain(zero, ("I32",)) or outputs * bits % 32:
        return None
    parts.fits("weight_zero_point", (outputs * bits // 32, scale.shape[1]))
    scaling = Scaling(scale, None, (1, group), alike=(1, 0))
    return parts.entry((outputs, inputs), f"PACK{bits}", scaling, transposed=False, zero=("weight_zero_point", f"GPTQ{bits}"))
