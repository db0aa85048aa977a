"""A decomposition as one self-contained HTML page: no network, no script, light and dark.

Enters: a `Decomposition`.  Leaves: the page. The picture stacks the coefficients of every part, a bar a part; markup is in
`templates/decomposition.html.j2`, colours in it (Okabe & Ito's, safe for the colour-blind). Nothing is computed but places.
"""

from __future__ import annotations

from dataclasses import dataclass

from begat.errors import printable
from begat.recipes import Decomposition, PartFit
from begat.report.decompose_text import number, place, share
from begat.report.html import environment
from begat.report.words import size

_ROW, _BAR, _LEFT, _WIDE = 20, 14, 190, 480


@dataclass(frozen=True, slots=True)
class Segment:
    """One parent's stretch of a bar: x and width in px, colour class `p0` … `p7`, what it says when pointed at."""

    x: float
    width: float
    colour: str
    title: str


@dataclass(frozen=True, slots=True)
class Bar:
    """One part: y in px, its name, its segments; x of the whiskers' ends of the sum is left to the table."""

    y: int
    label: str
    segments: tuple[Segment, ...]
    left_over: str


@dataclass(frozen=True, slots=True)
class Picture:
    """All bars; `one`: x of the coefficient sum 1; ticks: (x, label)."""

    bars: tuple[Bar, ...]
    width: int
    height: int
    bar: int
    left: int
    one: float
    ticks: tuple[tuple[float, str], ...]


def picture(d: Decomposition) -> Picture:
    """Where everything lies. Vectors (norms and biases) have no bar: raw gains of strangers agree, so theirs say little."""
    parts = [p for p in d.parts if p.group != "norms and biases"]
    top = max([1.0, *(p.total for p in parts)]) * 1.02
    scale = _WIDE / top
    bars = tuple(Bar(i * _ROW, printable(place(p), 40), _segments(p, d, scale), share(p.residual)) for i, p in enumerate(parts))
    ticks = tuple((_LEFT + t * scale, f"{t:g}") for t in (0.0, 0.25, 0.5, 0.75, 1.0))
    return Picture(bars, _LEFT + _WIDE + 80, len(parts) * _ROW + 24, _BAR, _LEFT, _LEFT + scale, ticks)


def _segments(p: PartFit, d: Decomposition, scale: float) -> tuple[Segment, ...]:
    out, x = [], float(_LEFT)
    for i, c in enumerate(p.coefficients):
        width = c.value * scale
        if width >= 0.2:
            interval = f"{c.low:.3f} to {c.high:.3f}" + ("" if c.identified else ", not told apart from others")
            out.append(Segment(round(x, 1), round(width, 1), f"p{i}", f"{place(p)}: {c.value:.3f} of {d.parents[i]} ({interval})"))
        x += width
    return tuple(out)


def render_html(found: Decomposition) -> str:
    """The page, as text to be written in UTF-8."""
    parents = [(f"p{i}", p, number(c), f"{c.low:.3f} to {c.high:.3f}", f"{s:.3f}")
               for i, (p, c, s) in enumerate(zip(found.parents, found.coefficients, found.spread, strict=False))]  # fmt: skip
    rows = [(place(p), [number(c) for c in p.coefficients], f"{p.total:.3f}", share(p.residual)) for p in found.parts]
    page = environment().get_template("decomposition.html.j2")
    return page.render(d=found, parents=parents, rows=rows, picture=picture(found), left_over=share(found.residual), read=size(found.bytes_read))
