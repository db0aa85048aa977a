"""The rounding step of stored values: how far apart neighbouring numbers of a tensor's type lie.

Enters: a canonical model, a key, rows and their values.  Leaves: the step of each value, or None where the storage has no step that is known value by
value (GGUF's block types).
"""

from __future__ import annotations

import numpy as np

from begat.canon.model import Canonical
from begat.source.dtypes import DTYPES
from begat.types import F32, TensorKey


def steps(model: Canonical, key: TensorKey, at: np.ndarray, values: F32) -> F32 | None:
    """Spacing of the numbers at each value of rows `at`; floats of a wide type that all fit a narrower one have the narrow one's."""
    t = model.tensors[key]
    entry = model.checkpoint.entries[t.name]
    kind = DTYPES[entry.dtype]
    if entry.scaling is not None:
        return None
    if kind.grid > 1 or kind.mantissa is None:
        return None
    mantissa, tiny = kind.mantissa, kind.tiny
    if mantissa > 7 and _fits_bf16(values):
        mantissa, tiny = 7, -133
    elif mantissa > 10 and np.array_equal(values.astype(np.float16).astype(np.float32), values):
        mantissa, tiny = 10, -24
    return spacing(values, min(mantissa, 23), tiny)


def spacing(values: F32, mantissa: int, tiny: int) -> F32:
    """Distance to the next number of a float type with that many explicit mantissa bits and smallest subnormal 2^tiny."""
    _, exponent = np.frexp(values)
    found: F32 = np.maximum(np.ldexp(np.float32(1), exponent - 1 - mantissa), np.float32(2.0 ** max(tiny, -149))).astype(
        np.float32
    )
    return found


def _fits_bf16(values: F32) -> bool:
    bits = np.ascontiguousarray(values).view(np.uint32)
    return not (bits & np.uint32(0xFFFF)).any()
