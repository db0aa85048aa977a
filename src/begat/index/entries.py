"""From a fingerprint to what a store keeps of it.

Enters: a `Fingerprint`.  Leaves: a `Record`.
"""

from __future__ import annotations

from begat.fingerprint import Fingerprint
from begat.fingerprint_file import dumps
from begat.index.store import Probe, Record, make_record


def record_of(fingerprint: Fingerprint, source: str, note: str = "") -> Record:
    """What is stored of a fingerprint; `source`: the path or address it was sketched from."""
    f = fingerprint
    return make_record(
        dumps(f), [Probe(p.kind, p.layer, p.part, p.bits) for p in f.probes], name=f.name, source=source, format=f.format, family=f.family,
        parameters=f.parameters, layers=f.layers, header_digest=f.header_digest, fingerprint_version=f.version, note=note,
    )  # fmt: skip
