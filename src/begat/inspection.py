"""What `begat inspect` delivers: what one model says about itself.

`Found` leaves `begat.signals.inspect`, `Inspection` leaves `begat.pipeline.inspect` and is all a presenter sees. No type here
holds weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from begat.types import Accounting, Gap

#: what a number in an `Item` may be
Value = int | float | str | bool | None


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that was found: `where` it lies ("layers 2 and 4", "rows 256–319"), `what` it is, and its numbers by name."""

    where: str
    what: str
    numbers: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PairTest:
    """One order test between two places of one model.

    Attributes:
        kind: "layers" or "experts".
        tower: the tower. layer: the layer of two experts, -1 for two layers.
        i, j: the two layers or experts, i < j; expert -1 is the shared one.
        m: units compared. hits: of them at the same index in both.
        cosine: mean cosine of units at one index, centred over the units.
        log10_e: e-value of this pair alone, before the search is paid for.
        copies: declared copies, the search paid for. stored_once: both are one stored tensor: layout, no evidence.
    """

    kind: str
    tower: str
    layer: int
    i: int
    j: int
    m: int
    hits: int
    cosine: float
    log10_e: float
    copies: bool
    stored_once: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """What one inspector found.

    Attributes:
        status: "found", "nothing" or "not-run".
        sentence: that, in one line.
        items: the things found, one a line. pairs: every order test that was run.
        log10_e, log10_p: of an exact test over all that was searched; None where nothing was tested by lottery.
        descent: what was found shows that weights were made from earlier weights (copies, rounding), not only a state.
        looked_at: what was read, in words.
    """

    status: str
    sentence: str
    items: tuple[Item, ...] = ()
    pairs: tuple[PairTest, ...] = ()
    log10_e: float | None = None
    log10_p: float | None = None
    descent: bool = False
    looked_at: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """A `Found` under its name, with what it rests on.

    Attributes:
        name: as in `begat.signals.inspect.FINDINGS`. title: for people.
        basis: "exact" (a null with a proof), "counted" (a fact of the stored numbers) or "described" (no error rate).
        null: the null hypothesis and its assumption, or how the fact is read. says_not: what must not be concluded.
    """

    name: str
    title: str
    basis: str
    null: str
    says_not: str
    found: Found


@dataclass(frozen=True, slots=True)
class TowerFacts:
    """One tower in numbers: layers, routed experts in a layer that has them (0 = none), sizes; None = unknown."""

    tower: str
    layers: int
    experts: int
    width: int | None
    units: int | None
    heads: int | None
    kv_heads: int | None
    vocabulary: int | None


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was asked, what one model says about itself, and how it is known.

    Attributes:
        path: the model. sentence: the headline. descent: some finding shows that weights were made from earlier weights.
        towers: what the model is. types: (stored type, tensors, values), most values first. accounting: how every
        tensor was used.
        findings: one per inspector, in the order of the registry, found or not.
        unread: what was not read and why, as shares of all parameters. full: every value was read. caveats: how the checkpoint was read.
        replay: tool, version, seed, digests.
    """

    path: str
    sentence: str
    descent: bool
    towers: tuple[TowerFacts, ...]
    types: tuple[tuple[str, int, int], ...]
    accounting: Accounting
    findings: tuple[Finding, ...]
    full: bool
    caveats: tuple[str, ...]
    bytes_read: int
    bytes_total: int
    seconds: float
    replay: Mapping[str, Any] = field(default_factory=dict)
    unread: tuple[Gap, ...] = ()

    def finding(self, name: str) -> Finding:
        """The finding of that name; KeyError when there is none."""
        for finding in self.findings:
            if finding.name == name:
                return finding
        raise KeyError(name)
