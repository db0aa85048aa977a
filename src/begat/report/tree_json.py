"""A family tree as JSON. Enters: a `Tree`.  Leaves: plain values of finite numbers, or their text; the shape is fixed by `schema/tree-1.schema.json`."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

from begat.report.json import as_text, plain
from begat.tree.types import Tree

SCHEMA_VERSION = 1


def to_json(tree: Tree) -> dict[str, Any]:
    """The tree as JSON-ready values; nodes are referred to by their place in `nodes`."""
    return {
        "schema_version": SCHEMA_VERSION,
        "nodes": plain(tree.nodes, "nodes"), "edges": plain(tree.edges, "edges"), "components": plain(tree.components, "components"),
        "claims": plain(tree.claims, "claims"), "tested": tree.tested, "threshold": tree.threshold, "caveats": list(tree.caveats),
        "policy": plain(tree.policy, "policy"), "untested": plain(tree.untested, "untested"),
    }  # fmt: skip


def dumps(tree: Tree) -> str:
    """The tree as JSON text."""
    return as_text(to_json(tree))


def load_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of `to_json`'s result."""
    text = resources.files("begat.report").joinpath("schema", f"tree-{SCHEMA_VERSION}.schema.json").read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema
