"""Frames: where A's residual stream lies in B's, found from tensors that the tests inside the frame do not touch.

Enters: two canonical models and, for some, the tokens both know.  Leaves: `Frame`s.  The map itself: `begat.signals.procrustes`.  What is tested in a
frame: `begat.pipeline.search`.

Why a test in a frame stays exact, whatever the map is (statistics.md §3): the map is a function of the embeddings (or of one layer that is then left
out), and those do not depend on the order of the units of the layers tested. Given everything else that order is still uniform, and the
similarity may be any function of the rest. Procrustes "aligns" strangers too, and it does not matter.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from begat.canon.model import Canonical
from begat.pipeline.pose import Features
from begat.pipeline.sampling import check_finite, generator
from begat.signals.axes import AXES
from begat.signals.procrustes import cross_product, rotation
from begat.source.tokens import SharedTokens
from begat.types import F32, F64, I64, TensorKey

#: token rows that a map is fitted on, per residual dim and at least
_TOKENS_PER_DIM, _TOKENS, _CHUNK = 4, 4096, 2048
#: unit rows of a layer that a map is fitted on, per residual dim
_UNITS_PER_DIM = 2
#: units that a test samples
_TESTED = AXES["mlp-units"].units


@dataclass(frozen=True, slots=True)
class Frame:
    """One way to lay A over B.

    Attributes:
        q_DE: A's residual stream in B's, None = they are taken as they are.
        fitted_on: what the map comes from, in words.
        layers, theirs: layers of A and of B that the map was fitted on.
        units: the units of them whose order is in the map; no test may use them in these layers, nor in copies of them. None: all.
    """

    q_DE: F32 | None
    fitted_on: str
    layers: frozenset[int] = frozenset()
    theirs: frozenset[int] = frozenset()
    units: I64 | None = None


def same_basis() -> Frame:
    """Both residual streams as they are stored."""
    return Frame(None, "nothing: the residual streams are taken as they are stored")


def from_tokens(a: Canonical, b: Canonical, shared: SharedTokens, seed: int, features: Features) -> Frame | None:
    """Procrustes on the embeddings of shared tokens, and on the output head where both have one. None without an embedding."""
    keys = [TensorKey("text", -1, role) for role in ("embed.tokens", "head.weight")]
    usable = [k for k in keys if all(k in m.tensors for m in (a, b))]
    if keys[0] not in usable and keys[1] not in usable:
        return None
    width = max(m.tensors[k].shape[1] for m in (a, b) for k in usable)
    most = max(_TOKENS, _TOKENS_PER_DIM * width)
    pick = np.sort(generator(seed, "frame tokens").permutation(len(shared.ids_a))[:most])
    ids_a, ids_b = shared.ids_a[pick], shared.ids_b[pick]
    pairs = [(k, k) for k in usable]
    if keys[1] not in usable:  # where one ties its head to its embedding, the other's head is its partner
        pairs += [(keys[i], keys[1 - i]) for i in (0, 1) if keys[i] in a.tensors and keys[1 - i] in b.tensors and keys[1] in (*a.tensors, *b.tensors)]
    cross = sum(_cross(a, x, b, y, ids_a, ids_b, features) for x, y in pairs)
    words = f"the embeddings of {len(pick):,} of the {len(shared.ids_a):,} tokens that both know"
    return Frame(rotation(np.asarray(cross)), words)


def _cross(a: Canonical, x: TensorKey, b: Canonical, y: TensorKey, ids_a: I64, ids_b: I64, features: Features) -> F64:
    """Centred cross product of the token rows of two tables over their sizes, a chunk at a time: [D, E].

    A head may have fewer rows than the embedding that the tokens were counted in; zeros where no token is left.
    """
    held = (ids_a < a.tensors[x].shape[0]) & (ids_b < b.tensors[y].shape[0])
    if not held.any():
        return np.zeros((a.tensors[x].shape[1], b.tensors[y].shape[1]))
    ids_a, ids_b = ids_a[held], ids_b[held]
    as_head = x.role.startswith("head.") or y.role.startswith("head.")
    total: F64 | None = None
    sums: list[F64] = []
    squares = [0.0, 0.0]
    for first in range(0, len(ids_a), _CHUNK):
        at = slice(first, first + _CHUNK)
        rows = [_rows(m, k, ids[at], features, as_head) for m, k, ids in ((a, x, ids_a), (b, y, ids_b))]
        part = (rows[0].T @ rows[1]).astype(np.float64)
        here = [r.sum(axis=0, dtype=np.float64) for r in rows]
        total, sums = (part, here) if total is None else (total + part, [s + h for s, h in zip(sums, here, strict=True)])
        squares = [q + float(np.square(r, dtype=np.float64).sum()) for q, r in zip(squares, rows, strict=True)]
    assert total is not None
    n = len(ids_a)
    sizes = [max(0.0, q - float(s @ s) / n) ** 0.5 for q, s in zip(squares, sums, strict=True)]
    centred: F64 = total - np.outer(sums[0], sums[1]) / n
    return centred / (sizes[0] * sizes[1]) if min(sizes) > 0 else np.zeros_like(centred)


def _rows(model: Canonical, key: TensorKey, ids: I64, features: Features, as_head: bool) -> F32:
    """Token rows; of a head, or an embedding that serves as one, with the final norm's gain folded in."""
    x_ND = model.read(key, ids)
    check_finite(model, key, x_ND)
    gain_D = features.gain(model, TensorKey(key.tower, -1, "head.weight")) if as_head else None
    return x_ND if gain_D is None else x_ND * gain_D


def from_layers(a: Canonical, b: Canonical, ours: int, theirs: int, seed: int, features: Features) -> Frame | None:
    """Procrustes on units of a layer of A and one of B at the same index, which takes their order for granted; so those units are never tested.

    Where there are enough of them, the units that a test of this size samples are left out of the map: given the order of the others, theirs
    is still uniform, so that these two layers can be tested as well.
    """
    keys = [tuple(TensorKey("text", i, f"mlp.{role}.weight") for i in (ours, theirs)) for role in ("gate", "up")]
    usable = [(x, y) for x, y in keys if x in a.tensors and y in b.tensors and a.tensors[x].shape[0] == b.tensors[y].shape[0]]
    if not usable:
        return None
    n = a.tensors[usable[0][0]].shape[0]
    width = max(m.tensors[k].shape[1] for m, k in zip((a, b), usable[0], strict=True))
    order = generator(seed, "frame units", theirs).permutation(n)
    sampled = generator(seed, "units", n).permutation(n)[:_TESTED]  # as `search.py` draws them
    free = order[~np.isin(order, sampled)]
    order = free if len(free) * len(usable) >= width and n >= 2 * _TESTED else order
    units = np.sort(order[: _UNITS_PER_DIM * width]).astype(np.int64)
    runs = [(x, y, units[first : first + _CHUNK]) for x, y in usable for first in range(0, len(units), _CHUNK)]
    cross = cross_product((_unit_rows(a, x, at, features), _unit_rows(b, y, at, features)) for x, y, at in runs)
    where = f"layer {ours}" if ours == theirs else f"layer {ours} of A and layer {theirs} of B"
    return Frame(rotation(cross), f"{len(units):,} units of {where} at the same index", frozenset({ours}), frozenset({theirs}), units)


def _unit_rows(model: Canonical, key: TensorKey, units: I64, features: Features) -> F32:
    """Rows of a matrix, with the gain before it folded in."""
    x_MD = model.read(key, units)
    check_finite(model, key, x_MD)
    gain_D = features.gain(model, key)
    return x_MD if gain_D is None else x_MD * gain_D
