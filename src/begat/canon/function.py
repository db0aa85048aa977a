"""Do two configs tell equal weights to compute the same function?

Enters: two configs (config.json, or GGUF metadata).  Leaves: `ConfigDifference`s. Which keys count: `functions.toml`.
A key that only one config has is not judged: the other program's default is not known here.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

from begat.canon.config import text_part
from begat.errors import printable

_MISSING = object()


@dataclass(frozen=True, slots=True)
class ConfigDifference:
    """key: as the first config spells it; a, b: what each says, in words; meaning: a row of `functions.toml`."""

    meaning: str
    key: str
    a: str
    b: str


def config_differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[ConfigDifference, ...]:
    """What changes the function and is said otherwise by the two; () where either says nothing."""
    out = []
    for meaning, spellings in load().items():
        (key, x), (_, y) = (_look(c, spellings) for c in (a, b))
        if x is not _MISSING and y is not _MISSING and not _same(x, y):
            out.append(ConfigDifference(meaning, key, _words(x), _words(y)))
    return tuple(out)


@lru_cache(maxsize=1)
def load() -> dict[str, tuple[str, ...]]:
    """The shipped table.

    Raises:
        ValueError: an unknown key, or a row that is no list of names.
    """
    data = tomllib.loads(files("begat.canon").joinpath("functions.toml").read_text("utf-8"))
    if set(data) != {"keys"}:
        raise ValueError(f"functions.toml: expected [keys], found {sorted(data)}")
    for meaning, names in data["keys"].items():
        if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
            raise ValueError(f"functions.toml: {meaning} is no list of names")
    return {meaning: tuple(names) for meaning, names in data["keys"].items()}


def _look(config: Mapping[str, Any], spellings: tuple[str, ...]) -> tuple[str, Any]:
    """(key, value) of the first spelling that the config has, in its part for the text model or at its top."""
    arch = config.get("general.architecture")
    prefix = f"{arch}." if isinstance(arch, str) else ""
    for part in (text_part(config), config):
        for name in spellings:
            found = part.get(prefix + name, _MISSING)
            if found is _MISSING and "." in name and not prefix:
                head, _, tail = name.partition(".")
                inner = part.get(head)
                found = inner.get(tail, _MISSING) if isinstance(inner, Mapping) else _MISSING
            if found is not _MISSING:
                return name, _plain(found)
    return spellings[0], _MISSING


def _plain(value: Any) -> Any:
    """A scaling without its base, under one spelling, None where it scales nothing."""
    if not isinstance(value, Mapping):
        return value
    kept = {("rope_type" if k == "type" else k): v for k, v in value.items() if k != "rope_theta" and v is not None}
    return None if kept.get("rope_type", "default") == "default" else kept


def _same(x: Any, y: Any) -> bool:
    if isinstance(x, bool) or isinstance(y, bool):
        return x is y
    if isinstance(x, int | float) and isinstance(y, int | float):
        return math.isclose(x, y, rel_tol=1e-5)
    return bool(x == y)


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{printable(str(k), 40)} {_words(v)}" for k, v in sorted(value.items(), key=str))[:160]
    return printable(f"{value:g}" if isinstance(value, float) else str(value), 80)
