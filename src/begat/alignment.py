"""What alignment finds, as it travels from `begat.pipeline.align` to the reports.

Leaves: `Alignment`, part of a `Verdict` (`types.py`). No type here holds weights.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PairTest:
    """An order test of a search: `hits` of `m` units of one place in A sit at the same index of a place in B.

    layer_a, layer_b: layers; expert_a, expert_b: routed expert or head, -1 for none; counted: False for copies inside one model,
    which are shown and not counted.
    """

    axis: str
    layer_a: int
    expert_a: int
    layer_b: int
    expert_b: int
    m: int
    hits: int
    counted: bool = True


@dataclass(frozen=True, slots=True)
class RouteResult:
    """One exact way around a disguise or a change of shape (`begat.pipeline.routes`).

    Attributes:
        fitted_on: what the map between the residual streams comes from, in words.
        null: the null hypothesis and its assumption, in words.
        tests: all order tests; of a search most are between layers that have nothing to do with each other.
        log10_e: e-value, the search paid for; None when nothing was tested, then `not_run` says why.
    """

    route: str
    title: str
    fitted_on: str
    null: str
    tests: tuple[PairTest, ...]
    log10_e: float | None
    not_run: str | None = None


@dataclass(frozen=True, slots=True)
class ThreeViews:
    """Units whose gate, up and down weights each name the same partner in the other model (`begat.signals.views`). Calibrated, not exact.

    Attributes:
        agreeing, sampled: units of B in the layers that were looked at, each layer with the layer of A it agrees with most.
        share: agreeing / sampled.
        null_pairs: independent pairs in the bank; null_most: the largest share among them.
        apart: share among layers of the two that do not belong together: the pair's own control.
        p: (1 + pairs of the bank with at least this share) / (pairs + 1); of a way tried after another, plus the chance that the other was shown.
        shown: the share is beyond what the policy asks for.
        laid_by: what the two were laid over each other by before units were compared, in words.
    """

    agreeing: int
    sampled: int
    share: float
    null_pairs: int
    null_most: float
    apart: float
    p: float
    shown: bool
    laid_by: str
    not_run: str | None = None


@dataclass(frozen=True, slots=True)
class LayerMatch:
    """A layer of B and the layer of A that it holds; `by` says which evidence, log10_e is None where it is calibrated only."""

    layer_b: int
    layer_a: int
    by: str
    log10_e: float | None
    share: float
    tower: str = "text"


@dataclass(frozen=True, slots=True)
class LayerLook:
    """A layer of B in which no layer of A was found, and what that is worth.

    Attributes:
        status: "no-evidence": every layer of A was held against it, in a frame in which other parts of B are A's, with its units in any order;
            "undetermined": it was looked at and cannot be told; "not-tested": it was not looked at so.
        why: that, in words.
    """

    layer_b: int
    status: str
    why: str
    tower: str = "text"


@dataclass(frozen=True, slots=True)
class AlignedCell:
    """Share of the variance of one role of a layer of B that A's layer explains after alignment, chance subtracted, in [0, 1]."""

    layer_a: int
    layer_b: int
    role: str
    r2: float
    chance: float


@dataclass(frozen=True, slots=True)
class Alignment:
    """What was found after the plain order test had found nothing, or could not speak of some parts.

    Attributes:
        why: why it was run.
        routes: exact routes in the order tried; log10_e: the mean of their e-values.
        views: agreement of three views, None when it was not needed.
        layers: which layer of A each layer of B holds.
        cells: the inheritance map after alignment: share of the variance of a layer of B that its layer of A explains, by role.
        rest: of the layers of B that hold none, what that is worth.
        undone: what was undone in one model alone before they were compared (units that one had been split into), in words.
    """

    why: str
    routes: tuple[RouteResult, ...]
    log10_e: float | None
    views: ThreeViews | None
    layers: tuple[LayerMatch, ...]
    cells: tuple[AlignedCell, ...]
    rest: tuple[LayerLook, ...] = ()
    undone: tuple[str, ...] = ()
