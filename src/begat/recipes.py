"""What a decomposition says: how a child's weights are composed of its candidate parents'.

Leaves `begat.pipeline.decompose`; presenters (`begat.report.decompose_text`, `decompose_json`, `decompose_html`) see nothing else.
The types of a comparison are the neighbour `begat.types`. No type here holds weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

#: what a recipe may be called
METHODS = ("copy", "linear", "slerp", "task-arithmetic", "ties", "dare", "stitched", "layered", "low-rank", "partial", "unexplained", "adapter", "cannot-test")


@dataclass(frozen=True, slots=True)
class Coefficient:
    """The coefficient of one parent: estimate (>= 0) and 95 % interval; not `identified`: parents too alike to tell apart, the
    interval then spans what they share.
    """

    value: float
    low: float
    high: float
    identified: bool


@dataclass(frozen=True, slots=True)
class PartFit:
    """The fit of one layer's attention, MLP or norms, or of a tensor group outside the layers.

    Attributes:
        group: "attention", "MLP", "experts", "norms and biases", "embedding", "output head" or "other".
        sources: layer of each parent it was compared with (-1 outside the layers); other than `layer` where layers moved.
        coefficients: one per parent.
        total: their sum.
        residual: share of the child's sum of squares (in task form: of the difference from the base) left unexplained, in [0, 1].
        condition: condition number of the parents' correlation matrix: large means too alike.
        tensors, n: how many tensors and values.
        dropped: share of values that equal the base's exactly; None without a base.
    """

    tower: str
    layer: int
    group: str
    sources: tuple[int, ...]
    coefficients: tuple[Coefficient, ...]
    total: float
    residual: float
    condition: float
    tensors: int
    n: int
    dropped: float | None


@dataclass(frozen=True, slots=True)
class MatrixRank:
    """The difference of one matrix from a parent's.

    Attributes:
        place: canonical name. module: its role without "weight".
        rows, cols: of the part looked at.
        state: "equal", "low-rank", "full", "rounding" (no larger than storage rounding) or "unknown" (a type whose rounding is not known value by
            value).
        rank: number of singular values above the edge of rounding noise.
        edge: that edge, in units of the largest singular value. gap: singular value `rank` over the next.
        left: mean square left after removing `rank` directions, over the mean square of rounding.
    """

    place: str
    layer: int
    module: str
    rows: int
    cols: int
    state: str
    rank: int
    edge: float
    gap: float
    left: float


@dataclass(frozen=True, slots=True)
class LowRank:
    """Is the child this parent plus a low-rank difference?

    state: "low-rank", "not-low-rank", "equal" or "undetermined"; rank: of the changed matrices (None unless low-rank);
    same_rank: how many of the changed matrices show exactly it; modules: roles that changed; layers: how many layers changed;
    beyond: tensors that changed and are no low-rank difference.
    """

    parent: int
    state: str
    rank: int | None
    changed: int
    same_rank: int
    modules: tuple[str, ...]
    layers: tuple[int, ...]
    beyond: tuple[str, ...]
    matrices: tuple[MatrixRank, ...]
    why: str


@dataclass(frozen=True, slots=True)
class SparseFit:
    """Differences dropped or trimmed before they were added (DARE, TIES).

    Attributes:
        rule: "dare" (random dropping, the rest rescaled), "ties" (small ones trimmed, signs elected, the rest averaged).
        kept: share of each parent's differences that entered the child.
        scale: factor on a difference that entered alone.
        explained: share of values that the rule gives to within storage rounding.
        rival: the same for the other rule.
        size_ratio: median size of kept over dropped differences (1 for random dropping, above for trimming).
    """

    rule: str
    kept: tuple[float, ...]
    scale: tuple[float, ...]
    explained: float
    rival: float
    size_ratio: float


@dataclass(frozen=True, slots=True)
class ArcFit:
    """Two parents' tensors on an arc (SLERP): `t` with 95 % interval over tensors; `slope` of the coefficients' excess over one against
    the arc's (1 on the arc, 0 on the line) with its standard error.
    """

    t: float
    low: float
    high: float
    slope: float
    slope_se: float
    tensors: int


@dataclass(frozen=True, slots=True)
class BaseMatch:
    """How well a candidate base fits an adapter: `z` against shuffled orders of its units, `log10_e` of the permutation test over `tests` layers."""

    parent: int
    fits: bool
    z: float
    log10_e: float | None
    tests: int
    why: str


@dataclass(frozen=True, slots=True)
class Decomposition:
    """How the child is composed of its parents.

    Attributes:
        method: one of `METHODS`; "cannot-test": nothing of the child is comparable, and the sentence says why. sentence: the recipe in one line.
        form: "plain" (child = sum of c_i P_i) or "task" (child - base = sum of c_i (P_i - base)).
        coefficients: one per parent, over all matrices; empty where none is meant ("adapter").
        residual, condition: as in `PartFit`, over all matrices.
        spread: standard deviation of each coefficient over the parts with matrices.
        parts: per layer and group. low_rank: per parent (and base, index -1).
        unmatched: tensors of the child without a counterpart of equal shape in every parent.
        mode: "sampled" or "full"; rows: rows read of a matrix at most.
    """

    child: str
    parents: tuple[str, ...]
    base: str | None
    method: str
    sentence: str
    form: str
    coefficients: tuple[Coefficient, ...]
    spread: tuple[float, ...]
    residual: float
    condition: float
    parts: tuple[PartFit, ...]
    low_rank: tuple[LowRank, ...]
    arc: ArcFit | None
    sparse: SparseFit | None
    adapter: tuple[BaseMatch, ...]
    matched: int
    unmatched: tuple[str, ...]
    caveats: tuple[str, ...]
    mode: str
    bytes_read: int
    seconds: float
    replay: Mapping[str, Any] = field(default_factory=dict)
