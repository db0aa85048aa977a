"""What two fingerprints must share without having met: sampled units, anchor tokens, random directions.

Enters: sizes and names.  Leaves: indices and signs, the same for everybody and every model.  Who reads at them: `sketch.py`.

A comparison of two checkpoints draws its rows from both headers, so that neither side can choose them (`sampling.py`). A fingerprint is made of one
model alone, so its indices are public: whoever hides a model can move just these units. That costs detection and never makes an alarm.

Units come from one run of `RUN` that starts at a multiple of it. Where a quantiser shares scales along the units, the order is uniform only inside
one of its aligned blocks; a run inside a block stays inside, whatever multiple of `RUN` the block has.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from hashlib import blake2b

import numpy as np

from begat.fingerprint import BITS, VERSION
from begat.pipeline.sampling import generator
from begat.signals.signbits import directions
from begat.types import F32, I64

_SEED = int.from_bytes(blake2b(f"begat fingerprint, version {VERSION}".encode(), digest_size=16).digest(), "big")
#: units of an aligned run that samples lie in
RUN = 128
#: tokens that span the token frame; of these the first serve as features of the residual stream
FRAME_TOKENS, RESIDUAL_TOKENS = 1024, 256
#: layers of which units are chosen by content
CONTENT_LAYERS = (0, 1)
#: layers that have probes, besides all layers of the model that is searched for
PROBE_LAYERS = frozenset((0, 1, 2, 4, 7, 11, 16, 22, 29, 37, 46, 56, 67, 79, 92, 106, 121))


def public_units(units: int, m: int, run: int = RUN) -> I64:
    """Indices of at most `m` of `units` units, out of one aligned run of `run`; of fewer units a beginning of them."""
    rng = generator(_SEED, "units", units, run)
    start = run * int(rng.integers(units // run)) if units >= 2 * run else 0
    within = min(units, run) if units >= 2 * run else units
    return (start + rng.permutation(within)[:m]).astype(np.int64)


def public_head(heads: int) -> int:
    """The head that is sampled in every layer."""
    return int(generator(_SEED, "head", heads).integers(max(1, heads)))


def public_experts(experts: int, n: int) -> frozenset[int]:
    """The experts that are sampled in every layer."""
    return frozenset(int(i) for i in generator(_SEED, "experts", experts).permutation(experts)[:n])


def rank(token: bytes) -> bytes:
    """Place of a token in the public order."""
    return blake2b(token, digest_size=8, key=b"begat anchors 1").digest()


def anchors(tokens: Mapping[bytes, int], rows: int) -> tuple[list[bytes], I64]:
    """(ranks, rows) of the first `FRAME_TOKENS` tokens in the public order: mostly the same for two vocabularies that share most tokens."""
    ranked = sorted((rank(token), row) for token, row in tokens.items() if row < rows)[:FRAME_TOKENS]
    return [r for r, _ in ranked], np.array([row for _, row in ranked], dtype=np.int64)


def anchor_rows(rows: int) -> tuple[list[bytes], I64]:
    """The same for row numbers, where there is no tokenizer or as well as by string."""
    return anchors({f"row {i}".encode(): i for i in range(rows)}, rows)


@lru_cache(maxsize=4096)
def _token_directions(name: bytes) -> F32:
    return directions(1, BITS, generator(_SEED, "token", name))


def token_directions(ranks: list[bytes]) -> F32:
    """Directions of token features [N, BITS], each by its token, whatever the others are."""
    return np.concatenate([_token_directions(r) for r in ranks])


@lru_cache(maxsize=64)
def view_directions(name: str, features: int) -> F32:
    """Directions of the features of a view [D, BITS], by what it is and how wide."""
    return directions(features, BITS, generator(_SEED, "view", name, features))
