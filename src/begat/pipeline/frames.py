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
from begat.signals.procrustes import cross_product, rotation
from begat.source.tokens import SharedTokens
from begat.types import F32, I64, TensorKey

#: token rows that a map is fitted on, per residual dim and at least
_TOKENS_PER_DIM, _TOKENS = 4, 4096
#: unit rows of a layer that a map is fitted on, per residual dim
_UNITS_PER_DIM = 4


@dataclass(frozen=True, slots=True)
class Frame:
    """One way to lay A over B.

    Attributes:
        q_DE: A's residual stream in B's, None = they are taken as they are.
        fitted_on: what the map comes from, in words.
        layers: layers that the map was fitted on, of both models; no test may use them, nor copies of them.
    """

    q_DE: F32 | None
    fitted_on: str
    layers: frozenset[int] = frozenset()


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
    pairs = [(_rows(a, k, ids_a, features), _rows(b, k, ids_b, features)) for k in usable]
    if keys[1] not in usable:  # where one ties its head to its embedding, the other's head is its partner
        for model, other in ((0, 1), (1, 0)):
            m, o, ids = (a, b)[model], (a, b)[other], (ids_a, ids_b)[model]
            if keys[1] in m.tensors and keys[0] in o.tensors:
                mine, theirs = _rows(m, keys[1], ids, features), _rows(o, keys[0], (ids_a, ids_b)[other], features, keys[1])
                pairs.append((mine, theirs) if model == 0 else (theirs, mine))
    cross = cross_product(pairs)
    words = f"the embeddings of {len(pick):,} of the {len(shared.ids_a):,} tokens that both know"
    return Frame(rotation(cross), words)


def _rows(model: Canonical, key: TensorKey, ids: I64, features: Features, fold_as: TensorKey | None = None) -> F32:
    """Token rows, centred; of a head with the final norm's gain folded in."""
    x_ND = model.read(key, ids)
    check_finite(model, key, x_ND)
    as_key = fold_as or key
    gain_D = features.gain(model, as_key) if as_key.role.startswith("head.") else None
    x_ND = x_ND if gain_D is None else x_ND * gain_D
    centred: F32 = x_ND - x_ND.mean(axis=0, dtype=np.float64).astype(np.float32)
    return centred


def from_layer(a: Canonical, b: Canonical, layer: int, seed: int, features: Features) -> Frame | None:
    """Procrustes on the units of one layer at the same index, which takes their order for granted; so that layer is never tested."""
    keys = [TensorKey("text", layer, f"mlp.{role}.weight") for role in ("gate", "up")]
    usable = [k for k in keys if all(k in m.tensors for m in (a, b)) and a.tensors[k].shape[0] == b.tensors[k].shape[0]]
    if not usable:
        return None
    n = a.tensors[usable[0]].shape[0]
    width = max(m.tensors[usable[0]].shape[1] for m in (a, b))
    units = np.sort(generator(seed, "frame units", layer).permutation(n)[: _UNITS_PER_DIM * width]).astype(np.int64)
    pairs = []
    for key in usable:
        blocks = []
        for model in (a, b):
            x_MD = model.read(key, units)
            check_finite(model, key, x_MD)
            gain_D = features.gain(model, key)
            blocks.append(x_MD if gain_D is None else x_MD * gain_D)
        pairs.append((blocks[0], blocks[1]))
    return Frame(rotation(cross_product(pairs)), f"the {len(units):,} units of layer {layer} at the same index", frozenset({layer}))
