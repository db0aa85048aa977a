"""Pairs quantised tensors with the scale tensors stored beside them (fp8 and int8 safetensors).

Enters: name → entry.  Leaves: name → entry with `Scaling` attached, and the scale tensors as skipped, with the reason.
Names seen in published checkpoints: `X.weight` + `X.weight_scale_inv` (DeepSeek-V3, 128×128 blocks, multiplied despite the
name), `X.weight` + `X.weight_scale` (compressed-tensors: per tensor, per row or per block), `X.weight` + `X.SCB`
(bitsandbytes int8: row maximum, value = q·SCB/127). An `X.weight_zero_point` beside a scale is subtracted first. The block
shape follows from the shapes alone; no config is asked.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from begat.errors import InputError
from begat.source.reader import FileReader
from begat.types import Scaling, TensorEntry

_QUANTISED = ("F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "I8")
_MAX_SCALES = 1 << 26
#: what else lies beside a quantised `X.weight` and is no weight
_BESIDE = {
    "input_scale": "scale of activations",
    "input_zero_point": "zero point of activations",
    "output_scale": "scale of activations",
    "weight_format": "storage note of bitsandbytes",
}


def attach_scales(entries: dict[str, TensorEntry], reader: FileReader) -> tuple[dict[str, TensorEntry], list[tuple[str, str]]]:
    """Attach every scale tensor to the tensor it scales; returns the entries without them and what was skipped.

    Raises InputError when a scale or zero point does not fit its tensor.
    """
    out = dict(entries)
    skipped: list[tuple[str, str]] = []
    for name, entry in entries.items():
        if entry.dtype not in _QUANTISED or entry.scaling is not None:
            continue
        found = next(((s, f) for s, f in _candidates(name) if s in entries), None)
        if found is None:
            continue
        helpers = {found[0]: f"scale of {name}"}
        zero = entries.get(name + "_zero_point")
        if zero is not None:
            helpers[zero.name] = f"zero point of {name}"
        out[name] = replace(entry, scaling=_scaling(entry, entries[found[0]], found[1], zero, reader))
        stem = name.removesuffix("weight")
        helpers |= {stem + end: why for end, why in _BESIDE.items() if name.endswith("weight") and stem + end in entries}
        for helper, why in helpers.items():
            if out.pop(helper, None) is not None:
                skipped.append((helper, why))
    return out, skipped


def _candidates(name: str) -> list[tuple[str, float]]:
    """(name of the scale tensor, factor on its values), likeliest first."""
    pairs = [(name + "_scale_inv", 1.0), (name + "_scale", 1.0)]
    if name.endswith(".weight"):
        pairs.append((name[: -len("weight")] + "SCB", 1.0 / 127.0))
    return pairs


def _scaling(
    entry: TensorEntry, scale_entry: TensorEntry, factor: float, zero_entry: TensorEntry | None, reader: FileReader
) -> Scaling:
    shape, block = _grid(entry, scale_entry)
    scale = reader.rows(scale_entry, None).reshape(shape) * np.float32(factor)
    zero = None
    if zero_entry is not None:
        zero_shape, zero_block = _grid(entry, zero_entry)
        if zero_block != block:
            raise _misfit(entry, zero_entry)
        values = reader.rows(zero_entry, None).reshape(zero_shape)
        zero = values if values.any() else None
    return Scaling(scale, zero, block)


def _grid(entry: TensorEntry, scale: TensorEntry) -> tuple[tuple[int, int], tuple[int, int]]:
    """How the scales lie over the matrix view, from the two shapes: (scales down, scales across), (rows, columns of a block)."""
    rows, cols, n = max(entry.rows, 1), max(entry.cols, 1), scale.size
    if not 0 < n <= _MAX_SCALES:
        raise _misfit(entry, scale)
    if n == 1:
        return (1, 1), (rows, cols)
    if n == entry.rows and (len(scale.shape) == 1 or scale.shape[-1] == 1 or scale.shape == entry.shape[:-1]):
        return (n, 1), (1, cols)
    if len(entry.shape) == 3 and n == entry.shape[0] == scale.shape[0]:  # stacked experts, one scale each
        return (n, 1), (max(entry.shape[1], 1), cols)
    if len(entry.shape) == len(scale.shape) >= 2 and entry.shape[:-2] == scale.shape[:-2]:
        down, across = block_length(entry.shape[-2], scale.shape[-2]), block_length(cols, scale.shape[-1])
        if down and across and (len(entry.shape) == 2 or entry.shape[-2] % down == 0):
            return (n // scale.shape[-1], scale.shape[-1]), (down, across)
    raise _misfit(entry, scale)


def block_length(size: int, count: int) -> int:
    """Length of the blocks when `count` of them cover `size`: a power of two where one fits, for the last may be short.

    7168/56 = 128 exactly; 576/5 = 115.2 is a block of 128 with a short last one. 0 when nothing fits.
    """
    if not 0 < count <= size:
        return 0
    exact = -(-size // count)
    power = 1 << (exact - 1).bit_length()
    return next((b for b in (power, exact) if -(-size // b) == count), 0)


def _misfit(entry: TensorEntry, scale: TensorEntry) -> InputError:
    return InputError(
        "scale does not fit its tensor",
        file=scale.file,
        tensor=scale.name,
        expected=f"one scale per tensor, row or block of {list(entry.shape)}",
        found=list(scale.shape),
        fix="convert the checkpoint to bf16",
    )
