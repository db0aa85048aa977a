"""Packed weights: a tensor of integers and its helpers become one entry under the name of the weight.

Enters: name → entry, and the config.  Leaves: name → entry, packed weights under the name of the weight with type and `Scaling`; the
helpers as skipped, with the reason; and packed weights of layouts that are not read, as `Unread`, their bytes where they were.

A layout is one file beside this one that registers a `Layout`: `gptq.py`, `awq.py`, `compressed.py` (integers in words),
`microscaling.py` (4- and 6-bit floats), `bitsandbytes.py` (4-bit codes), `named.py` (layouts that are recognised and not read).
Tensors of one whole number a value are the neighbour's: `scales.py`.

The shapes say what lies where. The config is asked only for what they cannot say: which of its variants a layout is, and where zero
points count from. A layout whose parts do not fit each other is damaged, and an error, only where the config names the layout.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any

import numpy as np

from begat.errors import InputError
from begat.registry import Registry
from begat.source.reader import FileReader
from begat.types import I64, Scaling, TensorEntry, Unread

FLOATS = ("F16", "BF16", "F32")


@dataclass(frozen=True, slots=True)
class Parts:
    """A packed tensor as it is stored.

    Attributes:
        name: of the weight.
        words: the packed integers.
        beside: helper ending without its dot or underscore → helper tensor, of those that are there.
        note: the config's `quantization_config`, untrusted; {} when there is none.
    """

    name: str
    words: TensorEntry
    beside: Mapping[str, TensorEntry]
    note: Mapping[str, Any]
    reader: FileReader

    @property
    def method(self) -> str:
        """What the config calls the quantiser, "" when it does not say."""
        return str(self.note.get("quant_method", "")).lower()

    def fits(self, scales: str, shape: tuple[int, ...]) -> None:
        """Raise InputError when a helper has another shape."""
        found = self.beside[scales]
        if found.shape != shape:
            raise InputError("does not fit its packed weight", file=found.file, tensor=found.name, expected=list(shape),
                             found=list(found.shape), fix="download the file again")  # fmt: skip

    def entry(
        self, shape: tuple[int, ...], dtype: str, scaling: Scaling, *, transposed: bool, zero: tuple[str, str] | None = None
    ) -> TensorEntry:
        """The weight. `zero`: helper and type of packed zero points, one for each scale."""
        if zero is not None and isinstance(scaling.scale, TensorEntry):
            points = replace(self.beside[zero[0]], shape=scaling.scale.shape, dtype=zero[1])
            scaling = replace(scaling, zero=points)
        return replace(self.words, name=self.name, shape=shape, dtype=dtype, scaling=scaling, transposed=transposed)


@dataclass(frozen=True, slots=True)
class Layout:
    """How one packed layout is recognised and read.

    Attributes:
        words: how the name of the packed tensor ends. weight: what the weight has in its place.
        types: the stored types the packed tensor may have; () = any.
        needs: endings that must be there, in the place of `words`, before the layout is asked.
        helpers: ending → what it is, of all that belongs to the weight.
        read: the weight as an entry; an `Unread` where the layout is this one and not read; None where it is another.
    """

    words: str
    weight: str
    types: tuple[str, ...]
    needs: tuple[str, ...]
    helpers: Mapping[str, str]
    read: Callable[[Parts], TensorEntry | Unread | None]


LAYOUTS: Registry[Layout] = Registry("packed layout")


@dataclass(slots=True)
class Unpacked:
    """What became of the entries: `skipped` helpers are no entries any more, `unread` ones still are."""

    entries: dict[str, TensorEntry] = field(default_factory=dict)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    unread: dict[str, Unread] = field(default_factory=dict)


def plain(entry: TensorEntry | None, dtypes: tuple[str, ...], dims: int = 2) -> bool:
    """A helper of these types, with this many axes, none of them empty, in one piece."""
    return (
        entry is not None
        and entry.dtype in dtypes
        and len(entry.shape) == dims
        and 0 not in entry.shape
        and entry.strides is None
    )


def scale_of(parts: Parts, name: str) -> TensorEntry | None:
    """The scales as stored, when they are floats [a, b]."""
    found = parts.beside.get(name)
    return found if plain(found, FLOATS) else None


def group_size(inputs: int, groups: int, said: object) -> int:
    """Inputs that share a scale: as the config says where that gives as many groups, else from their number; 0 when nothing fits."""
    if isinstance(said, int) and said > 0 and -(-inputs // said) == groups:
        return min(said, inputs)
    return block_length(inputs, groups)


def block_length(size: int, count: int) -> int:
    """Length of the blocks when `count` of them cover `size`: a power of two where one fits, for the last may be short.

    7168/56 = 128 exactly; 576/5 = 115.2 is a block of 128 with a short last one. 0 when nothing fits.
    """
    if not 0 < count <= size:
        return 0
    exact = -(-size // count)
    power = 1 << (exact - 1).bit_length()
    return next((b for b in (power, exact) if -(-size // b) == count), 0)


def permuted(parts: Parts, name: str, inputs: int, groups: int) -> I64 | None:
    """The group of each input, from an index tensor of GPTQ's; None when there is none. Raises InputError on one that does not exist."""
    index = parts.beside.get(name)
    if index is None or not index.size:
        return None
    parts.fits(name, (inputs,))
    if index.dtype not in ("I32", "I64"):
        raise InputError("group indices are no integers", file=index.file, tensor=index.name, expected="I32", found=index.dtype,
                         fix="download the file again")  # fmt: skip
    values = parts.reader.rows(index, None).ravel()
    if values.min() < 0 or values.max() >= groups:
        raise InputError("group index out of range", file=index.file, tensor=index.name, expected=f"0 to {groups - 1}",
                         found=int(values.min() if values.min() < 0 else values.max()), fix="download the file again")  # fmt: skip
    return values.astype(np.int64)


