"""The bank of twins: how much models trained apart from one draw of initial weights agree, measured in the lab.

Enters: `data/twins.json` (made by `begat-lab bank`; its recipes and their digests are in it).  Leaves: `Bank`.
Null of the calibration: A and B were trained apart from one draw of initial weights, with a recipe like one of the bank's. Assumption: the pair at hand
and the bank's twins are exchangeable; they differ in size, so what is read off the bank is a range with its N, called calibrated, and never a p.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources


@dataclass(frozen=True, slots=True)
class Twins:
    """One pair of twins (or of relatives): names, energies, share and gains as in `begat.signals.trained.Agreement`."""

    family: str
    a: str
    b: str
    lottery: int
    energy_a: float
    energy_b: float
    share: float | None
    gains: float | None


@dataclass(frozen=True, slots=True)
class Bank:
    """Pairs by relation ("shared-initialisation", "descended", "common-ancestor"), and the recipes they come from."""

    pairs: dict[str, tuple[Twins, ...]]
    recipes: dict[str, str]
    made_by: str

    def comparable(self, least_energy: float, relation: str = "shared-initialisation") -> tuple[Twins, ...]:
        """Pairs of which both were trained at least so far that their share is a number."""
        return tuple(t for t in self.pairs[relation] if t.share is not None and min(t.energy_a, t.energy_b) >= least_energy)


@cache
def load_bank() -> Bank:
    """The bank that ships with begat; ValueError on an unknown key."""
    raw = json.loads(resources.files("begat.stats").joinpath("data", "twins.json").read_text("utf-8"))
    if (
        set(raw) != {"about", "made_by", "recipes", "versions", "columns", "pairs"}
        or tuple(raw["columns"]) != Twins.__match_args__
    ):
        raise ValueError("twins.json has other keys or columns than this version of begat reads")
    return Bank({r: tuple(Twins(*row) for row in rows) for r, rows in raw["pairs"].items()}, raw["recipes"], raw["made_by"])
