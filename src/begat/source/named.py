"""Packed layouts that are recognised by name and not read: the table `named.toml`.

Enters: `Parts`.  Leaves: an `Unread` that names the tool and counts the weights.  Layouts that are read are registered first, so that only
their unknown variants arrive here.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Any

import begat.source.awq
import begat.source.bitsandbytes
import begat.source.compressed
import begat.source.microscaling  # noqa: F401  (layouts that are read are asked first)
from begat.errors import printable
from begat.source.dtypes import DTYPES, FILE_TYPES
from begat.source.packed import LAYOUTS, Layout, Parts
from begat.types import Unread

_KEYS = {"tool", "words", "types", "needs", "helpers", "values"}
_HELPER = "part of the packing"


def layouts(data: Mapping[str, Any]) -> list[Layout]:
    """The table as layouts. Raises ValueError on an unknown key, type or value."""
    if set(data) != {"layout"}:
        raise ValueError("named.toml: [[layout]] is wanted and nothing else")
    out = []
    for one in data["layout"]:
        if set(one) != _KEYS or not set(one["types"]) <= FILE_TYPES or not (one["values"] == "bits" or one["values"] > 0):
            raise ValueError(f"named.toml [[layout]] {one.get('tool')}: unknown or missing key, type or value")
        helpers = dict.fromkeys((*one["helpers"], *one["needs"]), _HELPER)
        read = _reader(one["tool"], one["values"])
        out.append(Layout(one["words"], one["words"], tuple(one["types"]), tuple(one["needs"]), helpers, read))
    return out


def _reader(tool: str, values: int | str) -> Callable[[Parts], Unread]:
    def read(parts: Parts) -> Unread:
        name = tool or printable(parts.method, 40)
        by = f"packed by {name}" if name else "packed by a quantiser the config does not name"
        return Unread(f"{by}, in a layout that is not read", parts.words.size * _values(parts, values))

    return read


def _values(parts: Parts, values: int | str) -> int:
    """Weights that one stored number stands for."""
    if isinstance(values, int):
        return values
    said = parts.note.get("bits", parts.note.get("w_bit", parts.note.get("nbits")))
    bits = said if type(said) is int and 1 <= said <= 8 else 4
    return max(1, 8 * DTYPES[parts.words.dtype].block_bytes // bits)


for _number, _layout in enumerate(layouts(tomllib.loads(files("begat.source").joinpath("named.toml").read_text("utf-8")))):
    LAYOUTS.add(f"named {_number}")(_layout)