def attach_packed(entries: dict[str, TensorEntry], config: Mapping[str, Any], reader: FileReader) -> Unpacked:
    """Every packed weight that is read as one entry under its own name, in the place of its words; and what became of the others.

    Raises InputError when the parts of a packed weight do not fit each other.
    """
    import_module("begat.source.named")  # which imports all layouts
    note = quantization_note(config)
    out = Unpacked()
    gone: set[str] = set()
    for name, entry in entries.items():
        if name in out.unread:
            out.entries[name] = entry
            continue
        found = _found(name, entry, entries, out.entries, note, reader)
        if found is None:
            out.entries[name] = entry
            continue
        weight, helpers = found
        if isinstance(weight, Unread):
            out.entries[name] = entry
            out.unread[name] = weight
            out.unread |= {h: Unread(f"beside packed weights that are not read: {why}") for h, why in helpers.items()}
            continue
        out.entries[weight.name] = weight
        out.skipped += [(helper, f"{why} of {weight.name}") for helper, why in helpers.items()]
        gone.update(helpers)
    out.entries = {name: entry for name, entry in out.entries.items() if name not in gone}
    return out


def _found(
    name: str, entry: TensorEntry, entries: Mapping[str, TensorEntry], taken: Mapping[str, TensorEntry], note: Mapping[str, Any],
    reader: FileReader,
) -> tuple[TensorEntry | Unread, dict[str, str]] | None:  # fmt: skip
    """The weight that `name` is the words of, by the first layout that knows it, and its helpers; None when none does."""
    for _, layout in LAYOUTS.items():
        stem = name.removesuffix(layout.words)
        weight = stem + layout.weight
        if not name.endswith(layout.words) or not stem or (layout.types and entry.dtype not in layout.types):
            continue
        if not all(stem + end in entries for end in layout.needs):
            continue
        here = {end: stem + end for end in layout.helpers if stem + end in entries and stem + end != name}
        beside = {end.lstrip("._"): entries[helper] for end, helper in here.items()}
        read = layout.read(Parts(weight, entry, beside, note, reader))
        if isinstance(read, TensorEntry) and (entry.transposed or (weight != name and (weight in entries or weight in taken))):
            read = Unread("a packed weight beside another of its name", read.size)
        if read is not None:
            return read, {helper: layout.helpers[end] for end, helper in here.items()}
    return None


def quantization_note(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """`quantization_config`, which models of several towers may keep with the text; MLX calls it `quantization`."""
    inner = config.get("text_config")
    for place in (config, inner if isinstance(inner, dict) else {}):
        for key in ("quantization_config", "compression_config", "quantization"):
            found = place.get(key)
            if isinstance(found, dict):
                return found
    return {}
