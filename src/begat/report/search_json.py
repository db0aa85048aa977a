"""A search as JSON. Enters: a `SearchResult`.  Leaves: plain values of finite numbers, or their text; the shape is fixed by
`schema/search-1.schema.json`.
"""

from __future__ import annotations

import dataclasses
import json
from importlib import resources
from typing import TYPE_CHECKING, Any

from begat.report import search_words, tree_json
from begat.report.json import as_text, plain

if TYPE_CHECKING:
    from begat.index.search import SearchResult

SCHEMA_VERSION = 1


def to_json(found: SearchResult) -> dict[str, Any]:
    """The search as JSON-ready values; ValueError on a number that is not finite."""
    from begat import __version__

    out: dict[str, Any] = {"schema_version": SCHEMA_VERSION, "tool": "begat", "version": __version__}
    out |= {"sentence": search_words.headline(found), "price": search_words.price(found)}
    for field in dataclasses.fields(found):
        value = getattr(found, field.name)
        out[field.name] = tree_json.to_json(value) if field.name == "tree" and value is not None else plain(value, field.name)
    return out


def dumps(found: SearchResult) -> str:
    """The search as JSON text."""
    return as_text(to_json(found))


def load_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of `to_json`'s result."""
    text = resources.files("begat.report").joinpath("schema", f"search-{SCHEMA_VERSION}.schema.json").read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema
