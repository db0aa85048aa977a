"""The attention heads of a layer as rows, folded and in one frame.

Enters: canonical models, a frame's map.  Leaves: rows of each head.  Who asks: `aligned_map.py` (the map after alignment) and
`resemblance.py` (which layer is like which).
"""

from __future__ import annotations

import numpy as np

from begat.canon.model import Canonical
from begat.pipeline.pose import Features
from begat.pipeline.sampling import check_finite
from begat.types import F32, TensorKey

# Shape suffixes: H heads, C dims of a head, D residual width of the model (of the other one after mapping)

#: matrices that are cut into heads; of "attn.o" the columns are
HEADS = ("attn.q", "attn.k", "attn.v", "attn.o")


def head_shape(model: Canonical, role: str, layer: int) -> tuple[int, int] | None:
    """(heads, dims of a head) of a layer's matrix; None where heads are unknown or the matrix is missing."""
    t = model.tensors.get(TensorKey("text", layer, f"{role}.weight"))
    geometry = model.geometry.get("text")
    if t is None or len(t.shape) != 2 or geometry is None or not geometry.heads or not geometry.kv_heads:
        return None
    heads = geometry.heads if role in ("attn.q", "attn.o") else geometry.kv_heads
    rows, width = t.shape[::-1] if role == "attn.o" else t.shape
    return None if rows % heads or rows // heads > width or not rows else (heads, rows // heads)


def head_rows(model: Canonical, role: str, layer: int, q_DE: F32 | None, features: Features) -> F32 | None:
    """Rows of each head (of "attn.o": its columns), folded and mapped, [H, C, D]; None where heads are unknown.

    Raises:
        InputError: NaN or infinity.
    """
    shape = head_shape(model, role, layer)
    if shape is None:
        return None
    key = TensorKey("text", layer, f"{role}.weight")
    x_OD = model.read(key)
    check_finite(model, key, x_OD)
    if role == "attn.o":
        x_OD = np.ascontiguousarray(x_OD.T)
    else:
        gain_D = features.gain(model, key)
        x_OD = x_OD if gain_D is None else x_OD * gain_D
    x_OD = x_OD if q_DE is None else x_OD @ q_DE
    return x_OD.reshape(*shape, x_OD.shape[1])
