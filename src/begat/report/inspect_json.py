"""An inspection as JSON, for machines.

Enters: an `Inspection`.  Leaves: JSON text.  The shape is fixed by `schema/inspection-1.schema.json`; how values become JSON:
`json.py`.
"""

from __future__ import annotations

import dataclasses
import json
from importlib import resources
from typing import Any

from begat.inspection import Inspection
from begat.report.json import _escape, _lay_out, _plain

SCHEMA_VERSION = 1


def to_json(inspection: Inspection) -> dict[str, Any]:
    """The inspection as JSON-ready values; ValueError on a number that is not finite."""
    head = {
        "schema_version": SCHEMA_VERSION,
        "tool": str(inspection.replay["tool"]),
        "version": str(inspection.replay["version"]),
    }
    return head | {f.name: _plain(getattr(inspection, f.name), f.name) for f in dataclasses.fields(inspection)}


def dumps(inspection: Inspection) -> str:
    """The inspection as JSON text."""
    text = _lay_out(to_json(inspection), "")
    return "\n".join(line if line.isprintable() else "".join(map(_escape, line)) for line in text.split("\n"))


def load_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of `to_json`'s result."""
    text = resources.files("begat.report").joinpath("schema", f"inspection-{SCHEMA_VERSION}.schema.json").read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema
