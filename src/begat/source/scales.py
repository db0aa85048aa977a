"""Pairs numbers of one byte a value (fp8, int8) with the scale tensors stored beside them.

Enters: name → entry, and the config.  Leaves: name → entry with `Scaling` attached, the scale tensors as skipped, and as `Unread` what
cannot be read: numbers whose scale has another type or shape than is known, and fp8 numbers without the scale they need.  Names of scales
are data: `scales.toml`.  Block shapes follow from the shapes, and from the config where several would fit. Several numbers a byte are
the neighbour's: `packed.py`.

A scale is a float, or an exponent (F8_E8M0). A scale stored as U8 is an exponent too where the layout says so: the config names one of
the formats in `scales.toml`, or says nothing and the weight is fp8 with a scale for every 32 numbers of a row, which no other layout has
(OCP Microscaling Formats 1.0). Any other integer scale is refused. Int8 numbers with exponents are two 4-bit floats each where there
is an exponent for every 16 of them (DeepSeek-V4's experts).

fp8 numbers without a scale are read as they are only where nothing speaks of scales (`_plain`): checkpoints cast to fp8 without any
exist (diffusion models mostly), and the same bytes in a scaled checkpoint are wrong by a factor for each block.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from begat.source.packed import FLOATS, block_length, quantization_note
from begat.source.reader import FileReader
from begat.source.scale_names import BESIDE, SCALES, says_exponents
from begat.types import Scaling, TensorEntry, Unread

FP8 = ("F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ")
_QUANTISED = (*FP8, "I8")
_MAX_SCALES = 1 << 26
_MX = 32
#: methods whose int8 numbers are one value each; "" = the config names none
_INT8 = ("", "compressed-tensors", "bitsandbytes", "quark", "w8a8_int8", "int8")
NO_SCALE = "fp8 numbers without the scale they need"
#: fp8 numbers of a plain cast are as small as weights are; scaled ones fill the type's range
_PLAIN_RMS, _LOOKED = 8.0, 16
_PLAIN_NOTE = "fp8 numbers without scales, read as they are stored: neither the file nor its config speaks of scales"
_SCALE_LIKE = re.compile(r"(^|_)q?(scaled?|scales|scaling|amax|absmax)(_|$)")


@dataclass(slots=True)
class Scaled:
    """What became of the entries: `skipped` helpers are no entries any more, `unread` ones still are."""

    entries: dict[str, TensorEntry]
    skipped: list[tuple[str, str]] = field(default_factory=list)
    unread: dict[str, Unread] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def attach_scales(entries: dict[str, TensorEntry], config: Mapping[str, Any], reader: FileReader, known: Mapping[str, Unread]) -> Scaled:
    """Attach every scale tensor to the tensor it scales.

    Args:
        entries: all of them.
        config: config.json, untrusted.
        reader: reads scales.
        known: entries that are unread already.
    """
    out, note = Scaled(dict(entries)), quantization_note(config)
    bare: list[str] = []
    for name, entry in entries.items():
        if entry.dtype not in _QUANTISED or entry.scaling is not None or name in known:
            continue
        found = _scale_of(name, entry, entries)
        if found is None:
            bare += [name] if entry.dtype in FP8 else []
            continue
        scale, over = found
        zero = entries.get(name + "_zero_point")
        read = _read(entry, entries[scale], over, zero, note, reader, entries)
        helpers = {scale: f"scale of {name}"} | ({zero.name: f"zero point of {name}"} if zero is not None else {})
        helpers |= {h: what for h, what in _beside(name) if h in entries}
        if isinstance(read, Unread):
            out.unread |= {h: Unread(f"beside weights that are not read: {what.split(' of ')[0]}") for h, what in helpers.items()}
            out.unread[name] = read
            continue
        out.entries[name] = read
        for helper, what in helpers.items():
            if out.entries.pop(helper, None) is not None:
                out.skipped.append((helper, what))
    if bare and _plain(bare, out, entries, note, reader):
        out.notes.append(_PLAIN_NOTE)
    else:
        out.unread |= {name: Unread(NO_SCALE, entries[name].size) for name in bare}
    return out


def _scale_of(name: str, entry: TensorEntry, entries: Mapping[str, TensorEntry]) -> tuple[str, float] | None:
    """(scale tensor, what its values are divided by) of a weight, likeliest first."""
    for s in SCALES:
        scale = name.removesuffix(s.replaces) + s.ending
        if name.endswith(s.replaces) and scale != name and scale in entries and (entry.dtype in s.of or _halves(entry, entries[scale])):
            return scale, s.over
    return None


def _beside(name: str) -> list[tuple[str, str]]:
    return [(name.removesuffix(b.replaces) + e, b.what) for b in BESIDE if name.endswith(b.replaces) for e in b.endings]


def _halves(entry: TensorEntry, scale: TensorEntry) -> bool:
    """int8 bytes that hold two 4-bit floats each, with an exponent for every 32 of these."""
    return (
        entry.dtype == "I8"
        and scale.dtype in ("F8_E8M0", "U8")
        and len(entry.shape) == len(scale.shape) >= 2
        and entry.shape[:-1] == scale.shape[:-1]
        and 2 * entry.shape[-1] == _MX * scale.shape[-1] > 0
        and entry.strides is scale.strides is None
    )


def _read(
    entry: TensorEntry, scale: TensorEntry, over: float, zero: TensorEntry | None, note: Mapping[str, Any], reader: FileReader,
    entries: Mapping[str, TensorEntry],
) -> TensorEntry | Unread:  # fmt: skip
    """The entry with its scales, or why they are not understood."""
    exponents = says_exponents(note)
    if _halves(entry, scale):
        if scale.dtype == "U8" and not exponents:
            return Unread("int8 bytes with integer scales", 2 * entry.size)
        lazy = replace(scale, shape=(scale.rows, scale.cols), dtype="F8_E8M0")
        shape = (*entry.shape[:-1], 2 * entry.shape[-1])
        return replace(entry, shape=shape, dtype="E2M1", scaling=Scaling(lazy, None, (1, _MX)))
    format_note = entries.get(entry.name.removesuffix("weight") + "weight_format") if over != 1 else None
    if format_note is not None and (format_note.size != 1 or reader.rows(format_note, None).any()):
        return Unread("bitsandbytes int8 in the order of a kernel", entry.size)
    if entry.dtype == "I8" and str(note.get("quant_method", "")).lower() not in _INT8:
        return Unread(f"int8 numbers of {str(note.get('quant_method'))[:40]}, whose layout is not known", entry.size)
    grid = _grid(entry, scale, note)
    if grid is None:
        return Unread("scales whose shape does not fit the weight", entry.size)
    shape, block = grid
    if scale.dtype == "U8" and entry.dtype in FP8 and (exponents or (not note and block == (1, _MX))):
        scale = replace(scale, dtype="F8_E8M0")
    if scale.dtype not in (*FLOATS, "F64", "F8_E8M0") or (scale.dtype == "F8_E8M0" and entry.dtype not in FP8):
        return Unread(f"{_kind(entry)} numbers with {scale.dtype} scales, which may mean anything", entry.size)
    values = reader.rows(scale, None).reshape(shape) / np.float32(over)
    zeros = None
    if zero is not None:
        at = _grid(entry, zero, note)
        if at is None or at[1] != block or zero.dtype not in ("I8", "I16", "I32", "I64", *FLOATS, *FP8):
            return Unread("zero points that do not fit the scales", entry.size)
        zeros = reader.rows(zero, None).reshape(shape)
    return replace(entry, scaling=Scaling(values, zeros if zeros is not None and zeros.any() else None, block))


def _kind(entry: TensorEntry) -> str:
    return "fp8" if entry.dtype in FP8 else "int8"


def _grid(entry: TensorEntry, scale: TensorEntry, note: Mapping[str, Any]) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """How the scales lie over the matrix view, from the two shapes: (scales down, scales across), (rows, columns of a block); None = not."""
    rows, cols, n = max(entry.rows, 1), max(entry.cols, 1), scale.size
    if not 0 < n <= _MAX_SCALES or scale.strides is not None:
        return None
    if n == 1:
        return (1, 1), (rows, cols)
    if n == entry.rows and (len(scale.shape) == 1 or scale.shape[-1] == 1 or scale.shape == entry.shape[:-1]):
        return (n, 1), (1, cols)
    if len(entry.shape) == 3 and n == entry.shape[0] == scale.shape[0]:  # stacked experts, one scale each
        return (n, 1), (max(entry.shape[1], 1), cols)
    if len(entry.shape) == len(scale.shape) >= 2 and entry.shape[:-2] == scale.shape[:-2]:
        said = _said_block(note)
        down, across = (_length(entry.shape[i], scale.shape[i], said[i]) for i in (-2, -1))
        if down and across and (len(entry.shape) == 2 or entry.shape[-2] % down == 0):
            return (n // scale.shape[-1], scale.shape[-1]), (down, across)
    return None


def _length(size: int, count: int, said: int) -> int:
    return said if said > 0 and count > 0 and -(-size // said) == count else block_length(size, count)


def _said_block(note: Mapping[str, Any]) -> tuple[int, int]:
    """(rows, columns) of a block as the config has them, 0 where it does not say."""
    said = note.get("weight_block_size")
    if isinstance(said, list) and len(said) == 2 and all(type(n) is int and 0 < n < 1 << 31 for n in said):
        return said[0], said[1]
    return 0, 0


def _plain(bare: list[str], found: Scaled, entries: Mapping[str, TensorEntry], note: Mapping[str, Any], reader: FileReader) -> bool:
    """Are fp8 numbers without a scale of their own the weights themselves?

    Only where the config names no quantiser, no other fp8 tensor has a scale, nothing stored beside them has an unknown name or one that
    speaks of scales, and they are as small as weights: scaled numbers reach to the end of the type's range in every block.
    """
    if note or any(e.scaling is not None and e.dtype in FP8 for e in found.entries.values()):
        return False
    if "scaled_fp8" in entries or any(entries[name].dtype in FP8 for name in found.unread):
        return False
    if any(_SCALE_LIKE.search(name.rpartition(".")[2]) for name in _neighbours(entries, bare)):
        return False
    rms = []
    for name in [n for n in bare if entries[n].cols and entries[n].rows][:_LOOKED]:
        values = reader.rows(entries[name], np.array([entries[name].rows // 2]))
        rms.append(float(np.sqrt(np.mean(np.square(values[:, :65536], dtype=np.float64)))))
    return bool(rms) and float(np.median(rms)) < _PLAIN_RMS


def _neighbours(entries: Mapping[str, TensorEntry], bare: list[str]) -> list[str]:
    """Names stored in the modules of these weights."""
    modules = {name.rpartition(".")[0] for name in bare} - {""}
    return [name for name in entries if name.rpartition(".")[0] in modules]
