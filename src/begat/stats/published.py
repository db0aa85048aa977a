"""What independent models score on published statistics, measured in the lab.

Enters: `data/published.json` (made by `begat-lab bench FAMILY --ship`; recipe and digest are in it).  Leaves: `Measured`, and the share of independent pairs at
least as high as a value.  Null: A and B were trained apart, with one shape, recipe and text. Assumption: the pair at hand is like the lab's; it differs in
size, so the share is a measured frequency with its N, never a p.  Who shows it: `begat.pipeline.beside`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources

_KEYS = {"about", "families"}
_FAMILY = {"family", "layers", "pedigree_sha256", "versions", "statistics"}


@dataclass(frozen=True, slots=True)
class Measured:
    """One statistic on the independent pairs of one family.

    Attributes:
        family, layers: which models, and how many layers they have.
        pairs: how many pairs were measured.
        percentiles: 0 %, 1 %, …, 100 % of its values, rising.
        at_least: threshold that was used in a dispute → pairs that reach it.
    """

    family: str
    layers: int
    pairs: int
    percentiles: tuple[float, ...]
    at_least: dict[str, int]

    def share_at_least(self, value: float) -> float:
        """About how many of the pairs score `value` or more, in [0, 1], to a percent; never 0 unless all score less."""
        if value > self.percentiles[-1]:
            return 0.0
        below = sum(p < value for p in self.percentiles)  # of 101 percentiles
        return (101 - below) / 101 if below else 1.0


@cache
def load_published() -> dict[str, tuple[Measured, ...]]:
    """Statistic → what was measured, one entry a family; ValueError on an unknown key."""
    raw = json.loads(resources.files("begat.stats").joinpath("data", "published.json").read_text("utf-8"))
    if set(raw) != _KEYS or any(set(f) != _FAMILY for f in raw["families"]):
        raise ValueError("published.json has other keys than this version of begat reads")
    out: dict[str, list[Measured]] = {}
    for f in raw["families"]:
        for name, s in f["statistics"].items():
            out.setdefault(name, []).append(_measured(f["family"], f["layers"], **s))
    return {name: tuple(found) for name, found in out.items()}


def _measured(family: str, layers: int, pairs: int, percentiles: list[float], at_least: dict[str, int]) -> Measured:
    if len(percentiles) != 101 or sorted(percentiles) != percentiles:
        raise ValueError(f"published.json, {family}: expected 101 rising percentiles")
    return Measured(family, layers, pairs, tuple(percentiles), at_least)


def remark(name: str, value: float) -> str:
    """What the lab says of this value: "At least as high: 43 % of 153 independent pairs of the lab (6 layers)."; "" where nothing was measured."""
    found = load_published().get(name, ())
    said = [f"{_percent(m.share_at_least(value))} of {m.pairs:,} independent pairs of {m.layers} layers" for m in found]
    return f"At least as high in begat's lab: {', '.join(said)}." if said else ""


def _percent(share: float) -> str:
    return "none" if share == 0 else "all" if share == 1 else f"{100 * share:.0f} %"
