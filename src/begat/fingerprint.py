"""A fingerprint: what `begat sketch` keeps of a model, enough to test it against another without the weights.

Leaves: `Fingerprint` and its parts.  Made by `begat.pipeline.sketch`, compared by `begat.pipeline.fingerprints`, stored as files by
`begat.fingerprint_file` and in many by `begat.index`. No type here holds weights: sign bits of random projections of sampled units only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

U8 = npt.NDArray[np.uint8]
I32 = npt.NDArray[np.int32]

#: version of the format and of everything public that two fingerprints must share: sampled units, projections, anchors
VERSION = 1
#: sign bits kept of every sampled unit
BITS = 512
#: units of an MLP chosen by content, and bits kept of each
SLOTS, SLOT_BITS = 64, 128
#: bits of a probe
PROBE_BITS = 256

# Shape suffixes: S sites, M sampled units, B bytes (BITS / 8), P probes


@dataclass(frozen=True, slots=True, eq=False)
class OrderBits:
    """Sign bits of sampled units of all sites of one axis and size.

    Attributes:
        axis: a name of `begat.signals.axes`.
        label: which alternative of an axis whose tests share one order, "" otherwise.
        frame: "stored" (features in the residual stream as it is stored) or "tokens" (in coordinates that the embeddings of public
            tokens span, which no rotation or permutation of the residual stream changes).
        layout: which rows make a unit, as far as two models must agree on it (head counts and sizes, stride).
        units: units of the axis, of which M were sampled at public indices.
        place_S3: tower (index into `Fingerprint.towers`), layer (-1 outside layers), expert or head (-1 for none).
        bits_SMB: packed sign bits.
        by_index_S: the units of this site stand in an order that their index fixes (`begat.signals.indexed`).
        digest_S8: first 8 bytes of sha256 over the sampled values: equal weights have equal ones.
    """

    axis: str
    label: str
    frame: str
    layout: str
    units: int
    place_S3: I32
    bits_SMB: U8
    by_index_S: npt.NDArray[np.bool_]
    digest_S8: U8

    @property
    def key(self) -> tuple[str, str, str, str, int]:
        """What two groups must share to be tested against each other; of unequal samples the smaller is the beginning of the larger."""
        return self.axis, self.label, self.frame, self.layout, self.units


@dataclass(frozen=True, slots=True, eq=False)
class ContentBits:
    """Sign bits of units chosen by content (`begat.signals.content`): layer, expert (-1 for none); bits_KB: [SLOTS, SLOT_BITS / 8]."""

    layer: int
    expert: int
    bits_KB: U8


@dataclass(frozen=True, slots=True, eq=False)
class Probe:
    """A short vector for screening many models: relatives differ in fewer than half of its bits.

    kind: what is probed ("units", "token-units", …); layer: -1 outside layers; part: "mlp", "expert 3", …; bits: uint8 [32].
    """

    kind: str
    layer: int
    part: str
    bits: U8


@dataclass(frozen=True, slots=True, eq=False)
class Fingerprint:
    """What is kept of one model.

    Attributes:
        name: what the user calls it; untrusted like everything here.
        format, family, parameters, layers, header_digest: as of the checkpoint (layers: of the text tower).
        towers: tower names, which `OrderBits.place_S3` counts.
        tool: version of begat that made it.
        stored, unmapped: tensors stored, and of them those no rule knows.
        bytes_read, bytes_total: of the weights.
        anchors: public tokens found in the tokenizer, 0 without one.
        orders: sign bits by axis, label, frame and size.
        contents: of a few MLPs, units chosen by content.
        probes: for screening.
        notes: what was left out and why, in words.
    """

    name: str
    format: str
    family: str
    parameters: int
    layers: int
    header_digest: str
    towers: tuple[str, ...]
    tool: str
    stored: int
    unmapped: int
    bytes_read: int
    bytes_total: int
    anchors: int
    orders: tuple[OrderBits, ...]
    contents: tuple[ContentBits, ...]
    probes: tuple[Probe, ...]
    notes: tuple[str, ...] = ()
    version: int = VERSION
