"""The bank of twins: how much models trained apart from one draw of initial weights agree, and how much relatives do.

Enters: `data/twins.json` (made by `begat-lab bank`; its recipes and their digests are in it).  Leaves: `Bank`.
Null of the calibration: A and B were trained apart from one draw of initial weights, with a recipe like one of the bank's. Assumption: the pair at hand
and the bank's twins are exchangeable; they differ in size, so what is read off the bank is a range with its N, called calibrated, and never a p.
Pairs that share a model, or a start, are dependent: `Bank.starts` counts draws of initial weights, of which N says too much.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

TWINS = "shared-initialisation"
RELATIVES = ("descended", "common-ancestor")


@dataclass(frozen=True, slots=True)
class Pair:
    """Two models of the bank: names, the draw of initial weights they go back to, and numbers as in `begat.signals.trained`."""

    family: str
    a: str
    b: str
    lottery: int
    moved_a: float
    moved_b: float
    gains: float
    ranks: float
    share: float

    @property
    def moved(self) -> float:
        """How far the less moved of the two has moved."""
        return min(self.moved_a, self.moved_b)

    @property
    def ratio(self) -> float:
        """How much further the other has moved, at least 1."""
        return max(self.moved_a, self.moved_b) / self.moved if self.moved > 0 else float("inf")


@dataclass(frozen=True, slots=True)
class Bank:
    """Pairs by relation ("shared-initialisation", "descended", "common-ancestor"; "same-order": twins that saw the same batches in
    the same order, which are one training and bound nothing), and the recipes they come from.
    """

    pairs: dict[str, tuple[Pair, ...]]
    recipes: dict[str, str]
    made_by: str

    def comparable(self, moved: float, relations: Sequence[str] = (TWINS,), ratio: float = float("inf")) -> tuple[Pair, ...]:
        """Pairs whose gains have both moved at least so far, neither `ratio` times as far as the other."""
        return tuple(p for r in relations for p in self.pairs[r] if p.moved >= moved and p.ratio <= ratio)

    @staticmethod
    def starts(pairs: Sequence[Pair]) -> int:
        """Draws of initial weights behind these pairs."""
        return len({(p.family, p.lottery) for p in pairs})


@cache
def load_bank() -> Bank:
    """The bank that ships with begat; ValueError on an unknown key."""
    raw = json.loads(resources.files("begat.stats").joinpath("data", "twins.json").read_text("utf-8"))
    if (
        set(raw) != {"about", "made_by", "recipes", "versions", "columns", "pairs"}
        or tuple(raw["columns"]) != Pair.__match_args__
    ):
        raise ValueError("twins.json has other keys or columns than this version of begat reads")
    return Bank({r: tuple(Pair(*row) for row in rows) for r, rows in raw["pairs"].items()}, raw["recipes"], raw["made_by"])
