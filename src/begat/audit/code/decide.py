"""Scores → what is said of a unit: established, tie, indicated, not found, too generic.

Enters: a `Lookup` and the thresholds (`thresholds.toml`, which says how they were measured).  Leaves: a `Decision` with the sources it may name. No text, no I/O
beyond that table.

Reused: in one view the best bundle holds a share of the unit's weight that independent code hardly ever reaches. Named: moreover one file alone fits best, and it
explains nearly all that the whole index knows of the unit; otherwise the true source may be missing, and nothing is named.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
import numpy.typing as npt

from begat.audit.code.features import VIEWS
from begat.audit.code.index import CodeIndex
from begat.audit.code.match import Lookup
from begat.audit.code.types import Status

F64 = npt.NDArray[np.float64]
_SAME = 0.005


@dataclass(frozen=True, slots=True)
class Thresholds:
    """`thresholds.toml`, read strictly."""

    measured: str
    generic: Mapping[str, float]
    views: Mapping[str, Mapping[str, float]]
    naming: Mapping[str, float]


@cache
def thresholds() -> Thresholds:
    """The shipped thresholds."""
    return read_thresholds(files("begat.audit.code").joinpath("thresholds.toml").read_text("utf-8"))


def read_thresholds(text: str) -> Thresholds:
    """Thresholds from TOML.

    Raises:
        ValueError: a key is missing or unknown.
    """
    data = tomllib.loads(text)
    expected = {"generic": {"tokens", "mass"}, "naming": {"margin", "explained"}, **{v: {"mass", "reused", "indicated"} for v in VIEWS}}
    for name, keys in expected.items():
        if set(data.get(name, {})) != keys:
            raise ValueError(f"thresholds: [{name}] must have the keys {sorted(keys)}, found {sorted(data.get(name, {}))}")
    if unknown := set(data) - set(expected) - {"measured"}:
        raise ValueError(f"thresholds: unknown keys {sorted(unknown)}")
    return Thresholds(data["measured"], data["generic"], {v: data[v] for v in VIEWS}, data["naming"])


@dataclass(frozen=True, slots=True)
class Decision:
    """What is said of one unit.

    Attributes:
        status, view, score, threshold, scores: as in `UnitMatch`.
        files: numbers into `CodeIndex.files` of the files that fit alike, best first.
        bundles: the bundles behind them, best first.
        rank: mean over the views of each bundle's scores. Shape [bundles].
        explained: share of what the index knows of the unit that the best file holds.
        mass: weight of the unit in the shape view.
    """

    status: Status
    view: str
    score: float
    threshold: float
    scores: Mapping[str, float]
    files: tuple[int, ...]
    bundles: tuple[int, ...]
    rank: F64
    explained: float
    mass: float


def decide(index: CodeIndex, found: Lookup, limits: Thresholds) -> Decision:
    """Status of one unit, and the files that fit."""
    rank = np.mean([found.scores[v] for v in VIEWS], axis=0)
    best = {v: float(found.scores[v].max(initial=0.0)) for v in VIEWS}
    voting = [v for v in VIEWS if found.mass[v] >= limits.views[v]["mass"]]
    generic = found.tokens < limits.generic["tokens"] or found.mass["shape"] < limits.generic["mass"]

    def result(status: Status, view: str, files: list[int], bundles: list[int], explained: float = 0.0) -> Decision:
        threshold = limits.views[view]["indicated" if status == "indicated" else "reused"]
        return Decision(status, view, best[view], threshold, best, tuple(files), tuple(bundles), rank, explained, found.mass["shape"])

    if generic or not voting:
        return result("too generic", "shape", [], [])
    view = max(voting, key=lambda v: best[v] / limits.views[v]["reused"])
    reused = best[view] >= limits.views[view]["reused"]
    if not reused:
        view = max(voting, key=lambda v: best[v] / limits.views[v]["indicated"])
        if best[view] < limits.views[view]["indicated"]:
            return result("not found", view, [], [])
    top = float(rank.max())
    bundles = [int(b) for b in np.argsort(-rank, kind="stable")[: int((rank >= top * (1 - limits.naming["margin"])).sum())]]
    files = _files(index, bundles)
    share = found.scores[view][bundles[0]] / max(found.known[view], 1e-9)
    if not reused:
        return result("indicated", view, files, bundles, share)
    if len(files) > 1:
        return result("tie", view, files, bundles, share)
    return result("established" if share >= limits.naming["explained"] else "indicated", view, files, bundles, share)


def _files(index: CodeIndex, bundles: list[int]) -> list[int]:
    _, occurrences = index.bundles.expand(np.asarray(bundles, np.int64))
    return list(dict.fromkeys(index.occurrences[o].file for o in occurrences))
