"""The inheritance map as a picture: per tower a grid of layers by roles, and tiles for what lies outside the layers.

Enters: map cells, parts, accounting of a `Verdict`.  Leaves: `Grid`s with x in percent of the picture's width and y in pixels
(so it fits any page undistorted), drawn by `templates/_map.html.j2`. Colours are classes `r0` … `r20`, a ramp of the style sheet.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from begat.errors import printable
from begat.report import words
from begat.report.layout import role_order
from begat.types import Accounting, MapCell, PartResult, TensorKey

STEPS = 20
_ROW, _GAP, _HEAD = 18, 6, 20
_EXPERT = re.compile(r"expert \d+ · ")


@dataclass(frozen=True, slots=True)
class Square:
    """One cell: ramp step of its R², of the lowest of its experts (-1: none), and marks."""

    x: float
    y: int
    step: int
    low: int
    dot: bool
    title: str


@dataclass(frozen=True, slots=True)
class Tile:
    """A tensor outside the layers."""

    role: str
    step: int
    dot: bool
    r2: str
    title: str


@dataclass(frozen=True, slots=True)
class Chip:
    """The status of one layer by the order test."""

    x: float
    status: str
    title: str


@dataclass(frozen=True, slots=True)
class Grid:
    """One tower.

    Attributes:
        width: of a column, percent; row: height of a cell, px; height: of the picture, px.
        labels: (y of the text's middle, short name, full name) per row.
        squares, hatched: cells with numbers; (x, y, title) of cells that one model lacks.
        chips: status of each layer, drawn above the rows. ticks: (x, label) of layers.
        tiles: tensors outside the layers. letters: of the longest label.
        dense: columns are so narrow that gaps and dots must shrink. most: widest sensible picture in px.
        experts: cells merge routed experts.

    """

    tower: str
    layers: int
    width: float
    row: int
    height: int
    labels: tuple[tuple[int, str, str], ...]
    squares: tuple[Square, ...]
    hatched: tuple[tuple[float, int, str], ...]
    chips: tuple[Chip, ...]
    ticks: tuple[tuple[float, str], ...]
    tiles: tuple[Tile, ...]
    letters: int
    dense: bool
    most: int
    experts: bool


def grids(
    cells: Sequence[MapCell], parts: Sequence[PartResult], accounting: tuple[Accounting, Accounting] | None
) -> tuple[Grid, ...]:
    """One grid per tower that has cells or judged layers; the text tower first."""
    missing = _one_sided(accounting)
    towers = {c.tower for c in cells} | {p.tower for p in parts}
    return tuple(
        _grid(t, [c for c in cells if c.tower == t], [p for p in parts if p.tower == t], missing)
        for t in sorted(towers, key=lambda t: (t != "text", t))
    )


def _one_sided(accounting: tuple[Accounting, Accounting] | None) -> dict[str, str]:
    """Canonical name → the model that alone has it; experts of a layer merged."""
    if accounting is None:
        return {}
    return {_EXPERT.sub("", key): name for name, acc in zip("AB", accounting, strict=True) for key in acc.only_here}


def _grid(tower: str, cells: list[MapCell], parts: list[PartResult], missing: dict[str, str]) -> Grid:
    merged: dict[tuple[int, str], list[MapCell]] = defaultdict(list)
    for c in cells:
        merged[c.layer, c.role].append(c)
    roles = sorted({role for layer, role in merged if layer >= 0}, key=role_order)
    layers = sorted({layer for layer, _ in merged if layer >= 0} | {p.layer for p in parts if p.layer >= 0})
    at = {layer: i for i, layer in enumerate(layers)}
    n = max(len(layers), 1)
    chips = tuple(_chip(p, at[p.layer], n) for p in parts if p.layer >= 0)
    ys, bottom = _rows(roles, _HEAD if chips else 0)
    squares = tuple(_square(group, at[layer], n, ys[role]) for (layer, role), group in sorted(merged.items()) if layer >= 0)
    names = [(y + _ROW // 2, short(role), role) for role, y in ys.items()]
    if chips:
        names.insert(0, (_HEAD // 2 - 3, "order test", "Does the layer depend on the other model's, by its units' order?"))
    return Grid(
        tower=tower,
        layers=len(layers),
        width=round(100 / n, 4),
        row=_ROW,
        height=bottom,
        labels=tuple(names),
        squares=squares,
        hatched=_hatched(tower, merged, at, ys, missing),
        chips=chips,
        ticks=_ticks(layers),
        tiles=tuple(_tile(merged[k]) for k in sorted(merged, key=lambda k: role_order(k[1])) if k[0] < 0),
        letters=max((len(name) for _, name, _ in names), default=0),
        dense=n > 40,
        most=n * 72,
        experts=any(len(g) > 1 for g in merged.values()),
    )


def _rows(roles: Sequence[str], top: int) -> tuple[dict[str, int], int]:
    """Role → y, with a gap between families of roles; and where the last row ends."""
    ys: dict[str, int] = {}
    y, family = top, ""
    for role in roles:
        if family and role.split(".")[0] != family:
            y += _GAP
        ys[role], family = y, role.split(".")[0]
        y += _ROW
    return ys, y


def short(role: str) -> str:
    """A role without what its place says anyway."""
    return printable(role.removesuffix(".weight").removesuffix(".gain").replace(".bias", " bias"), 22)


def _square(group: list[MapCell], column: int, n: int, y: int) -> Square:
    mean, low = fmean(c.r2 for c in group), min(c.r2 for c in group)
    one = group[0]
    where = TensorKey(one.tower, one.layer, one.role)
    if len(group) == 1:
        title = _title(one)
    else:
        title = f"{where}: {len(group)} experts, R² mean {words.ratio(mean)}, lowest {words.ratio(low)}"
    return Square(
        x=round(100 * column / n, 3),
        y=y,
        step=_step(mean),
        low=_step(low) if len(group) > 1 else -1,
        dot=all(c.identical for c in group),
        title=title,
    )


def _title(c: MapCell) -> str:
    key = TensorKey(c.tower, c.layer, c.role, c.expert)
    if c.identical:
        return f"{key}: identical"
    agreement = f"cosine {words.ratio(c.cosine)}, R² {words.ratio(c.r2)}"
    return f"{key}: {agreement}, slope {words.ratio(c.slope, 2)}, change {words.ratio(c.change, 2)}"


def _step(r2: float) -> int:
    return max(0, min(STEPS, round(r2 * STEPS)))


def _tile(group: list[MapCell]) -> Tile:
    c = group[0]
    return Tile(short(c.role), _step(c.r2), c.identical, "identical" if c.identical else f"R² {words.ratio(c.r2)}", _title(c))


def _chip(part: PartResult, column: int, n: int) -> Chip:
    status = part.status if part.status in words.STATUSES else "undetermined"
    hits = f", {part.hits} of {part.sampled} units" if part.sampled else ""
    return Chip(round(100 * column / n, 3), status, f"{part.part}: {words.STATUSES[status]}{hits} ({part.why})")


def _hatched(
    tower: str, merged: dict[tuple[int, str], list[MapCell]], at: dict[int, int], ys: dict[str, int], missing: dict[str, str]
) -> tuple[tuple[float, int, str], ...]:
    """Cells that only one of the models has."""
    out = []
    for role, y in ys.items():
        for layer, column in at.items():
            name = str(TensorKey(tower, layer, role))
            if (layer, role) not in merged and name in missing:
                out.append((round(100 * column / len(at), 3), y, f"{name}: only in {missing[name]}"))
    return tuple(out)


def _ticks(layers: Sequence[int]) -> tuple[tuple[float, str], ...]:
    """(middle of the column in percent, layer) for at most a dozen layers."""
    n = len(layers)
    step = next(s for s in (1, 2, 4, 5, 8, 10, 16, 20, 32, 64, 128, 1 << 20) if n / s <= 12)
    return tuple((round(100 * (i + 0.5) / n, 3), str(layers[i])) for i in range(0, n, step))
