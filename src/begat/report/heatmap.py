"""Layer against layer as squares: how many units of one found themselves in the other.

Enters: the `PairTest`s of an inspection.  Leaves: places for the template `_heat.html.j2`; the ramp of colours is the
inheritance map's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from begat.inspection import PairTest
from begat.report.gridmap import STEPS

#: height and width of the largest map in pixels, and of its largest cell
_SIDE, _CELL = 440, 26


@dataclass(frozen=True, slots=True)
class HeatCell:
    """One pair: column x and row y in cells, colour step, whether it was declared a pair of copies, what a tooltip says."""

    x: int
    y: int
    step: int
    copies: bool
    once: bool
    title: str


@dataclass(frozen=True, slots=True)
class Heat:
    """One map: its tower, labels of rows and columns, cell size in pixels, cells of both triangles."""

    tower: str
    labels: tuple[str, ...]
    cell: int
    cells: tuple[HeatCell, ...]
    every: int


def heat_maps(pairs: Sequence[PairTest]) -> tuple[Heat, ...]:
    """One map per tower, of the pairs of layers."""
    layers = [p for p in pairs if p.kind == "layers"]
    return tuple(
        _heat(t, [p for p in layers if p.tower == t]) for t in sorted({p.tower for p in layers}, key=lambda t: (t != "text", t))
    )


def _heat(tower: str, pairs: list[PairTest]) -> Heat:
    numbers = sorted({n for p in pairs for n in (p.i, p.j)})
    at = {n: i for i, n in enumerate(numbers)}
    cells = []
    for p in pairs:
        share = p.hits / p.m if p.m else 0.0
        words = "stored once" if p.stored_once else f"{p.hits} of {p.m} units at the same index, cosine {p.cosine:.3f}"
        title = f"layers {p.i} and {p.j}: {words}{', copies' if p.copies else ''}"
        for x, y in ((at[p.j], at[p.i]), (at[p.i], at[p.j])):
            cells.append(HeatCell(x, y, max(0, min(STEPS, round(share * STEPS))), p.copies, p.stored_once, title))
    n = len(numbers)
    return Heat(tower, tuple(map(str, numbers)), max(3, min(_CELL, _SIDE // n)), tuple(cells), max(1, -(-n // 16)))
