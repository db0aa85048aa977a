"""Q4_K and Q6_K, the K-quants that GGUF files mostly carry and the `gguf` package reads but does not write.

Enters: float32 rows whose length is a multiple of 256.  Leaves: blocks as ggml lays them out (`block_q4_K`, `block_q6_K` in llama.cpp's
ggml-common.h), uint8 [rows, bytes].  Nearest rounding on the plainest grid; llama.cpp searches for better scales, the layout is the
same.  Rows of other lengths take the simpler type that llama.cpp falls back to.  Who writes the file: `gguf_file.py`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]
U8 = npt.NDArray[np.uint8]

BLOCK = 256
FALLBACK = {"Q4_K": "Q5_0", "Q6_K": "Q8_0"}  # as llama.cpp's quantiser chooses

# Shape suffixes: N blocks of 256, S runs of a block that share a scale, R values of a run.


def q4_k(values: F32) -> U8:
    """Of each run s: d * scale_s * code - dmin * min_s: eight runs of 32, six-bit scale and minimum each, four-bit codes; 144 bytes."""
    x_NSR = values.reshape(-1, 8, 32)
    low_NS = np.maximum(-x_NSR.min(-1), 0)
    step_NS = (np.maximum(x_NSR.max(-1), 0) + low_NS) / 15
    d_N1, dmin_N1 = (_half(part.max(1, keepdims=True) / 63) for part in (step_NS, low_NS))
    scale_NS, min_NS = _levels(step_NS, d_N1, 63), _levels(low_NS, dmin_N1, 63)
    unit_NS, floor_NS = d_N1 * scale_NS, dmin_N1 * min_NS
    code_NSR = np.clip(np.rint(_over(x_NSR + floor_NS[..., None], unit_NS[..., None])), 0, 15).astype(np.uint8)
    pair_NSR = code_NSR.reshape(-1, 4, 2, 32)  # two runs share 32 bytes: the first in the low nibbles
    nibbles = (pair_NSR[:, :, 0] | pair_NSR[:, :, 1] << 4).reshape(-1, 128)
    s, m = scale_NS.astype(np.uint8), min_NS.astype(np.uint8)
    twelve = np.hstack([s[:, :4] | s[:, 4:] >> 4 << 6, m[:, :4] | m[:, 4:] >> 4 << 6, s[:, 4:] & 15 | (m[:, 4:] & 15) << 4])
    return np.hstack([_bytes(d_N1), _bytes(dmin_N1), twelve, nibbles]).reshape(*values.shape[:-1], -1)


def q6_k(values: F32) -> U8:
    """Of each run s: d * scale_s * (code - 32): sixteen runs of 16, int8 scale each, six-bit codes; 210 bytes."""
    x_NSR = values.reshape(-1, 16, 16)
    step_NS = np.abs(x_NSR).max(-1) / 31
    d_N1 = _half(step_NS.max(1, keepdims=True) / 127)
    scale_NS = _levels(step_NS, d_N1, 127)
    code_NSR = np.clip(np.rint(_over(x_NSR, (d_N1 * scale_NS)[..., None])), -32, 31).astype(np.int8) + 32
    code = code_NSR.astype(np.uint8).reshape(-1, 2, 4, 32)  # halves of 128: four runs of 32, two nibbles and two bits of each
    low = (code[:, :, :2] & 15 | (code[:, :, 2:] & 15) << 4).reshape(-1, 128)
    high = (code >> 4 << np.array([0, 2, 4, 6], np.uint8)[:, None]).sum(2, dtype=np.uint8).reshape(-1, 64)
    return np.hstack([low, high, scale_NS.astype(np.int8).view(np.uint8), _bytes(d_N1)]).reshape(*values.shape[:-1], -1)


QUANTISERS: dict[str, Callable[[F32], U8]] = {"Q4_K": q4_k, "Q6_K": q6_k}


def _levels(step_NS: F32, d_N1: F32, top: int) -> F32:
    """The runs' own steps as whole multiples of the block's."""
    return np.clip(np.rint(_over(step_NS, d_N1)), 0, top)


def _over(x: F32, unit: F32) -> F32:
    """The quotient, 0 where the unit is 0."""
    return np.divide(x, unit, out=np.zeros_like(x), where=unit > 0)


def _half(x: F32) -> F32:
    """Rounded to float16, as d and dmin are stored."""
    return x.astype(np.float16).astype(np.float32)


def _bytes(d_N1: F32) -> U8:
    return np.ascontiguousarray(d_N1, dtype="<f2").view(np.uint8)
