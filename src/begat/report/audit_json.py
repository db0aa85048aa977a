"""An audit as JSON, for machines, and as the evidence that an in-toto statement covers.

Enters: an `Audit`.  Leaves: JSON text. The shape is fixed by `schema/audit-1.schema.json`; how values become JSON: `json.py`.
"""

from __future__ import annotations

import dataclasses
import json
from importlib import resources
from typing import Any

from begat.audit.types import Audit
from begat.report.json import as_text, plain

SCHEMA_VERSION = 1


def to_json(audit: Audit) -> dict[str, Any]:
    """The audit as JSON-ready values; ValueError on a number that is not finite."""
    head = {"schema_version": SCHEMA_VERSION, "tool": str(audit.replay["tool"]), "version": str(audit.replay["version"])}
    return head | {f.name: plain(getattr(audit, f.name), f.name) for f in dataclasses.fields(audit)}


def dumps(audit: Audit) -> str:
    """The audit as JSON text."""
    return as_text(to_json(audit))


def load_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of `to_json`'s result."""
    text = resources.files("begat.report").joinpath("schema", f"audit-{SCHEMA_VERSION}.schema.json").read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema
