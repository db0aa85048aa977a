"""Scores → what is said of a unit: established, tie, indicated, not found, too generic.

Enters: a `Lookup` and the thresholds (`thresholds.toml`, which says how they were measured).  Leaves: a `Decision` with the sources it may name. No I/O beyond
that table.

Reused: in one view the best bundle scores what independent code hardly ever reaches. Named: moreover one file alone fits best, and it explains nearly all that
the whole index knows of the unit; otherwise the true source may be missing, and nothing is named.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np

from begat.audit.code.features import F64, VIEWS
from begat.audit.code.index import CodeIndex
from begat.audit.code.match import Lookup
from begat.audit.code.types import Status


@dataclass(frozen=True, slots=True)
class Thresholds:
    """`thresholds.toml`, read strictly."""

    measured: str
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
    expected = {"naming": {"margin", "explained"}, **{v: {"prior", "reused", "indicated"} for v in VIEWS}}
    for name, keys in expected.items():
        if set(data.get(name, {})) != keys:
            raise ValueError(f"thresholds: [{name}] must have the keys {sorted(keys)}, found {sorted(data.get(name, {}))}")
    if unknown := set(data) - set(expected) - {"measured"}:
        raise ValueError(f"thresholds: unknown keys {sorted(unknown)}")
    return Thresholds(data["measured"], {v: data[v] for v in VIEWS}, data["naming"])


@dataclass(frozen=True, slots=True)
class Decision:
    """What is said of one unit.

    Attributes:
        status, view, score, threshold, share, scores: as in `UnitMatch`.
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
    share: float
    scores: Mapping[str, float]
    files: tuple[int, ...]
    bundles: tuple[int, ...]
    rank: F64
    explained: float
    mass: float


def decide(index: CodeIndex, found: Lookup, limits: Thresholds) -> Decision:
    """Status of one unit, and the files that fit."""
    scores = {v: found.held[v] / (found.weight[v] + limits.views[v]["prior"]) for v in VIEWS}
    rank = np.mean([scores[v] for v in VIEWS], axis=0)
    best = {v: float(scores[v].max(initial=0.0)) for v in VIEWS}

    def reaches(view: str, level: str) -> float:
        return best[view] / limits.views[view][level]

    def result(status: Status, view: str, files: list[int], bundles: list[int], explained: float = 0.0) -> Decision:
        threshold = limits.views[view]["indicated" if status == "indicated" else "reused"]
        share = best[view] * (found.weight[view] + limits.views[view]["prior"]) / max(found.weight[view], 1e-9)
        return Decision(
            status, view, best[view], threshold, share, best, tuple(files), tuple(bundles), rank, explained, found.weight["shape"]
        )

    view = max(VIEWS, key=lambda v: reaches(v, "reused"))
    if all(found.weight[v] < limits.views[v]["reused"] * (found.weight[v] + limits.views[v]["prior"]) for v in VIEWS):
        return result("too generic", view, [], [])
    reused = reaches(view, "reused") >= 1
    if not reused:
        view = max(VIEWS, key=lambda v: reaches(v, "indicated"))
        if reaches(view, "indicated") < 1:
            return result("not found", view, [], [])
    bundles = [
        int(b) for b in np.argsort(-rank, kind="stable")[: int((rank >= rank.max() * (1 - limits.naming["margin"])).sum())]
    ]
    files = _files(index, bundles)
    explained = float(sum(found.held[v][bundles[0]] / (found.weight[v] + limits.views[v]["prior"]) for v in VIEWS)) / max(
        sum(found.known[v] / (found.weight[v] + limits.views[v]["prior"]) for v in VIEWS), 1e-9
    )
    if not reused:
        return result("indicated", view, files, bundles, explained)
    if len(files) > 1:
        return result("tie", view, files, bundles, explained)
    return result("established" if explained >= limits.naming["explained"] else "indicated", view, files, bundles, explained)


def _files(index: CodeIndex, bundles: list[int]) -> list[int]:
    _, occurrences = index.bundles.expand(np.asarray(bundles, np.int64))
    return list(dict.fromkeys(index.occurrences[o].file for o in occurrences))
