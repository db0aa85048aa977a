"""bitsandbytes' 4-bit codes (NF4, FP4), with plain or quantised block maxima.

Enters: `Parts`.  Leaves: the weight as an entry of its own shape.  Stored as (`Linear4bit` in a state dict):

    X.weight U8 [n / 2, 1]: two codes a byte, the first in the high half; any wider type is these bytes too (`bnb_4bit_quant_storage`)
    X.weight.absmax F32 [n / block]: the greatest size of each run of `block` values of the flattened weight
    X.weight.quant_map F32 [16]: the values of the codes
    X.weight.quant_state.bitsandbytes__nf4 (or __fp4) U8: JSON with quant_type, blocksize, dtype, shape, and of quantised maxima
        nested_blocksize, nested_dtype, nested_offset
    X.weight.absmax U8 [n / block], X.weight.nested_absmax F32 [n / block / 256], X.weight.nested_quant_map F32 [256]: quantised maxima,
        nested_quant_map[code] * nested_absmax + nested_offset

value = quant_map[code] * absmax. The codes are those of `get_4bit_type` (NF4: arXiv:2305.14314, appendix E); a map that holds others is not
read. The tests hold the values against `bitsandbytes.functional.dequantize_4bit`, which then rounds to the `dtype` that the state names.
int8 (`SCB`) is the neighbour's: `scales.py`.

Blocks run through the flattened weight. Where rows hold whole blocks, or blocks whole rows, they are rectangles of the matrix, and rows that
share one (or 256 quantised maxima) are treated alike; else rows repeat their pattern after a period, and inside it no two are alike.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from begat.source.packed import LAYOUTS, Layout, Parts
from begat.types import F32, Scaling, TensorEntry, Unread

_NF4 = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)  # fmt: skip
_FP4 = (0.0, 0.0625, 8.0, 12.0, 4.0, 6.0, 2.0, 3.0)
#: kind → the value of each code
LEVELS: dict[str, F32] = {
    "nf4": np.array(_NF4, dtype=np.float32),
    "fp4": np.array([*_FP4, *(-v for v in _FP4)], dtype=np.float32) / np.float32(12),
}
_BLOCKS = (32, 64, 128, 256, 512, 1024, 2048, 4096)
_NESTED = 256
_MAX_NOTE = 1 << 16
_STATE = ".quant_state.bitsandbytes__"
_HELPERS = {
    ".absmax": "block maxima", ".quant_map": "code table", ".nested_absmax": "maxima of block maxima",
    ".nested_quant_map": "code table of block maxima",
}  # fmt: skip


def _reader(kind: str) -> Callable[[Parts], TensorEntry | Unread | None]:
    def read(parts: Parts) -> TensorEntry | Unread | None:
        tool = f"bitsandbytes {kind.upper()}"
        state = _state(parts.beside[(_STATE + kind).lstrip(".")], parts)
        shape = _shape(state.get("shape"), parts.words.nbytes)
        if not shape or state.get("quant_type") != kind or parts.words.strides is not None:
            return Unread(f"{tool} whose quant_state is not understood", 2 * parts.words.nbytes)
        if len(parts.words.shape) > 1 and parts.words.shape[0] == 1 and parts.words.size > 1:
            return Unread(f"{tool}, stored transposed", math.prod(shape))
        scale = _maxima(parts, state, shape, kind)
        return scale if isinstance(scale, Unread) else _weight(parts, shape, scale, state, kind)

    return read


def _weight(parts: Parts, shape: tuple[int, ...], scale: TensorEntry, state: Mapping[str, Any], kind: str) -> TensorEntry:
    block, cols = int(state["blocksize"]), shape[-1]
    rows = math.prod(shape) // cols
    scale, flat, cells = _laid(scale, rows, cols, block)
    nested = scale.scaling is not None and scale.size > _NESTED
    values = block * _NESTED if nested else block
    run = math.lcm(values, cols) // cols
    whole = 0 if flat else max(1, values // cols) if cols % block == 0 or not nested else 0
    alike = (whole if whole == run else 0, cells[1])
    scaling = Scaling(scale, None, cells, alike=alike, flat=flat, levels=LEVELS[kind], period=(run, cells[1]))
    return parts.entry(shape, "CODE4", scaling, transposed=False)


def _laid(scale: TensorEntry, rows: int, cols: int, block: int) -> tuple[TensorEntry, int, tuple[int, int]]:
    """How runs of `block` values lie over a matrix: (scales in that shape, `Scaling.flat`, `Scaling.block`)."""
    if cols % block == 0:
        return replace(scale, shape=(rows, cols // block)), 0, (1, block)
    if block % cols == 0:
        return replace(scale, shape=(scale.size, 1)), 0, (block // cols, cols)
    return replace(scale, shape=(1, scale.size)), block, (0, 0)


def _maxima(parts: Parts, state: Mapping[str, Any], shape: tuple[int, ...], kind: str) -> TensorEntry | Unread:
    """The block maxima as an entry [blocks] that reads as float32, or why they are not read."""
    tool, size = f"bitsandbytes {kind.upper()}", math.prod(shape)
    block, absmax, codes = state.get("blocksize"), parts.beside.get("absmax"), parts.beside.get("quant_map")
    if type(block) is not int or block not in _BLOCKS or absmax is None or absmax.strides is not None:
        return Unread(f"{tool} without block maxima, or of an unknown block", size)
    if codes is None or not _same(parts.reader.rows(codes, None).ravel() if codes.size == 16 else None, LEVELS[kind]):
        return Unread(f"{tool} with a code table of its own", size)
    if absmax.size != -(-size // block):
        return Unread(f"{tool} whose block maxima do not fit", size)
    if "nested_absmax" not in parts.beside:
        return absmax if absmax.dtype == "F32" else Unread(f"{tool} whose block maxima are no floats", size)
    outer, table = parts.beside["nested_absmax"], parts.beside.get("nested_quant_map")
    offset = state.get("nested_offset")
    if (
        absmax.dtype != "U8" or table is None or table.size != 256 or table.dtype != "F32" or outer.dtype != "F32"
        or state.get("nested_blocksize") != _NESTED or outer.size != -(-absmax.size // _NESTED)
        or not isinstance(offset, float | int) or isinstance(offset, bool) or not abs(offset) < 1e38
    ):  # fmt: skip
        return Unread(f"{tool} with block maxima quantised in a way that is not known", size)
    levels = parts.reader.rows(table, None).ravel()
    many = parts.reader.rows(outer, None).reshape(1, -1)
    bias = np.full_like(many, np.float32(offset))
    return replace(absmax, scaling=Scaling(many, None, (0, 0), flat=_NESTED, levels=levels, bias=bias))


def _same(found: F32 | None, levels: F32) -> bool:
    return found is not None and bool(np.allclose(found, levels, rtol=0, atol=1e-6))


def _state(entry: TensorEntry, parts: Parts) -> Mapping[str, Any]:
    """The JSON object in a quant_state tensor; {} when there is none."""
    if entry.dtype != "U8" or not 0 < entry.size <= _MAX_NOTE:
        return {}
    try:
        found = json.loads(parts.reader.raw(entry, None).tobytes())
    except (ValueError, RecursionError):  # bad UTF-8, bad JSON, integers of thousands of digits
        return {}
    return found if isinstance(found, dict) else {}


def _shape(said: object, nbytes: int) -> tuple[int, ...]:
    """The shape of the weight, when it is one that fills these bytes; () else."""
    if not isinstance(said, list) or not 0 < len(said) <= 8 or not all(type(n) is int and 0 < n < 1 << 40 for n in said):
        return ()
    return tuple(said) if -(-math.prod(said) // 2) == nbytes else ()


for _kind in LEVELS:
    LAYOUTS.add(f"bitsandbytes {_kind}")(
        Layout("", "", (), (_STATE + _kind,), _HELPERS | {_STATE + _kind: "how it is packed"}, _reader(_kind))
    )
