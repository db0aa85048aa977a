"""Stored number types → float32.

Enters: raw bytes of whole rows as uint8 [m, row_bytes].  Leaves: float32 [m, cols].
Block-quantised GGUF types are decoded by the `gguf` library (extra `[gguf]`); fp8 through `ml_dtypes`; integers packed into int32
words (GPTQ, AWQ, compressed-tensors) by `words.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from begat.errors import InputError, MissingExtraError
from begat.source.words import AWQ_ORDER, run_of, unpack_across, unpack_down
from begat.types import F32, U8


@dataclass(frozen=True, slots=True)
class DType:
    """A stored type: `block` consecutive values of a row take `block_bytes` bytes.

    mantissa: explicit mantissa bits of a float type, None for integers and block types; `tiny`: log2 of its smallest
    subnormal; `grid` is the length of the runs of a row that share one quantisation scale (1 = no grid beyond the float's
    own rounding); `alike` the length of the aligned runs whose positions a quantiser treats alike (a codebook's groups).
    `tall`: rows that share their stored words; a "row" of raw bytes is then all of them.
    `loose`: two values share a byte wherever rows end, so that a row of an odd number of values may start in the middle of one.
    `largest`: the greatest value of a float type that clips, None where nothing is known to be clipped.
    """

    name: str
    block: int
    block_bytes: int
    mantissa: int | None = None
    grid: int = 1
    tiny: int = -1074
    alike: int = 1
    tall: int = 1
    loose: bool = False
    largest: float | None = None

    @property
    def bits(self) -> float:
        """Stored bits of a value, scales beside it not counted."""
        return 8.0 * self.block_bytes / (self.block * self.tall)

    def row_bytes(self, cols: int) -> int:
        """Bytes of a row of `cols` values (of `tall` rows); raises ValueError when cols is no multiple of the block.

        Of a loose type: the bytes that hold the values of such a row, wherever it starts.
        """
        if self.loose:
            return self.nbytes(cols)
        if cols % self.block:
            raise ValueError(f"{cols} values do not fill blocks of {self.block}")
        return cols // self.block * self.block_bytes

    def nbytes(self, size: int) -> int:
        """Bytes of `size` values in one run."""
        return -(-size // 2) if self.loose else -(-size // self.block) * self.block_bytes


DTYPES: dict[str, DType] = {
    d.name: d
    for d in (
        DType("F64", 1, 8, 52),
        DType("F32", 1, 4, 23, tiny=-149),
        DType("F16", 1, 2, 10, tiny=-24),
        DType("BF16", 1, 2, 7, tiny=-133),
        DType("F8_E4M3", 1, 1, 3, tiny=-9, largest=448.0),
        DType("F8_E5M2", 1, 1, 2, tiny=-16, largest=57344.0),
        DType("F8_E4M3FNUZ", 1, 1, 3, tiny=-10, largest=240.0),
        DType("F8_E5M2FNUZ", 1, 1, 2, tiny=-17, largest=57344.0),
        DType("F8_E8M0", 1, 1, 0),
        DType("I64", 1, 8),
        DType("I32", 1, 4),
        DType("I16", 1, 2),
        DType("I8", 1, 1),
        DType("U64", 1, 8),
        DType("U32", 1, 4),
        DType("U16", 1, 2),
        DType("U8", 1, 1),
        DType("BOOL", 1, 1),
    )
}

#: integers in int32 words: of neighbouring rows (GPTQ), of neighbouring columns (compressed-tensors), in AWQ's order. No file names
#: these types: they are given to tensors whose neighbours show what their words hold (`packed.py`).
PACKED: dict[str, DType] = {
    d.name: d
    for d in (
        *(DType(f"GPTQ{bits}", 1, 4 * run_of(bits), tall=32 * run_of(bits) // bits) for bits in range(1, 9)),
        *(DType(f"PACK{bits}", 32 * run_of(bits) // bits, 4 * run_of(bits)) for bits in range(1, 9)),
        DType("AWQ4", 8, 4),
    )
}
FILE_TYPES = frozenset(DTYPES)
#: numbers narrower than a byte, packed along the flattened tensor; no file names these either. U4, I4: two integers a byte, the first in
#: the low half; CODE4: the first in the high half; floats of OCP Microscaling Formats 1.0: E2M1 (as U4), E2M3 (four in three bytes, the
#: first in the lowest bits).
NARROW: dict[str, DType] = {
    d.name: d
    for d in (
        DType("U4", 2, 1, loose=True),
        DType("CODE4", 2, 1, loose=True),
        DType("I4", 2, 1, loose=True),
        DType("E2M1", 2, 1, 1, tiny=-1, loose=True, largest=6.0),
        DType("E2M3", 4, 3, 3, tiny=-3, largest=7.5),
    )
}
DTYPES |= PACKED | NARROW

_NUMPY = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "<i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "<u1", "BOOL": "<u1",
}  # fmt: skip
_ML_DTYPES = {
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "F8_E8M0": "float8_e8m0fnu",
}


def decode(name: str, raw: U8) -> F32:
    """Decode raw rows [m, row_bytes] of type `name` to float32 [m, cols] ([m * tall, cols] where rows share words)."""
    if name == "BF16":
        wide = raw.view("<u2").astype(np.uint32)
        wide <<= 16
        return wide.view(np.float32)
    if name in _NUMPY:
        values = raw.view(_NUMPY[name])
        if name == "F32":
            return values.astype(np.float32, copy=False)
        # an f64 beyond float32 becomes inf and is refused where weights are checked
        with np.errstate(over="ignore", invalid="ignore"):
            return values.astype(np.float32)
    if name in _ML_DTYPES:
        table: F32 = _fp8_table(name)[raw]
        return table
    if name in NARROW:
        return _sixes(raw) if name == "E2M3" else NIBBLES[name][nibbles(raw, name)]
    if name in PACKED:
        bits, words = int(name[-1]), raw.view("<u4")
        if PACKED[name].tall > 1:
            return unpack_down(words, bits)
        return unpack_across(words, bits, AWQ_ORDER if name == "AWQ4" else None)
    decoder = _BLOCK_DECODERS.get(name)
    if decoder is None:
        raise InputError("unknown stored type", found=name, fix="open the file with begat.open_checkpoint")
    return decoder(raw)


def _floats(exponents: int, mantissa: int) -> F32:
    """The values of a small float's codes (bias 1, no infinities): positive ones, then negative ones."""
    steps = 1 << mantissa
    half = [m / steps for m in range(steps)] + [(1 + m / steps) * 2.0**e for e in range((1 << exponents) - 1) for m in range(steps)]
    return np.array([*half, *(-v for v in half)], dtype=np.float32)


#: loose type → the value of each of its sixteen codes
NIBBLES: dict[str, F32] = {
    "U4": np.arange(16, dtype=np.float32),
    "CODE4": np.arange(16, dtype=np.float32),
    "I4": np.array([*range(8), *range(-8, 0)], dtype=np.float32),
    "E2M1": _floats(2, 1),
}
_SIXES = _floats(2, 3)


def nibbles(raw: U8, name: str) -> U8:
    """The two codes of every byte [m, bytes], in order [m, 2 * bytes]."""
    low, high = raw & np.uint8(15), raw >> np.uint8(4)
    pair = (high, low) if name == "CODE4" else (low, high)
    return np.stack(pair, axis=-1).reshape(raw.shape[0], 2 * raw.shape[1])


def _sixes(raw: U8) -> F32:
    """Four 6-bit floats from every three bytes [m, 3n] → [m, 4n]."""
    b = raw.reshape(raw.shape[0], raw.shape[1] // 3, 3).astype(np.uint32)
    word = b[..., 0] | b[..., 1] << np.uint32(8) | b[..., 2] << np.uint32(16)
    codes = np.stack([word >> np.uint32(6 * i) & np.uint32(63) for i in range(4)], axis=-1)
    values: F32 = _SIXES[codes].reshape(raw.shape[0], raw.shape[1] // 3 * 4)
    return values


@cache
def _fp8_table(name: str) -> F32:
    import ml_dtypes

    codes = np.arange(256, dtype=np.uint8)
    table: F32 = codes.view(getattr(ml_dtypes, _ML_DTYPES[name])).astype(np.float32)
    return table


_BLOCK_DECODERS: dict[str, Callable[[U8], F32]] = {}


def register_block_types() -> None:
    """Make every type the installed `gguf` library can decode known to `DTYPES` and `decode`.

    Raises MissingExtraError when the library is not installed.
    """
    if _BLOCK_DECODERS:
        return
    try:
        from gguf import GGML_QUANT_SIZES, quants
    except ImportError:
        raise MissingExtraError("GGUF quantised weights need the gguf library", fix="pip install 'begat[gguf]'") from None
    for kind, (block, block_bytes) in GGML_QUANT_SIZES.items():
        if kind.name in DTYPES or kind not in quants._type_traits:
            continue
        grid = _GRID.get(kind.name, 32)
        DTYPES[kind.name] = DType(kind.name, block, block_bytes, None, grid, alike=_CODEBOOK.get(kind.name, grid))
        _BLOCK_DECODERS[kind.name] = _gguf_decoder(kind, block, block_bytes)


def _gguf_decoder(kind: object, block: int, block_bytes: int) -> Callable[[U8], F32]:
    from gguf import quants

    def run(raw: U8) -> F32:
        if not raw.size:  # the library cannot reshape nothing
            return np.empty((raw.shape[0], raw.shape[1] // block_bytes * block), dtype=np.float32)
        with np.errstate(all="ignore"):  # damaged scales may be inf; such weights are refused where they are checked
            values: F32 = np.asarray(quants.dequantize(np.ascontiguousarray(raw), kind), dtype=np.float32)
        return values

    return run


#: run length of a row that shares one scale (and minimum), where it is not the usual 32; from the block layouts of ggml-common.h.
#: IQ1_M has a scale per 16 values but a shift per 8.
_GRID = {
    "Q2_K": 16, "Q3_K": 16, "Q6_K": 16, "IQ2_XS": 16, "IQ2_S": 16, "IQ1_M": 8, "TQ1_0": 256, "TQ2_0": 256, "NVFP4": 16,
}  # fmt: skip
#: these code eight values at once from a codebook, so only positions within eight are treated alike
_CODEBOOK = {"IQ1_S": 8, "IQ1_M": 8, "IQ2_XXS": 8, "IQ2_XS": 8, "IQ2_S": 8, "IQ3_XXS": 8, "IQ3_S": 8}
