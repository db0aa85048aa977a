"""Weights packed into int32 words: `X.qweight` or `X.weight_packed` with its helpers becomes one entry `X.weight`.

Enters: name → entry, and the config.  Leaves: name → entry, packed weights under the name of the weight with type and `Scaling`; the
helpers as skipped, with the reason.  Layouts: `gptq.py`, `awq.py`, `compressed.py`.  Integers in words: `words.py`.

The shapes say what lies where. The config is asked only for what they cannot say: which of its variants a layout is, and where zero
points count from. A variant that is not read stays as it is stored, and the canon drops it with a reason; a layout whose parts do not
fit each other is damaged, and an error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from begat.errors import InputError
from begat.source.reader import FileReader
from begat.source.scales import block_length
from begat.types import I64, Scaling, TensorEntry

_SCALES = ("F16", "BF16", "F32")


@dataclass(frozen=True, slots=True)
class Parts:
    """A packed tensor as it is stored.

    Attributes:
        name: of the weight.
        words: the packed integers.
        beside: what follows the name of the module → helper tensor, of those that are there.
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
        self, shape: tuple[int, int], dtype: str, scaling: Scaling, *, transposed: bool, zero: tuple[str, str] | None = None
    ) -> TensorEntry:
        """The weight. `zero`: helper and type of packed zero points, one for each scale."""
        if zero is not None and isinstance(scaling.scale, TensorEntry):
            points = replace(self.beside[zero[0]], shape=scaling.scale.shape, dtype=zero[1])
            scaling = replace(scaling, zero=points)
        return replace(self.words, name=self.name, shape=shape, dtype=dtype, scaling=scaling, transposed=transposed)


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
    return found if plain(found, _SCALES) else None


def group_size(inputs: int, groups: int, said: object) -> int:
    """Inputs that share a scale: as the config says where that gives as many groups, else from their number; 0 when nothing fits."""
    if isinstance(said, int) and said > 0 and -(-inputs // said) == groups:
        return min(said, inputs)
    return block_length(inputs, groups)


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


def attach_packed(
    entries: dict[str, TensorEntry], config: Mapping[str, Any], reader: FileReader
) -> tuple[dict[str, TensorEntry], list[tuple[str, str]]]:
    """Every packed weight that is read as one entry under its own name, in the place of its words; and what was skipped for it.

    Raises InputError when the parts of a packed weight do not fit each other.
    """
    from begat.source import awq, compressed, gptq

    layouts: dict[str, tuple[dict[str, str], tuple[Callable[[Parts], TensorEntry | None], ...]]] = {
        "qweight": (gptq.HELPERS, (gptq.weight, awq.weight)),
        "weight_packed": (compressed.HELPERS, (compressed.weight,)),
    }
    note = _note(config)
    out: dict[str, TensorEntry] = {}
    skipped: list[tuple[str, str]] = []
    gone: set[str] = set()
    for name, entry in entries.items():
        module, _, end = name.rpartition(".")
        helpers, read = layouts.get(end, ({}, ()))
        weight = f"{module}.weight"
        found = None
        if read and module and weight not in entries and weight not in out and plain(entry, ("I32",)) and not entry.transposed:
            beside = {h: entries[f"{module}.{h}"] for h in helpers if f"{module}.{h}" in entries}
            found = next((w for w in (one(Parts(weight, entry, beside, note, reader)) for one in read) if w is not None), None)
        if found is None:
            out[name] = entry
            continue
        out[weight] = found
        here = [(f"{module}.{h}", f"{why} of {weight}") for h, why in helpers.items() if f"{module}.{h}" in entries]
        skipped += here
        gone.update(helper for helper, _ in here)
    return {name: entry for name, entry in out.items() if name not in gone}, skipped


def _note(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """`quantization_config`, which models of several towers may keep with the text."""
    inner = config.get("text_config")
    for place in (config, inner if isinstance(inner, dict) else {}):
        found = place.get("quantization_config")
        if isinstance(found, dict):
            return found
    return {}
