"""What the presenters lay out, prepared so that text and templates stay dumb.

Enters: a `Verdict`.  Leaves: frozen rows with strings and positions.  Only layout arithmetic: medians to condense a map,
scales to place dots; every number of evidence was made in `begat.stats` and is only copied.  The map's picture: `gridmap.py`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from begat.report import words
from begat.types import AxisResult, MapCell, OrderTest, PartResult

#: counts up to this are shaded as chance: P(H >= 10) <= 1/10! < 10^-6 (begat.stats.order)
CHANCE = 9
#: the order in which roles are listed; others follow by name
_ROLES = (
    "embed.tokens",
    "embed.positions",
    "embed.types",
    "embed.class",
    "embed.projection",
    "embed.patch",
    "embed.norm",
    "attn.norm",
    "attn.q",
    "attn.q_a",
    "attn.q_a_norm",
    "attn.q_b",
    "attn.q_norm",
    "attn.k",
    "attn.k_norm",
    "attn.kv_a",
    "attn.kv_a_norm",
    "attn.kv_b",
    "attn.k_b",
    "attn.v",
    "attn.v_b",
    "attn.gate",
    "attn.sub_norm",
    "attn.o",
    "attn.post_norm",
    "cross",
    "mlp.norm",
    "mlp.gate",
    "mlp.up",
    "mlp.sub_norm",
    "mlp.down",
    "moe.router",
    "moe.router_scale",
    "shared.router",
    "shared.gate",
    "shared.up",
    "shared.down",
    "expert.gate",
    "expert.up",
    "expert.down",
    "mlp.post_norm",
    "final",
    "head",
)


@dataclass(frozen=True, slots=True)
class PartRow:
    """Parts of one tower with one status, as a range."""

    status: str
    words: str
    parts: str
    hits: str
    cosine: str
    why: str


@dataclass(frozen=True, slots=True)
class RoleRow:
    """The map of one role in numbers: medians over layers and the lowest cell."""

    tower: str
    role: str
    tensors: int
    cosine: str
    r2: str
    lowest: str
    where: str
    identical: int


@dataclass(frozen=True, slots=True)
class Dot:
    """One order test in the picture: x in percent of the scale, y in pixels."""

    x: float
    y: float
    title: str


@dataclass(frozen=True, slots=True)
class Strip:
    """Hits of one axis against chance.

    Attributes:
        tests, sampled, hits, expected, e, p: the axis in words, for the table too.
        top: right end of the scale, in hits; band, one: right end of chance's band and place of one hit, in percent.
        height, radius: pixels; ticks: (percent, label).
        crowded: the sample is so small that chance's band covers all of it.

    """

    title: str
    null: str
    tests: int
    sampled: str
    hits: str
    expected: str
    log10_e: str
    e: words.Power
    p: words.Power
    top: int
    band: float
    one: float
    height: int
    radius: float
    dots: tuple[Dot, ...]
    ticks: tuple[tuple[float, str], ...]
    crowded: bool


def strips(axes: Sequence[AxisResult]) -> tuple[Strip, ...]:
    """The axes that ran, in their order."""
    return tuple(_strip(axis) for axis in axes if axis.tests)


def not_run(axes: Sequence[AxisResult]) -> tuple[tuple[str, str], ...]:
    """(axes, reason) of those that did not run, axes of one reason together."""
    by_reason: dict[str, list[str]] = defaultdict(list)
    for axis in axes:
        if not axis.tests:
            by_reason[axis.not_run or "no reason given"].append(axis.title)
    return tuple((", ".join(titles), reason) for reason, titles in by_reason.items())


def _strip(axis: AxisResult) -> Strip:
    top = max(t.m for t in axis.tests)
    rows = sorted({(t.tower, t.layer) for t in axis.tests})
    step = min(6.5, 84 / max(len(rows), 1))
    height = max(34, round(step * (len(rows) - 1)) + 24)
    first = (height - step * (len(rows) - 1)) / 2
    dots = tuple(
        Dot(_percent(t.hits, top), round(first + step * rows.index((t.tower, t.layer)), 2), _test_title(t)) for t in axis.tests
    )
    return Strip(
        title=axis.title,
        null=axis.null,
        tests=len(axis.tests),
        sampled=words.count(axis.sampled),
        hits=words.count(axis.hits),
        expected=words.count(axis.expected),
        log10_e=words.log10_words(axis.log10_e),
        e=words.e_value(axis.log10_e),
        p=words.p_bound(axis.log10_p),
        top=top,
        band=_percent(min(CHANCE + 0.5, top), top),
        one=_percent(1, top),
        height=height,
        radius=round(max(2.2, min(3.4, 0.62 * step)), 1),
        dots=dots,
        ticks=_ticks(top),
        crowded=top <= CHANCE,
    )


def _percent(value: float, top: int) -> float:
    return round(100 * value / max(top, 1), 2)


def _ticks(top: int) -> tuple[tuple[float, str], ...]:
    step = next(s for s in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1 << 30) if top / s <= 8)
    at = [v for v in range(0, top, step) if top - v >= 0.6 * step]
    return tuple((_percent(v, top), str(v)) for v in [*at, top])


def _test_title(t: OrderTest) -> str:
    return f"{place(t.tower, t.layer, t.expert)}: {t.hits} of {t.m} hits"


def place(tower: str, layer: int, part: int = -1) -> str:
    """Where a test was made, in words."""
    out = [tower] if tower != "text" else []
    out.append(f"layer {layer}" if layer >= 0 else "whole tower")
    if part >= 0:
        out.append(f"part {part}")
    return " · ".join(out)


# --- parts ----------------------------------------------------------------------------------------------------


def part_rows(parts: Sequence[PartResult]) -> tuple[PartRow, ...]:
    """Parts condensed: one row per tower, status and reason, dependent ones first."""
    groups: dict[tuple[int, str, str, bool], list[PartResult]] = defaultdict(list)
    for part in parts:
        groups[_rank(part.status), part.tower, part.why, part.layer < 0].append(part)
    return tuple(_part_row(groups[key]) for key in sorted(groups, key=lambda k: (k[0], k[1] != "text", k[1], k[3], _first_layer(groups[k]), k[2])))


def _rank(status: str) -> int:
    return list(words.STATUSES).index(status) if status in words.STATUSES else len(words.STATUSES)


def _first_layer(group: Sequence[PartResult]) -> int:
    return min(p.layer for p in group)


def _part_row(group: list[PartResult]) -> PartRow:
    hits, sampled = sum(p.hits for p in group), sum(p.sampled for p in group)
    cosines = sorted(p.cosine for p in group if p.cosine is not None)
    span = "–" if not cosines else words.ratio(cosines[0], 2)
    if cosines and words.ratio(cosines[-1], 2) != span:
        span += f" to {words.ratio(cosines[-1], 2)}"
    return PartRow(
        status=group[0].status,
        words=words.STATUSES.get(group[0].status, group[0].status),
        parts=ranges(group),
        hits=f"{hits:,} of {sampled:,}" if sampled else "–",
        cosine=span,
        why=group[0].why,
    )


def ranges(group: Sequence[PartResult]) -> str:
    """Parts of one tower as "layers 0–2, 5" or by name."""
    layers = sorted({p.layer for p in group if p.layer >= 0})
    names = [p.part for p in group if p.layer < 0]
    runs: list[list[int]] = []
    for layer in layers:
        if runs and runs[-1][-1] == layer - 1:
            runs[-1].append(layer)
        else:
            runs.append([layer])
    if runs:
        tower = "" if group[0].tower == "text" else f"{group[0].tower} "
        spans = ", ".join(str(r[0]) if len(r) == 1 else f"{r[0]}–{r[-1]}" for r in runs)
        names.insert(0, f"{tower}{'layer' if len(layers) == 1 else 'layers'} {spans}")
    return ", ".join(names)


# --- the map in numbers ---------------------------------------------------------------------------------------


def role_order(role: str) -> tuple[int, str]:
    """Sort key: the order of computation, weights before biases."""
    stem, _, leaf = role.rpartition(".")
    name = f"{stem}.{'z' if leaf == 'bias' else ''}{leaf}"
    for known in (role, stem, role.split(".")[0]):
        if known in _ROLES:
            return _ROLES.index(known), name
    return len(_ROLES), name


def role_rows(cells: Sequence[MapCell]) -> tuple[RoleRow, ...]:
    """One row per tower and role."""
    groups: dict[tuple[str, str], list[MapCell]] = defaultdict(list)
    for cell in cells:
        groups[cell.tower, cell.role].append(cell)
    keys = sorted(groups, key=lambda k: (k[0] != "text", k[0], role_order(k[1])))
    return tuple(_role_row(*key, groups[key]) for key in keys)


def _role_row(tower: str, role: str, cells: list[MapCell]) -> RoleRow:
    lowest = min(cells, key=lambda c: c.r2)
    where = f"layer {lowest.layer}" if lowest.layer >= 0 else ""
    if lowest.expert >= 0:
        where = f"{where} expert {lowest.expert}".strip()
    return RoleRow(
        tower=tower,
        role=role,
        tensors=len(cells),
        cosine=words.ratio(median(c.cosine for c in cells)),
        r2=words.ratio(median(c.r2 for c in cells)),
        lowest=words.ratio(lowest.r2),
        where=where,
        identical=sum(c.identical for c in cells),
    )
