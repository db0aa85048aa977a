"""Records for tests of the store: fingerprints of random bytes, probes of relatives and strangers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from begat.index.store import Probe, Record, make_record

KINDS = ("units", "residual", "token-units", "gram")


def flipped(rng: np.random.Generator, bits_NB: np.ndarray, rate: float) -> np.ndarray:
    """Each bit turned over with probability `rate`."""
    return bits_NB ^ np.packbits(rng.random((*bits_NB.shape[:-1], 256)) < rate, axis=-1)


def random_bits(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.integers(0, 256, size=(n, 32), dtype=np.uint8)


def record(
    rng: np.random.Generator, name: str = "model", *, per_kind: int = 3, kinds: Sequence[str] = KINDS, bits: np.ndarray | None = None, **meta: object
) -> Record:
    """A model with `per_kind` probes of each kind; `bits` [len(kinds), per_kind, 32] or random."""
    if bits is None:
        bits = random_bits(rng, len(kinds) * per_kind).reshape(len(kinds), per_kind, 32)
    probes = [Probe(kind, layer, "mlp", bits[k, layer]) for k, kind in enumerate(kinds) for layer in range(per_kind)]
    fields = {
        "source": f"models/{name}", "format": "safetensors", "family": "llama", "parameters": 7_000_000_000, "layers": 32,
        "header_digest": rng.bytes(32).hex(), "fingerprint_version": 1,
    }  # fmt: skip
    return make_record(rng.bytes(int(rng.integers(100, 5000))), probes, name=name, **(fields | meta))  # type: ignore[arg-type]


def brute_force(records: Sequence[Record], kind: str, query: np.ndarray, k: int) -> list[tuple[int, str, int]]:
    """(distance, id, layer) of the k nearest, by counting the bits of Python integers: shares nothing with the store."""
    ours = int.from_bytes(query.tobytes(), "big")
    found = [
        ((ours ^ int.from_bytes(p.bits.tobytes(), "big")).bit_count(), r.entry.id, p.layer) for r in records for p in r.probes if p.kind == kind
    ]
    return sorted(found)[:k]
