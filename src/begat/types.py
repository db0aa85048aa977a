"""The few frozen types that travel between rooms.

`TensorEntry` and `Checkpoint` leave `begat.source`; `TensorKey` and `CanonTensor` leave `begat.canon`;
`SignalResult`, `MapCell` leave `begat.signals`; `Verdict` leaves `begat.verdict` and is all a presenter sees.
No type here holds weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from begat.alignment import Alignment
from begat.claims import Claim

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
U8 = npt.NDArray[np.uint8]
Rows = range | I64


class Progress(Protocol):
    """What long work reports to. The library is silent unless one is passed in."""

    def start(self, task: str, total: int) -> None:
        """Begin `task` of `total` steps (0 = unknown)."""

    def step(self, n: int = 1) -> None:
        """`n` more steps are done."""

    def done(self) -> None:
        """The task is over."""


# --- source -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Scaling:
    """value = (stored - zero - shift) * scale + bias, one scale per block of the matrix view.

    Attributes:
        scale: scales as float32, shape [ceil(rows/block[0]), ceil(cols/block[1])], or where they are stored: those of 4-bit
            weights are an eighth of a checkpoint, and are read with the rows they scale.
        zero: zero points of the same shape, or None for symmetric quantisation.
        block: rows and columns of the matrix view that one scale covers.
        shift: added to every zero point (0 where there are none).
        groups: row of `scale` of every row of the matrix view, where a quantiser permuted them; None = row // block[0].
        alike: rows and columns of the aligned runs whose positions a quantiser treats alike, 0 where it walks from one to the next;
            None = `block`.
        flat: where blocks run over the ends of rows: values that share a scale, counted through the flattened tensor; scale and bias are then
            vectors, and `block` is not used. 0 = blocks are rectangles.
        levels: the value of every stored number (a codebook), float32; None = the number itself.
        bias: added to the scaled value, laid out like `scale`.
        divided: values are divided by the scale.
        period: rows and columns after which the pattern of scales repeats, where positions inside are not alike; None = `alike` or `block`.
    """

    scale: F32 | TensorEntry
    zero: F32 | TensorEntry | None
    block: tuple[int, int]
    shift: float = 0.0
    groups: I64 | None = None
    alike: tuple[int, int] | None = None
    flat: int = 0
    levels: F32 | None = None
    bias: F32 | TensorEntry | None = None
    divided: bool = False
    period: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """Where one stored tensor lies. Its *matrix view* is [prod(shape[:-1]), shape[-1]]; a vector is one row.

    Attributes:
        name: as the file has it (for ONNX: recovered from the graph).
        shape: stored shape.
        dtype: a key of `begat.source.dtypes.DTYPES` ("F32", "BF16", "F8_E4M3", "I8", "Q4_K", …).
        file: the file that holds the bytes.
        offset, nbytes: byte range in that file (strided tensors: the range their storage spans).
        strides: element strides, None when C-contiguous.
        transposed: stored as the transpose of what the name's convention says (ONNX MatMul weights).
        scaling: how stored integers or fp8 become values, None when stored values are the values.
        data: the bytes themselves, of small tensors whose file keeps no rows of them (ONNX's lists of varints); `offset` counts in them.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    file: Path
    offset: int
    nbytes: int
    strides: tuple[int, ...] | None = None
    transposed: bool = False
    scaling: Scaling | None = None
    data: bytes | None = field(default=None, repr=False)

    @property
    def rows(self) -> int:
        """Rows of the matrix view."""
        return int(np.prod(self.shape[:-1], dtype=np.int64)) if len(self.shape) > 1 else 1

    @property
    def cols(self) -> int:
        """Columns of the matrix view."""
        return self.shape[-1] if self.shape else 1

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.rows * self.cols


class Reader(Protocol):
    """Reads rows of entries; counts the bytes it asks files for."""

    bytes_read: int

    def rows(self, entry: TensorEntry, rows: Rows | None, cols: slice | I64 | None) -> F32:
        """Rows of the matrix view as float32 [len(rows), n_cols], dequantised; None = all. Only the columns asked for are decoded."""

    def raw(self, entry: TensorEntry, rows: Rows | None, cols: slice | None = None) -> U8:
        """The stored bytes of those rows, [len(rows), bytes per row]; `cols`: of whole blocks of columns."""

    def scales(self, entry: TensorEntry, rows: Rows, cols: Rows) -> F32:
        """The scale of every value [len(rows), len(cols)] of an entry with a `Scaling`."""

    def close(self) -> None:
        """Close the files."""


@dataclass(frozen=True, slots=True)
class Unread:
    """Why a stored weight is not decoded, in words that name no tensor, and how many parameters it stands for (0 = not known, or none)."""

    why: str
    parameters: int = 0


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """An opened checkpoint: where the bytes are, never the bytes.

    Attributes:
        path: what the user named.
        format: "safetensors", "torch", "gguf", "onnx" or "peft".
        entries: name → entry, in file order.
        config: the parsed config.json, or GGUF metadata under its own dotted keys; {} when there is none.
            Untrusted: it may choose what is compared, never raise a verdict.
        header_digest: sha256 hex over all headers (names, types, shapes, places), in file order.
        files: the files that hold weights.
        reader: reads rows on demand.
        skipped: (tensor name, reason) for stored things that are no weights of this checkpoint, or weights that are not read.
        notes: caveats about how it was read, for the report.
        unread: weights that are not decoded, and their helpers, by name. Those among `entries` are there with their stored bytes,
            which say nothing of their values; the others are among `skipped`.
        stored: all tensors as the files have them, before scales and packed words were taken together; of an adapter its own.
    """

    path: Path
    format: str
    entries: Mapping[str, TensorEntry]
    config: Mapping[str, Any]
    header_digest: str
    files: tuple[Path, ...]
    reader: Reader
    skipped: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    unread: Mapping[str, Unread] = field(default_factory=dict)
    stored: tuple[TensorEntry, ...] = ()

    def read(self, name: str, rows: Rows | None = None, cols: slice | I64 | None = None) -> F32:
        """Rows (all by default) of the matrix view of tensor `name`, float32."""
        return self.reader.rows(self.entries[name], rows, cols)

    def raw(self, name: str, rows: Rows | None = None, cols: slice | None = None) -> U8:
        """Stored bytes of rows of tensor `name`, or of whole blocks of their columns."""
        return self.reader.raw(self.entries[name], rows, cols)

    @property
    def nbytes(self) -> int:
        """Stored bytes of all tensors."""
        return sum(e.nbytes for e in self.entries.values())


# --- canon --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, order=True)
class TensorKey:
    """The canonical name of a tensor.

    Attributes:
        tower: "text" for the language model or only trunk, else the tower's name ("vision", "audio", …).
        layer: layer index, -1 outside the layers.
        role: a role of `begat.canon.roles` ("mlp.gate.weight").
        expert: routed expert index, -1 for none.
    """

    tower: str
    layer: int
    role: str
    expert: int = -1

    def __str__(self) -> str:
        parts = [self.tower] if self.tower != "text" else []
        if self.layer >= 0:
            parts.append(f"layer {self.layer}")
        if self.expert >= 0:
            parts.append(f"expert {self.expert}")
        return " · ".join([*parts, self.role])


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was asked, what was found, how strong, and where. Presenters need nothing else.

    Attributes:
        verdict: one of `begat.verdict.VERDICTS`.
        sentence: the headline a journalist can quote.
        log10_e: log10 of the combined e-value; None when no exact test ran.
        log10_p: log10 of the combined p bound; None when no exact test ran.
        direction: "A → B", "B → A" or "undetermined", with `direction_why`.
        kind: what kind of descent, "" when undetermined.
        signs: what kind and direction rest on, in words; looked for where every value was compared.
        axes: one `AxisResult` per symmetric axis.
        parts: one `PartResult` per layer or component.
        experts: which expert of A an expert of B is, in layers where they do not all stand in their place or are not as many.
        cells: the same-index inheritance map.
        trained: is what training added shared, or only the initial weights? None when no dependence was found.
        alignment: what was tried where the tests at equal index found nothing or left parts open; None when it was not needed.
        beside: published statistics shown beside the verdict; they never move it.
        power: what would have been seen, in words and numbers.
        coverage: how much of A and of B was read and tested, in parameters.
        claims: everything the report says that can be true or false (`begat.claims`).
        accounting: per model, how every tensor was used.
        replay: everything `begat replay` needs.
    """

    verdict: str
    sentence: str
    a: str
    b: str
    log10_e: float | None
    log10_p: float | None
    direction: str
    direction_why: str
    kind: str
    signs: tuple[str, ...]
    axes: tuple[AxisResult, ...]
    parts: tuple[PartResult, ...]
    cells: tuple[MapCell, ...]
    map_mode: str
    equality: EqualityResult | None
    trained: TrainedState | None
    alignment: Alignment | None
    beside: tuple[SideResult, ...]
    power: PowerStatement | None
    accounting: tuple[Accounting, Accounting] | None
    caveats: tuple[str, ...]
    bytes_read: int
    bytes_total: int
    seconds: float
    replay: Mapping[str, Any] = field(default_factory=dict)
    coverage: tuple[Coverage, ...] = ()
    claims: tuple[Claim, ...] = ()
    experts: tuple[ExpertMatch, ...] = ()


@dataclass(frozen=True, slots=True)
class OrderTest:
    """One order test: `hits` of `m` sampled units found themselves (statistics.md §2).

    Attributes:
        axis: a name of `begat.signals.axes`.
        key: where: (tower, layer, expert); layer -1 = the whole tower.
        m: sampled units. hits: how many matched their own index, strictly.
        noise_sd: standard deviation of the similarities of unlike units (for the power statement).
        features: similarities' feature count.
        counted: False when both models draw this test's order together with another's (copied layers or experts): shown, not counted.
    """

    axis: str
    tower: str
    layer: int
    expert: int
    m: int
    hits: int
    noise_sd: float
    features: int
    counted: bool = True


@dataclass(frozen=True, slots=True)
class AxisResult:
    """A symmetric axis, pooled over its independent tests; echoes the tests it came from.

    Attributes:
        tests: the order tests, one per layer (or expert, or chunk).
        sampled, hits: sums. expected: hits expected by chance (an upper bound on the mean: one per test).
        log10_e: e-value of the axis. log10_p: p bound of the axis.
        null: the null hypothesis and its assumption, in words.
        not_run: why nothing was tested, None when something was.
    """

    axis: str
    title: str
    tests: tuple[OrderTest, ...]
    sampled: int
    hits: int
    expected: float
    log10_e: float | None
    log10_p: float | None
    null: str
    not_run: str | None = None


@dataclass(frozen=True, slots=True)
class PartResult:
    """One layer, tower or component: does *it* show dependence?

    `status` is "dependent", "no-evidence" or "not-tested"; `cosine` is the mean same-index cosine of its
    matrices (None when none was compared).
    """

    part: str
    tower: str
    layer: int
    status: str
    log10_e: float | None
    hits: int
    sampled: int
    cosine: float | None
    why: str


@dataclass(frozen=True, slots=True)
class ExpertMatch:
    """A routed expert of B and the expert of A at the same layer that it holds.

    Attributes:
        expert_b: its number in B. experts_a: numbers in A: one, or those it is a mean of; () where several are too alike to say which.
        equal: every sampled value is equal.
        hits, sampled: units at equal index, against the first of `experts_a`; log10_e: e-value of that, the candidates tried paid for.
        cosine: of the sampled values, in [-1, 1].
    """

    tower: str
    layer: int
    expert_b: int
    experts_a: tuple[int, ...]
    equal: bool
    hits: int
    sampled: int
    log10_e: float
    cosine: float


@dataclass(frozen=True, slots=True)
class MapCell:
    """Same-index agreement of one tensor in A and B: `r2` is the share of B's variance A explains.

    cosine in [-1, 1] (vectors are centred first); r2 = cosine²; slope = <A,B>/<A,A>;
    change = |B - A| / |A|; rms_a, rms_b: root mean squares (vectors about their mean); identical: every compared value is equal;
    n: values compared of total.
    """

    tower: str
    layer: int
    role: str
    expert: int
    cosine: float
    r2: float
    slope: float
    change: float
    rms_a: float
    rms_b: float
    identical: bool
    n: int
    total: int


@dataclass(frozen=True, slots=True)
class TrainedState:
    """How much of what training added to the one model is found in the other (`begat.signals.trained`).

    Attributes:
        state: "trained" (more than twins of one initialisation share), "initial" (no more than they do) or "unknown".
        why: that, in words.
        share: of what training added to the one that changed less, the part found in the other; a lower bound. None when not computable.
        gains: correlation of norm gains about the mean of each tensor, pooled; None when there are none that vary.
        energy_a, energy_b: mean square of the weights over the stated variance of the initial ones; None where none counts as stated.
        initial_sd: deviation of the initial weights, where the configs state one and the weights do not contradict it.
        cells: tensors it was computed from.
        twins: comparable twins of the bank; twin_share, twin_gains: the most that any of them shares.
        ranks: correlation of the ranks of norm gains within each tensor.
        moved_a, moved_b: standard deviation of norm gains about the mean of each tensor: how far training has moved them.
        starts: draws of initial weights behind the twins (twins of one draw are not independent).
        relative_gains: the least that comparable relatives' gains agree.
    """

    state: str
    why: str
    share: float | None
    gains: float | None
    energy_a: float | None
    energy_b: float | None
    initial_sd: float | None
    cells: int
    twins: int
    twin_share: float
    twin_gains: float
    ranks: float | None = None
    moved_a: float = 0.0
    moved_b: float = 0.0
    starts: int = 0
    relative_gains: float = 1.0


@dataclass(frozen=True, slots=True)
class EqualityResult:
    """Are the weights the same numbers, or the same numbers rounded to a grid?

    relation: "identical", "on-grid" or "different"; complete: every stored value was compared;
    grid: the grid in words; share: fraction of compared values that agree; coarser: "A", "B" or "".
    """

    relation: str
    complete: bool
    compared: int
    share: float
    grid: str
    coarser: str
    exceptions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SideResult:
    """A published statistic, shown beside the verdict with what it is worth. It never moves the verdict."""

    name: str
    title: str
    value: float | None
    paper: str
    remark: str
    not_run: str | None = None


@dataclass(frozen=True, slots=True)
class PowerStatement:
    """The smallest mean row cosine that would have been declared dependence with probability `probability`."""

    axis: str
    cosine: float | None
    probability: float
    log10_e_needed: float
    sentence: str


@dataclass(frozen=True, slots=True)
class Gap:
    """Parameters of one model that a comparison does not speak of: why, and their share of those it could have, in [0, 1]."""

    why: str
    share: float


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of one model a comparison spoke of.

    Attributes:
        model: "A" or "B".
        mapped: parameters under canonical names. total: parameters that could have been compared; what the other model has no
            counterpart of is left out.
        gaps: what was not read or not tested, largest share of `total` first.
        only_here: towers that the other model lacks.
    """

    model: str
    mapped: int
    total: int
    gaps: tuple[Gap, ...]
    only_here: tuple[str, ...]

    @property
    def missing(self) -> float:
        """Share of `total` in all gaps."""
        return sum(g.share for g in self.gaps)


@dataclass(frozen=True, slots=True)
class Accounting:
    """How every stored tensor of one model was used: counts add up to `stored`."""

    path: str
    format: str
    family: str
    stored: int
    parameters: int
    mapped: int
    dropped: tuple[tuple[str, str], ...]
    unmapped: tuple[str, ...]
    only_here: tuple[str, ...]
    files: tuple[str, ...]
    header_digest: str
