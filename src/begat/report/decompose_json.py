"""A decomposition as JSON. Enters: a `Decomposition`.  Leaves: plain values of finite numbers, or their text; the shape is fixed by
`schema/decomposition-1.schema.json`.
"""

from __future__ import annotations

import dataclasses
import json
from importlib import resources
from typing import Any

from begat.recipes import Decomposition
from begat.report.json import as_text, plain

SCHEMA_VERSION = 1


def to_json(found: Decomposition) -> dict[str, Any]:
    """The decomposition as JSON-ready values; ValueError on a number that is not finite."""
    out: dict[str, Any] = {"schema_version": SCHEMA_VERSION}
    for field in dataclasses.fields(found):
        out[field.name] = plain(getattr(found, field.name), field.name)
    return out


def dumps(found: Decomposition) -> str:
    """The decomposition as JSON text."""
    return as_text(to_json(found))


def load_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of `to_json`'s result."""
    text = resources.files("begat.report").joinpath("schema", f"decomposition-{SCHEMA_VERSION}.schema.json").read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema
