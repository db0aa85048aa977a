"""Scores → what is said of a unit: established, tie, indicated, not found, too generic.

Enters: a `Lookup` and the thresholds (`thresholds.toml`, which says how they were measured).  Leaves: a `Decision` with the sources it may name. No I/O beyond
that table.

Reused: in one view the best bundle scores what independent code hardly ever reaches. Named: moreover one file alone fits best, and it explains nearly all that
the whole index knows of the unit; otherwise the true source may be missing, and only the family is named.
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
    expected = {
        "naming": {"margin", "explained", "share", "accounted", "enough"},
        **{v: {"prior", "reused", "indicated"} for v in VIEWS},
    }
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
        ceilings: view → score that a source would have which held all of the unit.
        files: numbers into `CodeIndex.files` of the files that fit alike, best first.
        bundles: the bundles behind them, best first.
        rank: mean over the views of each bundle's scores. Shape [bundles].
        known: mean over the views of the score that a bundle would have which held all that the index knows of the unit.
        explained: share of that which the best file holds.
        covered: share of the unit's weight that the best bundle holds, in the anonymised view where it holds less.
        weight: of the unit in the shape view, 1 at least: what it counts for among the units of a file.
    """

    status: Status
    view: str
    score: float
    threshold: float
    share: float
    scores: Mapping[str, float]
    ceilings: Mapping[str, float]
    files: tuple[int, ...]
    bundles: tuple[int, ...]
    rank: F64
    known: float
    explained: float
    covered: float
    weight: float


def decide(index: CodeIndex, found: Lookup, limits: Thresholds) -> Decision:
    """Status of one unit, and the files that fit."""
    whole = {v: found.weight[v] + limits.views[v]["prior"] for v in VIEWS}
    scores = {v: found.held[v] / whole[v] for v in VIEWS}
    rank = np.mean([scores[v] for v in VIEWS], axis=0)
    best = {v: float(scores[v].max(initial=0.0)) for v in VIEWS}
    known = float(np.mean([found.known[v] / whole[v] for v in VIEWS]))
    ceilings = {v: found.weight[v] / whole[v] for v in VIEWS}
    status, view = _status(best, ceilings, limits)
    bundles: list[int] = []
    files: list[int] = []
    explained = covered = 0.0
    if status in ("established", "indicated"):
        alike = int((rank >= rank.max() * (1 - limits.naming["margin"])).sum())
        bundles = [int(b) for b in np.argsort(-rank, kind="stable")[:alike]]
        files = _files(index, bundles)
        explained = float(rank[bundles[0]]) / max(known, 1e-9)
        covered = min(float(found.held[v][bundles[0]]) / max(found.weight[v], 1e-9) for v in ("trees", "shape"))
    if status == "established":
        certain = explained >= limits.naming["explained"] and covered >= limits.naming["share"]
        status = "established" if certain and len(files) == 1 else "tie"
    threshold = limits.views[view]["indicated" if status in ("indicated", "not found") else "reused"]
    held = best[view] / max(ceilings[view], 1e-9)
    weight = max(found.weight["shape"], 1.0)
    return Decision(
        status,
        view,
        best[view],
        threshold,
        held,
        best,
        ceilings,
        tuple(files),
        tuple(bundles),
        rank,
        known,
        explained,
        covered,
        weight,
    )


def _status(best: Mapping[str, float], ceilings: Mapping[str, float], limits: Thresholds) -> tuple[Status, str]:
    """Reused ("established", for now), "indicated", "not found" or "too generic", and the view that says so."""

    def strongest(level: str) -> tuple[float, str]:
        return max((best[v] / limits.views[v][level], v) for v in VIEWS)

    reach, view = strongest("reused")
    if all(ceilings[v] < limits.views[v]["reused"] for v in VIEWS):
        return "too generic", view
    if reach >= 1:
        return "established", view
    reach, view = strongest("indicated")
    return ("indicated" if reach >= 1 else "not found"), view


def _files(index: CodeIndex, bundles: list[int]) -> list[int]:
    _, occurrences = index.bundles.expand(np.asarray(bundles, np.int64))
    return list(dict.fromkeys(index.occurrences[o].file for o in occurrences))
