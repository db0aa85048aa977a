"""Trained-state agreement of two models: which gains and rows are read for it.

Enters: two canonical models, the layers found dependent, the seed of the comparison.  Leaves: `Agreement`.
The numbers: `begat.signals.trained`.  Who asks: `begat.pipeline.facts`.
"""

from __future__ import annotations

from collections.abc import Set

import numpy as np

from begat.canon.model import Canonical
from begat.pipeline.inherit import common_keys
from begat.pipeline.sampling import generator
from begat.signals.trained import Agreement, trained_agreement
from begat.types import F32, I64, TensorKey

#: matrices whose rows and columns are drawn alike and trained unlike; those of every architecture begat knows
ROLES = frozenset(
    {
        "attn.q.weight",
        "attn.k.weight",
        "attn.v.weight",
        "mlp.gate.weight",
        "mlp.up.weight",
        "expert.gate.weight",
        "expert.up.weight",
    }
)
#: gains of these stand by rotary frequency, alike in all models
_BY_INDEX = frozenset({"attn.q_norm.gain", "attn.k_norm.gain"})
#: matrices that are read, and rows of each: 64 rows of 32 matrices are 16 MB of a model of width 4096 in two bytes
MATRICES, ROWS = 32, 64
#: longest vector that is read as a norm's gains
_LONGEST = 1 << 20


def agreement_of(a: Canonical, b: Canonical, layers: Set[tuple[str, int]], seed: int) -> Agreement:
    """Agreement over `layers`, (tower, layer) pairs: all their norm gains, and public rows of a public choice of matrices."""
    keys = [k for k in common_keys(a, b) if (k.tower, k.layer) in layers]
    gains = [k for k in keys if _is_gain(a, k) and _is_gain(b, k)]
    matrices = [k for k in keys if k.role in ROLES and not a.tensors[k].is_vector]
    chosen = np.sort(generator(seed, "trained state").permutation(len(matrices))[:MATRICES])
    return trained_agreement(
        [(a.read(k), b.read(k)) for k in gains], (_rows(a, b, matrices[i], seed) for i in chosen.tolist())
    )


def _is_gain(model: Canonical, key: TensorKey) -> bool:
    """A norm's gains over dims that no position or table orders."""
    t, geometry = model.tensors[key], model.geometry.get(key.tower)
    free = geometry is not None and "residual" in geometry.symmetric
    return free and key.role.endswith("norm.gain") and key.role not in _BY_INDEX and t.is_vector and t.shape[0] <= _LONGEST


def _rows(a: Canonical, b: Canonical, key: TensorKey, seed: int) -> tuple[F32, F32]:
    """Rows at the same public indices; columns instead where both store the matrix transposed, which is cheap and as good."""
    x, y = a.tensors[key], b.tensors[key]
    by_columns = x.transposed and y.transposed
    n = x.shape[1] if by_columns else x.shape[0]
    at: I64 = np.sort(generator(seed, "trained state", str(key)).permutation(n)[:ROWS]).astype(np.int64)
    if by_columns:
        return a.read_columns(key, at), b.read_columns(key, at)
    return a.read(key, at), b.read(key, at)
