"""Alignment laid out: ways tried, which layer of A lies in which layer of B, and the map after alignment.

Enters: an `Alignment`.  Leaves: frozen rows with strings and positions for `text.py` and `templates/_alignment.html.j2`.  Places in x are percent of the
picture's width, in y pixels; colours are steps of the style sheet's ramp.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from begat.alignment import Alignment, LayerMatch, PairTest, RouteResult
from begat.report import words
from begat.report.gridmap import STEPS, short
from begat.report.layout import role_order

_ROW = 14


@dataclass(frozen=True, slots=True)
class Way:
    """One route in words; `reason` is why it was not taken, "" when it was."""

    title: str
    tests: str
    kept: str
    log10_e: str
    fitted_on: str
    null: str
    reason: str


@dataclass(frozen=True, slots=True)
class Spot:
    """A cell of a picture."""

    x: float
    y: int
    step: int
    title: str
    dot: bool = False


@dataclass(frozen=True, slots=True)
class Picture:
    """A grid: `width` of a column in percent, `row` and `height` in pixels, labels (y, text) and ticks (x, text)."""

    width: float
    row: int
    height: int
    most: int
    labels: tuple[tuple[int, str], ...]
    ticks: tuple[tuple[float, str], ...]
    spots: tuple[Spot, ...]


def ways(a: Alignment) -> tuple[Way, ...]:
    """All routes, in the order tried."""
    return tuple(_way(a, r) for r in a.routes)


def _way(a: Alignment, r: RouteResult) -> Way:
    tests = _matching(a, r)
    kept = f"{sum(t.hits for t in tests):,} of {sum(t.m for t in tests):,}" if tests else "–"
    return Way(r.title, f"{len(r.tests):,}", kept, words.log10_words(r.log10_e), r.fitted_on, r.null, r.not_run or "")


def _matching(a: Alignment, r: RouteResult) -> Sequence[PairTest]:
    """Tests between layers that were matched; all where none were."""
    pairs = {(m.layer_a, m.layer_b) for m in text_layers(a)}
    return [t for t in r.tests if t.layer_b < 0 or (t.layer_a, t.layer_b) in pairs] or r.tests


def text_layers(a: Alignment) -> list[LayerMatch]:
    """Layers of the text tower that were found, which the picture shows; those of other towers stand among the parts."""
    return [m for m in a.layers if m.tower == "text"]


def view_line(a: Alignment) -> str:
    """The agreement of three views in one sentence, "" when it was not looked at."""
    v = a.views
    if v is None:
        return ""
    if v.not_run:
        return f"Three views: not run ({v.not_run})."
    return (
        f"Three views, laid over each other by {v.laid_by}: {v.agreeing:,} of {v.sampled:,} units name one partner by gate, up and down weights "
        f"({words.percent(v.share)}); layers that do not belong together reach {v.apart:.1%}, and of {v.null_pairs:,} independent pairs of the "
        f"lab, treated alike, none passes {v.null_most:.1%}. "
        f"Calibrated, N = {v.null_pairs:,}, p = {v.p:.2g}; not exact."
    )


def layer_words(a: Alignment) -> str:
    """Which layer of A each layer of B holds: "0 1 2 1 2 3", a dot where none was found."""
    held = {m.layer_b: str(m.layer_a) for m in text_layers(a)}
    if not held:
        return ""
    return " ".join(held.get(i, "·") for i in range(max(held) + 1))


def layer_picture(a: Alignment) -> Picture | None:
    """Layers of B from left to right, layers of A from top to bottom, shaded by the share of units that keep their order."""
    shares: dict[tuple[int, int], list[float]] = defaultdict(list)
    best = max((r for r in a.routes if r.log10_e is not None), key=lambda r: r.log10_e or 0.0, default=None)
    for t in best.tests if best is not None else ():
        if t.layer_a >= 0 and t.layer_b >= 0 and t.m:
            shares[t.layer_a, t.layer_b].append(t.hits / t.m)
    found = text_layers(a)
    for m in found:
        if m.log10_e is None:
            shares[m.layer_a, m.layer_b] = [m.share]
    if not found or not shares:
        return None
    held = {(m.layer_a, m.layer_b) for m in found}
    n_a, n_b = (1 + max(at[i] for at in shares) for i in (0, 1))
    spots = tuple(
        Spot(
            round(100 * y / n_b, 3),
            x * _ROW,
            round(STEPS * max(s)),
            f"layer {x} of A in layer {y} of B: {words.percent(max(s))}",
            (x, y) in held,
        )
        for (x, y), s in sorted(shares.items())
    )
    return Picture(round(100 / n_b, 4), _ROW, n_a * _ROW, n_b * 40, _marks(n_a), _ticks(n_b), spots)


def map_picture(a: Alignment) -> Picture | None:
    """R² after alignment: layers of B from left to right, roles from top to bottom."""
    if not a.cells:
        return None
    roles = sorted({c.role for c in a.cells}, key=lambda r: role_order(f"{r}.weight"))
    n = 1 + max(c.layer_b for c in a.cells)
    spots = tuple(
        Spot(round(100 * c.layer_b / n, 3), roles.index(c.role) * _ROW, round(STEPS * c.r2),
             f"{c.role}, layer {c.layer_b} of B from layer {c.layer_a} of A: R² {words.ratio(c.r2)} (chance {words.ratio(c.chance)} taken off)")
        for c in a.cells
    )  # fmt: skip
    labels = tuple((i * _ROW + _ROW // 2, short(role)) for i, role in enumerate(roles))
    return Picture(round(100 / n, 4), _ROW, len(roles) * _ROW, n * 40, labels, _ticks(n), spots)


def map_medians(a: Alignment) -> tuple[tuple[str, str], ...]:
    """(role, median R² over layers)."""
    found: dict[str, list[float]] = defaultdict(list)
    for c in a.cells:
        found[c.role].append(c.r2)
    return tuple((role, words.ratio(median(x))) for role, x in sorted(found.items(), key=lambda p: role_order(f"{p[0]}.weight")))


def _marks(n: int) -> tuple[tuple[int, str], ...]:
    step = max(1, -(-n // 12))
    return tuple((i * _ROW + _ROW // 2, str(i)) for i in range(0, n, step))


def _ticks(n: int) -> tuple[tuple[float, str], ...]:
    step = max(1, -(-n // 12))
    return tuple((round(100 * (i + 0.5) / n, 3), str(i)) for i in range(0, n, step))
