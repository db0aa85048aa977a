"""The table of scale names, `scales.toml`, parsed and checked.

Enters: the shipped table.  Leaves: `SCALES`, `BESIDE`, and whether a config says that byte scales are exponents.  Who uses them:
`scales.py`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from begat.source.dtypes import FILE_TYPES


@dataclass(frozen=True, slots=True)
class ScaleName:
    """A scale's name: `ending` in the place of `replaces`; its values are divided by `over`; `of`: types of the weight."""

    replaces: str
    ending: str
    over: float
    of: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BesideName:
    """Names of what else lies beside a quantised weight, and what it is."""

    replaces: str
    what: str
    endings: tuple[str, ...]


def parse(data: Mapping[str, Any]) -> tuple[tuple[ScaleName, ...], tuple[BesideName, ...], dict[str, tuple[str, ...]]]:
    """The three parts of the table. Raises ValueError on an unknown key or type."""
    _only(data, {"scale", "beside", "exponents"}, "scales.toml")
    scales, beside = [], []
    for one in data["scale"]:
        _only(one, {"from", "replaces", "ending", "over", "of"}, "scales.toml [[scale]]")
        if not set(one["of"]) <= FILE_TYPES or one["over"] <= 0 or not one["ending"]:
            raise ValueError(f"scales.toml [[scale]]: {one['ending']}: unknown type, or no ending")
        scales.append(ScaleName(one["replaces"], one["ending"], float(one["over"]), tuple(one["of"])))
    for one in data["beside"]:
        _only(one, {"replaces", "what", "endings"}, "scales.toml [[beside]]")
        beside.append(BesideName(one["replaces"], one["what"], tuple(one["endings"])))
    exponents = {key: tuple(values) for key, values in data["exponents"].items()}
    return tuple(scales), tuple(beside), exponents


def _only(data: Mapping[str, Any], allowed: set[str], where: str) -> None:
    wrong = sorted(set(data) ^ allowed)
    if wrong:
        raise ValueError(f"{where}: unknown or missing key: {', '.join(wrong)}")


SCALES, BESIDE, _EXPONENTS = parse(tomllib.loads(files("begat.source").joinpath("scales.toml").read_text("utf-8")))


def says_exponents(note: Mapping[str, Any]) -> bool:
    """The config's `quantization_config` says that scales stored as bytes are exponents of two."""
    groups = note.get("config_groups")
    places = [note, *(groups.values() if isinstance(groups, dict) else ())]
    for place in list(places):
        inner = place.get("weights") if isinstance(place, dict) else None
        places += [inner] if isinstance(inner, dict) else []
    return any(
        isinstance(place, dict) and isinstance(place.get(key), str) and place[key] in values
        for place in places
        for key, values in _EXPONENTS.items()
    )
