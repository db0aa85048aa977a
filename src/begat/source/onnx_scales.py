"""From ONNX scale and zero point constants to a `Scaling` of the stored matrix view.

Enters: entries of the weight and its helpers.  Leaves: `Scaling`, or an InputError when the shapes do not fit.
"""

from __future__ import annotations

import numpy as np

from begat.errors import InputError
from begat.source.reader import FileReader
from begat.types import F32, Scaling, TensorEntry

_MAX_SCALES = 1 << 26


def scaling_of(entry: TensorEntry, scale: TensorEntry, zero: TensorEntry | None, axis: int, reader: FileReader) -> Scaling:
    """One scale per tensor, per index of one axis, or (matrices) per block.

    Args:
        axis: of a one-dimensional scale: the axis of `entry` it runs along (DequantizeLinear's attribute; -1 = last).

    Raises:
        InputError: scale or zero point fit neither way.

    """
    values, block = _grid(entry, scale, axis, reader)
    zeros = None
    if zero is not None:
        grid, zero_block = _grid(entry, zero, axis, reader)
        if zero_block != block and grid.size != 1:
            raise _misfit(entry, zero)
        if grid.any():
            zeros = np.broadcast_to(grid, values.shape).copy()
    return Scaling(values, zeros, block)


def _grid(entry: TensorEntry, part: TensorEntry, axis: int, reader: FileReader) -> tuple[F32, tuple[int, int]]:
    if part.size > _MAX_SCALES:
        raise _misfit(entry, part)
    values = reader.rows(part, None).ravel()
    rows, cols = entry.rows, entry.cols
    if values.size == 1:
        return values.reshape(1, 1), (max(rows, 1), max(cols, 1))
    ndim = len(entry.shape)
    if len(part.shape) == 1 and ndim > 1:
        shape = [1] * ndim
        if not -ndim <= axis < ndim:
            raise _misfit(entry, part)
        shape[axis] = part.shape[0]
    else:
        shape = list(part.shape)
    if len(shape) != ndim:
        raise _misfit(entry, part)
    if shape[-1] == cols and all(n == 1 for n in shape[:-1]):
        return values.reshape(1, cols), (max(rows, 1), 1)
    if shape[0] == entry.shape[0] and all(n == 1 for n in shape[1:]):
        return values.reshape(-1, 1), (max(rows // max(shape[0], 1), 1), max(cols, 1))
    if ndim == 2 and shape[0] and shape[1] and rows % shape[0] == 0 and cols % shape[1] == 0:
        return values.reshape(shape[0], shape[1]), (rows // shape[0], cols // shape[1])
    raise _misfit(entry, part)


def _misfit(entry: TensorEntry, part: TensorEntry) -> InputError:
    return InputError(
        "scale does not fit its tensor",
        file=part.file,
        tensor=part.name,
        expected=f"one per tensor, axis or block of {list(entry.shape)}",
        found=list(part.shape),
        fix="export the model again",
    )
