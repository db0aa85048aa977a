"""A verdict as JSON, for machines and for `begat replay`.

Enters: a `Verdict`.  Leaves: plain dicts and lists with finite numbers only, or their text.  The shape is fixed by
`schema/verdict-1.schema.json`; a change of meaning makes a new schema file and a new `SCHEMA_VERSION`.
"""

from __future__ import annotations

import dataclasses
import json
import math
import numbers
import os
from collections.abc import Mapping
from importlib import resources
from typing import Any

from begat.types import Verdict

SCHEMA_VERSION = 1
_WIDTH = 320
_RENAMED = ("cells", "map_mode", "accounting")


def to_json(verdict: Verdict) -> dict[str, Any]:
    """The verdict as JSON-ready values; ValueError on a number that is not finite."""
    out: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "tool": str(verdict.replay.get("tool", "begat")),
        "version": str(verdict.replay.get("version", "")),
    }
    for field in dataclasses.fields(verdict):
        value = getattr(verdict, field.name)
        if field.name == "cells":
            out["map"] = {"mode": verdict.map_mode, "cells": _plain(value, "map.cells")}
        elif field.name == "accounting":
            out["accounting"] = None if value is None else {s: _plain(v, s) for s, v in zip("ab", value, strict=True)}
        elif field.name not in _RENAMED:
            out[field.name] = _plain(value, field.name)
    return out


def dumps(verdict: Verdict) -> str:
    """The verdict as JSON text: what fits a line stays on one, unprintable characters are escaped."""
    return as_text(to_json(verdict))


def as_text(value: dict[str, Any]) -> str:
    """Plain values as JSON text, laid out and escaped as `dumps` says."""
    text = _lay_out(value, "")
    return "\n".join(line if line.isprintable() else "".join(map(_escape, line)) for line in text.split("\n"))


def plain(value: Any, where: str) -> Any:
    """A result type as JSON-ready values; ValueError on a number that is not finite, naming the place."""
    return _plain(value, where)


def load_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of `to_json`'s result."""
    text = resources.files("begat.report").joinpath("schema", f"verdict-{SCHEMA_VERSION}.schema.json").read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def _plain(value: Any, where: str) -> Any:
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        if not math.isfinite(value):
            raise ValueError(f"{where} is not a finite number")
        return float(value)
    if dataclasses.is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name), f"{where}.{f.name}") for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): _plain(v, f"{where}.{k}") for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v, f"{where}[{i}]") for i, v in enumerate(value)]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"{where}: {type(value).__name__} has no place in a report")


def _lay_out(value: Any, indent: str) -> str:
    """JSON text where a container that fits `_WIDTH` takes one line."""
    flat = json.dumps(value, ensure_ascii=False, allow_nan=False)
    if not isinstance(value, (dict, list)) or not value or len(flat) + len(indent) <= _WIDTH:
        return flat
    inner = indent + "  "
    if isinstance(value, dict):
        items = [f"{json.dumps(k, ensure_ascii=False)}: {_lay_out(v, inner)}" for k, v in value.items()]
        return "{\n" + ",\n".join(inner + item for item in items) + f"\n{indent}}}"
    return "[\n" + ",\n".join(inner + _lay_out(v, inner) for v in value) + f"\n{indent}]"


def _escape(char: str) -> str:
    """As a JSON escape unless printable; json.dumps leaves DEL alone."""
    if char.isprintable():
        return char
    return json.dumps(char)[1:-1] if char != "\x7f" else "\\u007f"
