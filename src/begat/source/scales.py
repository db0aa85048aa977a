"""Pairs quantised tensors with the scale tensors stored beside them (fp8 and int8 safetensors).

Enters: name → entry.  Leaves: name → entry with `Scaling` attached, and the scale tensors as skipped, with the reason.
Names seen in published checkpoints: `X.weight` + `X.weight_scale_inv` (DeepSeek-V3, 128×128 blocks, multiplied despite the
name), `X.weight` + `X.weight_scale` (compressed-tensors: per tensor, per row or per block), `X.weight` + `X.SCB`
(bitsandbytes int8: row maximum, value = q·SCB/127). The block shape follows from the shapes alone; no config is asked.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from begat.errors import InputError
from begat.source.dtypes import DTYPES
from begat.source.reader import FileReader
from begat.types import F32, Scaling, TensorEntry

#: suffix of the scale tensor → factor on its values
_SUFFIXES = {"_scale_inv": 1.0, "_scale": 1.0}
_QUANTISED = ("F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "I8")


def attach_scales(
    entries: dict[str, TensorEntry], reader: FileReader
) -> tuple[dict[str, TensorEntry], list[tuple[str, str]]]:
    """Attach every scale tensor to the tensor it scales; returns the entries without them and what was skipped."""
    out = dict(entries)
    skipped: list[tuple[str, str]] = []
    for name, entry in entries.items():
        if entry.dtype not in _QUANTISED or entry.scaling is not None:
            continue
        for scale_name, factor in _candidates(name):
            if scale_name in entries:
                scale = reader.rows(entries[scale_name], None) * np.float32(factor)
                out[name] = replace(entry, scaling=_scaling(entry, entries[scale_name], scale))
                out.pop(scale_name, None)
                skipped.append((scale_name, f"scale of {name}"))
                break
    return out, skipped


def _candidates(name: str) -> list[tuple[str, float]]:
    pairs = [(name + suffix, factor) for suffix, factor in _SUFFIXES.items()]
    if name.endswith(".weight"):
        pairs.append((name[: -len("weight")] + "SCB", 1.0 / 127.0))
    return pairs


def _scaling(entry: TensorEntry, scale_entry: TensorEntry, scale: F32) -> Scaling:
    """The block each scale covers, from the two shapes."""
    n = scale.size
    if n == 1:
        return Scaling(scale.reshape(1, 1), None, (max(entry.rows, 1), max(entry.cols, 1)))
    if n == entry.rows and DTYPES[entry.dtype].block == 1:
        return Scaling(scale.reshape(n, 1), None, (1, entry.cols))
    if len(entry.shape) == 2 and len(scale_entry.shape) == 2:
        r, c = scale_entry.shape
        block = (-(-entry.rows // r), -(-entry.cols // c)) if r and c else (0, 0)
        for power in (_up(block), block):
            if power[0] and power[1] and -(-entry.rows // power[0]) == r and -(-entry.cols // power[1]) == c:
                return Scaling(scale.reshape(r, c), None, power)
    raise InputError("scale does not fit its tensor", file=scale_entry.file, tensor=scale_entry.name,
                     expected=f"one scale per tensor, row or block of {list(entry.shape)}", found=list(scale_entry.shape),
                     fix="convert the checkpoint to bf16")  # fmt: skip


def _up(block: tuple[int, int]) -> tuple[int, int]:
    """The next powers of two: 7168/56 = 128 exactly, but 576/5 = 115.2 is a block of 128 with a short last one."""
    return (1 << (block[0] - 1).bit_length(), 1 << (block[1] - 1).bit_length()) if min(block) > 0 else block
