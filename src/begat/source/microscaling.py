"""4- and 6-bit floats with a scale for every 16 or 32 of them (MXFP4, MXFP6, NVFP4): several numbers a byte.

Enters: `Parts`.  Leaves: the weight as an entry [..., outputs, inputs].  Stored as:

    X_blocks U8 [experts, outputs, inputs / 32, 16], X_scales U8 [experts, outputs, inputs / 32]     gpt-oss, MXFP4; the tensor X of the
        same model in plain floats is [experts, inputs, outputs], so the entry is marked `transposed`
    X.weight_packed U8 [..., outputs, inputs / 2], X.weight_scale U8 [..., outputs, inputs / 32]     compressed-tensors, MXFP4
    X.weight_packed U8 [..., outputs, 3 inputs / 4], X.weight_scale U8 [..., outputs, inputs / 32]   compressed-tensors, MXFP6 (E2M3)
    X.weight_packed U8 [..., outputs, inputs / 2], X.weight_scale F8_E4M3 [..., outputs, inputs / 16],
        X.weight_global_scale F32 [1]: the scale is divided by it                                    compressed-tensors, NVFP4
    X.weight U8 [outputs, inputs / 2], X.weight_scale F8_E4M3 [outputs, inputs / 16],
        X.weight_scale_2 F32 []: the scale is multiplied by it                                       ModelOpt, NVFP4

The first number of a byte lies in its low half. A U8 scale is an exponent: 2^(b - 127), 255 is NaN (E8M0 of OCP Microscaling Formats 1.0);
so it is where the layout is one of these, and a U8 scale anywhere else is no number begat knows (`scales.py`). The formulas are those of
transformers' `convert_moe_packed_tensors` and compressed-tensors' `unpack_fp4_from_uint8`, `decompress_mx_scale` and `dequantize`, which
the tests hold them against (`tests/source/fixtures/quantised`).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from begat.source.packed import LAYOUTS, Layout, Parts
from begat.types import Scaling, TensorEntry, Unread

_MX, _NV = 32, 16
EXPONENT = ("U8", "F8_E8M0")
_HELPERS = {
    ".weight_scale": "scales",
    ".weight_global_scale": "scale of scales",
    ".weight_scale_2": "scale of scales",
    ".weight_zero_point": "zero points",
    ".input_global_scale": "scale of activations",
    ".input_scale": "scale of activations",
    ".k_scale": "scale of the key-value cache",
    ".v_scale": "scale of the key-value cache",
}


def _blocks(parts: Parts) -> TensorEntry | Unread | None:
    """gpt-oss: stacked experts, one block of 32 numbers a row of the innermost axis."""
    words, scales = parts.words, parts.beside["scales"]
    if len(words.shape) != 4 or words.shape[-1] != _MX // 2 or scales.dtype not in EXPONENT:
        return Unread("packed blocks in a layout that is not read", 2 * words.size)
    if scales.shape != words.shape[:-1] or 0 in words.shape or _strided(words, scales):
        return Unread("MXFP4 whose scales do not fit its blocks", 2 * words.size)
    experts, outputs, blocks, _ = words.shape
    scale = replace(scales, shape=(experts * outputs, blocks), dtype="F8_E8M0")
    return parts.entry((experts, outputs, blocks * _MX), "E2M1", Scaling(scale, None, (1, _MX)), transposed=True)


def _packed(parts: Parts) -> TensorEntry | Unread | None:
    """compressed-tensors: MXFP4, MXFP6 or NVFP4, by the scales."""
    words, scale, whole = parts.words, parts.beside["weight_scale"], parts.beside.get("weight_global_scale")
    if parts.method not in ("", "compressed-tensors"):
        return None
    if "weight_zero_point" in parts.beside:
        return Unread("4-bit floats with zero points", 2 * words.size)
    if len(words.shape) < 2 or 0 in words.shape or scale.shape[:-1] != words.shape[:-1] or _strided(words, scale):
        return Unread("packed bytes whose scales do not fit them", 2 * words.size)
    width, groups = words.shape[-1], scale.shape[-1]
    if scale.dtype in EXPONENT and whole is None:
        if 2 * width == _MX * groups:
            return _entry(parts, 2 * width, "E2M1", replace(scale, dtype="F8_E8M0"), _MX)
        if 4 * width == 3 * _MX * groups:
            return _entry(parts, 4 * width // 3, "E2M3", replace(scale, dtype="F8_E8M0"), _MX)
    if scale.dtype == "F8_E4M3" and whole is not None and 2 * width == _NV * groups:
        return _nv(parts, scale, whole, divided=True)
    return Unread("packed bytes of compressed-tensors in a layout that is not read", 2 * words.size)


def _modelopt(parts: Parts) -> TensorEntry | Unread | None:
    """NVFP4 as ModelOpt exports it."""
    words, scale, whole = parts.words, parts.beside["weight_scale"], parts.beside["weight_scale_2"]
    if (
        len(words.shape) < 2 or 0 in words.shape or scale.dtype != "F8_E4M3" or scale.shape[:-1] != words.shape[:-1]
        or 2 * words.shape[-1] != _NV * scale.shape[-1] or _strided(words, scale)
    ):  # fmt: skip
        return Unread("packed bytes with two scales in a layout that is not read", 2 * words.size)
    return _nv(parts, scale, whole, divided=False)


def _nv(parts: Parts, scale: TensorEntry, whole: TensorEntry, *, divided: bool) -> TensorEntry | Unread:
    """NVFP4: scales of 16 values that are scaled themselves, by one number, or by one for each of stacked experts."""
    experts = parts.words.shape[0] if len(parts.words.shape) == 3 else 1
    if whole.dtype not in ("F32", "F16", "BF16") or whole.size not in (1, experts):
        return Unread("NVFP4 whose scale of scales is not one number", 2 * parts.words.size)
    factor = parts.reader.rows(whole, None).reshape(-1, 1).astype(np.float32)
    rows = scale.rows // len(factor)
    scale = replace(scale, scaling=Scaling(factor, None, (rows, scale.shape[-1]), divided=divided))
    return _entry(parts, 2 * parts.words.shape[-1], "E2M1", scale, _NV)


def _entry(parts: Parts, inputs: int, dtype: str, scale: TensorEntry, group: int) -> TensorEntry:
    scale = replace(scale, shape=(scale.rows, scale.shape[-1]))
    return parts.entry((*parts.words.shape[:-1], inputs), dtype, Scaling(scale, None, (1, group)), transposed=False)


def _strided(*entries: TensorEntry) -> bool:
    return any(e.strides is not None for e in entries)


LAYOUTS.add("MXFP4 blocks")(Layout("_blocks", "", ("U8",), ("_scales",), {"_scales": "scales"}, _blocks))
LAYOUTS.add("packed floats")(Layout(".weight_packed", ".weight", ("U8",), (".weight_scale",), _HELPERS, _packed))
LAYOUTS.add("ModelOpt NVFP4")(Layout(".weight", ".weight", ("U8",), (".weight_scale", ".weight_scale_2"), _HELPERS, _modelopt))
