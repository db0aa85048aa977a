"""onnxruntime's `MatMulNBits`: the weight of a product, packed in blocks along its inputs.

Enters: the packed constant, its operator and the other constants.  Leaves: the weight as an entry [N, K], or None where the operator says
something that is not read.  Stored as U8 [N, K / block, block * bits / 8], the first of two 4-bit numbers in the low half of a byte;
scales [N * K / block]; zero points U8, packed alike, each row to whole bytes, or floats like the scales; without them half the range.
value = (number - zero point) * scale.  Source: onnxruntime docs/ContribOperators.md, com.microsoft.MatMulNBits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from begat.source.onnx_trace import Initialiser, Use
from begat.types import Scaling, TensorEntry

_FLOATS = ("F32", "F16", "BF16")


def weight(init: Initialiser, use: Use, constants: Mapping[str, Initialiser], name: str) -> TensorEntry | None:
    """The weight under `name`, when it is packed in this way."""
    node = use.node
    if node is None or node.op != "MatMulNBits" or init.dtype != "U8" or init.problem or len(node.inputs) < 3:
        return None
    outputs, inputs, bits, block = (node.numbers.get(k, 0) for k in ("N", "K", "bits", "block_size"))
    bits = bits or 4
    scales = constants.get(node.inputs[2])
    if node.inputs[1] != init.name or any(node.inputs[4:5]) or bits not in (4, 8) or min(outputs, inputs) < 1 or block < 2 or inputs % block:
        return None
    blocks = inputs // block
    if init.shape != (outputs, blocks, block * bits // 8) or scales is None or scales.problem:
        return None
    if scales.dtype not in _FLOATS or scales.size != outputs * blocks:
        return None
    scale = replace(scales.entry(), shape=(outputs, blocks))
    kind = "U4" if bits == 4 else "U8"
    zero: TensorEntry | None = None
    if len(node.inputs) > 3 and node.inputs[3]:
        points = constants.get(node.inputs[3])
        across = 2 * -(-blocks // 2) if bits == 4 else blocks
        if points is None or points.problem:
            return None
        if points.dtype == "U8" and points.size * 8 == outputs * across * bits:
            zero = replace(points.entry(), shape=(outputs, across), dtype=kind)
        elif points.dtype in _FLOATS and points.size == outputs * blocks:
            zero = replace(points.entry(), shape=(outputs, blocks))
        else:
            return None
    scaling = Scaling(scale, zero, (1, block), 0.0 if zero is not None else 2.0 ** (bits - 1))
    return replace(init.entry(name), shape=(outputs, inputs), dtype=kind, scaling=scaling)
