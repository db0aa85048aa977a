"""The picture of layers in a search: which layer of the query matches which layer of a relative.

Enters: matches of one query.  Leaves: places for the template `_layermatch.html.j2`; a row a relative, a column a layer of
the query. The ramp of colours is the inheritance map's. Only the layout is made here: which layers match was decided by
`begat.pipeline.fingerprints`.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from begat.errors import printable
from begat.report.gridmap import STEPS

if TYPE_CHECKING:
    from begat.pipeline.fingerprints import FingerprintMatch

#: width of all cells and of the largest in pixels, height of a row
_WIDE, _CELL, _ROW = 560, 30, 22
#: rows of a picture
MOST = 24
_AXES = {
    "mlp-units": "MLP",
    "expert-units": "experts",
    "value-dims": "attention",
    "kv-heads": "KV heads",
    "experts": "router",
    "latent-dims": "latent",
}


@dataclass(frozen=True, slots=True)
class LayerCell:
    """One layer of the query that matches: x in pixels, colour step, the relative's layer where it is another one, what a tooltip says."""

    x: float
    step: int
    moved: str
    title: str


@dataclass(frozen=True, slots=True)
class LayerRow:
    """One relative: its name, y in pixels, its cells."""

    name: str
    y: int
    cells: tuple[LayerCell, ...]


@dataclass(frozen=True, slots=True)
class LayerPicture:
    """All rows; ticks: (x of a column's middle, label); cell and row: sizes in pixels."""

    rows: tuple[LayerRow, ...]
    layers: int
    cell: float
    row: int
    width: float
    height: int
    ticks: tuple[tuple[float, str], ...]
    left_out: int


def layer_picture(layers: int, matches: Sequence[tuple[str, FingerprintMatch]]) -> LayerPicture | None:
    """The picture of (name, match with the query as A), best first; None where the query has no layers or nothing matches by layer."""
    shown = [(name, m) for name, m in matches if m.layers]
    if not shown or not layers:
        return None
    cell = max(7.0, min(_CELL, _WIDE / layers))
    every = max(1, math.ceil(18 / cell))
    rows = tuple(LayerRow(printable(name, 24), i * _ROW, _cells(m, cell, layers)) for i, (name, m) in enumerate(shown[:MOST]))
    ticks = tuple((round((i + 0.5) * cell, 1), str(i)) for i in range(0, layers, every))
    return LayerPicture(rows, layers, cell, _ROW, round(layers * cell, 1), len(rows) * _ROW, ticks, max(0, len(shown) - MOST))


def _cells(m: FingerprintMatch, cell: float, layers: int) -> tuple[LayerCell, ...]:
    found: dict[int, list[int]] = defaultdict(list)
    for a, b in m.layers:
        if 0 <= a < layers:
            found[a].append(b)
    nearest: dict[tuple[int, int], dict[str, float]] = defaultdict(dict)
    for s in m.sites:
        if s.tower == "text" and s.layer_b >= 0 and s.log10_e >= 2.0:
            at = nearest[s.layer_a, s.layer_b]
            at[s.axis] = min(at.get(s.axis, math.pi), s.angle)
    for a in {x for x, _ in nearest} - {-1, *found}:  # a layer that the query has twice: its copy took the relative's
        if a < layers:
            found[a].append(max((y for x, y in nearest if x == a), key=lambda y: (-min(nearest[a, y].values()), -y)))
    out = []
    for a, targets in sorted(found.items()):
        told = [f"layer {b} there ({_axes(nearest[a, b])})" if nearest[a, b] else f"layer {b} there" for b in targets]
        least = min((x for b in targets for x in nearest[a, b].values()), default=math.pi / 2)
        step = max(1, min(STEPS, round((1 - 2 * least / math.pi) * STEPS)))
        moved = "" if targets == [a] else ", ".join(map(str, targets))
        out.append(LayerCell(round(a * cell, 1), step, moved, f"layer {a} here: {', '.join(told)}"))
    return tuple(out)


def _axes(angles: dict[str, float]) -> str:
    return ", ".join(f"{_AXES.get(axis, axis)} {math.degrees(x):.1f}°" for axis, x in sorted(angles.items()))
