"""What an inspection should find in a member of a lab family, by its truth and its ancestors'.

Enters: truths of all members.  Leaves: for each finding True (must be found), False (must not), and nothing where either is
right.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import begat

#: findings that show descent, and states; "rounded", "declared" and "narrow" are the three ways of the grid
DESCENT = ("layers", "experts", "rounded")
STATES = ("declared", "narrow", "rank", "vocabulary", "zeros")
#: kinds after which the MLP units of the (first) parent are no longer in order, or no longer its own
_NEW = ("scratch", "distilled")
#: kinds that change single values, so that grids, zeros and a narrow type's bits are gone
_MOVES = {
    "fine-tune", "continued", "lora-merged", "noised", "merge-linear", "merge-slerp", "merge-ties", "merge-dare",
    "upcycled", "upcycled-moge", "upcycled-split",
    "vocabulary-replaced", "gptq", "awq", "gguf", "int8", "fp8", "four-bit",
}  # fmt: skip
_REORDERS = {"unit-permutation"}
_MIXES = {"residual-rotation", "head-transform", "scaling-pairs", "gain-folding"}


@dataclass(frozen=True, slots=True)
class Lineage:
    """A member and the truths of all."""

    name: str
    truths: Mapping[str, Any]

    @property
    def truth(self) -> Any:
        return self.truths[self.name]

    @property
    def kind(self) -> str:
        return str(self.truth["kind"])

    @property
    def options(self) -> Mapping[str, Any]:
        return self.truth["made_of"]["recipe"].get("options") or {}

    @property
    def group(self) -> str:
        """The member's name without its number: what the pedigree calls it."""
        return re.sub(r"-\d+$", "", self.name)

    @property
    def parent(self) -> Lineage | None:
        names = self.truth["parents"]
        return Lineage(names[0], self.truths) if names and names[0] in self.truths and self.kind not in _NEW else None

    @property
    def disguises(self) -> set[str]:
        return set(self.options.get("disguises", ()))

    def layers(self) -> list[int] | None:
        """The layer map that copies draw, None when every layer is its own or the order of units was lost on the way."""
        if self.kind == "up-scale":
            return [int(n) for n in self.options["layers"]]
        if self.parent is None or self.kind in ("prune-depth", "stitched") or self.disguises & _REORDERS:
            return None
        return self.parent.layers()

    def siblings(self) -> bool:
        """Do experts share an ancestor, in one order of units?"""
        if self.kind in ("upcycled", "upcycled-moge"):
            return True
        return self.parent is not None and not self.disguises & _REORDERS and self.parent.siblings()

    def grid(self) -> str:
        """How its values show a grid: "rounded", "declared" or not at all."""
        if self.kind == "four-bit":
            return "rounded"
        if self.kind in ("int8", "fp8", "gptq", "awq") or (
            self.kind == "gguf" and self.options.get("type") not in ("F32", "F16")
        ):
            return "declared"
        keeps = self.kind not in _MOVES and not self.disguises & _MIXES
        return self.parent.grid() if self.parent and keeps and self.parent.grid() == "rounded" else ""

    def zeros(self) -> float:
        """Share of exact zeros in the pruned matrices."""
        if self.kind == "prune-unstructured":
            return float(self.options["share"])
        keeps = self.kind not in _MOVES and not self.disguises & _MIXES
        return self.parent.zeros() if self.parent and keeps else 0.0


@dataclass(frozen=True, slots=True)
class Expectation:
    """True, False, or absent where either is right; and checks of details."""

    findings: Mapping[str, bool]
    checks: tuple[Callable[[begat.Inspection], str], ...]

    def wrong(self, inspection: begat.Inspection) -> list[str]:
        return [w for check in self.checks if (w := check(inspection))]


def expected(lineage: Lineage, inspection: begat.Inspection) -> Expectation:
    """What must and must not be found. `inspection` is only asked whether the model has experts at all."""
    layers, zeros, grid = lineage.layers(), lineage.zeros(), lineage.grid()
    out: dict[str, bool] = {
        "layers": layers is not None,
        "experts": lineage.siblings(),
        "rounded": grid == "rounded",
        "rank": False,
    }
    out["declared"] = grid == "declared"
    checks: list[Callable[[begat.Inspection], str]] = []
    if zeros >= 0.02:
        out["zeros"] = True
        checks.append(lambda i: _zeros(i, zeros))
    elif lineage.kind not in ("merge-ties", "merge-dare"):
        out["zeros"] = False
    if layers is not None:
        checks.append(lambda i: _map(i, layers))
    if out["experts"]:
        checks.append(_all_siblings)
    if grid == "rounded":
        checks.append(_four_bits)
    if lineage.kind == "vocabulary-extended":
        out["vocabulary"] = True
        old, new = 256, int(lineage.options["rows"])
        checks.append(lambda i: _rows(i, old, new))
    return Expectation(out, tuple(checks))


def _map(inspection: begat.Inspection, layers: list[int]) -> str:
    first = {n: k for k, n in enumerate(dict.fromkeys(layers))}
    want = " ".join(str(first[n]) for n in layers)
    got = next((i.what for i in inspection.finding("layers").found.items if i.where == "layer map"), "")
    return "" if got == want else f"layer map {got or 'none'} for {want}"


def _all_siblings(inspection: begat.Inspection) -> str:
    items = inspection.finding("experts").found.items
    bad = [i.where for i in items if i.numbers.get("siblings") != i.numbers.get("experts")]
    return "" if items and not bad else f"not all experts in {', '.join(bad) or 'any layer'}"


def _four_bits(inspection: begat.Inspection) -> str:
    found = [
        (i.numbers.get("bits"), i.numbers.get("run")) for i in inspection.finding("grid").found.items if i.numbers.get("run")
    ]
    return "" if found == [(4.0, "32 values of a row")] else f"grids {found}"


def _zeros(inspection: begat.Inspection, share: float) -> str:
    items = [i for i in inspection.finding("zeros").found.items if "zeros" in i.numbers]
    worst = max((abs(float(i.numbers["zeros"] or 0) - share) for i in items), default=1.0)
    return "" if worst < 0.1 else f"zeros off by {worst:.2f}"


def _rows(inspection: begat.Inspection, old: int, new: int) -> str:
    named: set[int] = set()
    for item in inspection.finding("vocabulary").found.items:
        for a, b in re.findall(r"(\d+)(?:–(\d+))?", item.where):
            named |= set(range(int(a), int(b or a) + 1))
    missing = set(range(old, new)) - named
    return f"{len(missing)} new rows not named" if missing else ""
