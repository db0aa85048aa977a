"""Probes: short vectors for screening many models, out of a fingerprint's own bits.

Enters: `OrderBits` and `ContentBits`.  Leaves: `Probe`s of `PROBE_BITS` bits.  Relatives differ in clearly fewer than half of them,
strangers in half. What passes the screen is tested in `fingerprints.py`; screening itself decides nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np

from begat.fingerprint import PROBE_BITS, ContentBits, OrderBits, Probe
from begat.pipeline.public import PROBE_LAYERS

#: units whose first bits make a probe
_UNITS = 8
_BYTES = PROBE_BITS // 8 // _UNITS
#: (axis, frame) → kind of probe. Units of an expert are probed like those of an MLP, so that the dense parent of an upcycled mixture is found
_KINDS = {
    ("mlp-units", "stored"): "units",
    ("expert-units", "stored"): "units",
    ("chain-units", "stored"): "units",
    ("mlp-units", "tokens"): "token-units",
    ("expert-units", "tokens"): "token-units",
    ("value-dims", "stored"): "values",
    ("value-dims", "tokens"): "token-values",
    ("residual", "stored"): "residual",
}


def order_probes(orders: Sequence[OrderBits], towers: tuple[str, ...], every_layer: bool = False) -> Iterator[Probe]:
    """Probes of the sites in `PROBE_LAYERS`, or of all."""
    for group in orders:
        kind = _KINDS.get((group.axis, group.frame))
        if kind is None or group.bits_SMB.shape[1] < _UNITS:
            continue
        for (tower, layer, expert), bits_MB in zip(group.place_S3.tolist(), group.bits_SMB, strict=True):
            if layer >= 0 and layer not in PROBE_LAYERS and not every_layer:
                continue
            named = f"{kind} {group.label}" if towers[tower] == "text" else f"of {towers[tower]} {kind} {group.label}"
            named = re.sub(r"[^a-z0-9]+", "-", named.lower()).strip("-")[:32]
            part = _part(group.axis, towers[tower], expert)[:64]
            yield Probe(named, layer, part, np.ascontiguousarray(bits_MB[:_UNITS, :_BYTES]).ravel())


def _part(axis: str, tower: str, expert: int) -> str:
    what = {"value-dims": "attention", "residual": "residual stream"}.get(axis, "MLP")
    what = f"expert {expert}" if axis == "expert-units" else what
    return what if tower == "text" else f"{tower} {what}"


def content_probes(contents: Sequence[ContentBits]) -> Iterator[Probe]:
    """Probes of units chosen by content: the first bits of the first slots."""
    for c in contents:
        part = f"expert {c.expert}" if c.expert >= 0 else "MLP"
        yield Probe("content", c.layer, part, np.ascontiguousarray(c.bits_KB[: PROBE_BITS // 8, 0]))
