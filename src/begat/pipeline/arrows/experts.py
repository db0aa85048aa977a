"""Experts: a dense MLP copied into many, or shared out among them.

Experts that all resemble one dense MLP descend with it from one MLP. The dense one is that ancestor if it is the hub: each expert is nearer to it than
to any other expert. A dense model averaged from experts is a hub as well, but then the experts reproduce it, which they do not with an ancestor from which
each drifted on its own: what the best combination of all experts leaves of it must be more than a small part of what one expert leaves. A sibling of
the ancestor, tuned, is no hub: seen from it the experts' drifts share its own, so they must be nearly uncorrelated (lab: up to 0.22 from the ancestor, 0.32
and more from its fine-tunes). A sibling that was hardly tuned passes; it is then the ancestor but for that.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from begat.pipeline.arrows.base import ARROWS, Pair, Sign
from begat.pipeline.sampling import generator
from begat.signals.merge import fit, moments
from begat.types import TensorKey

_ROWS, _LAYERS, _EXPERTS = 24, 4, 256
#: cosine of an expert with its dense parent, at least; of units shared out
_RELATED, _SAME = 0.3, 0.5
#: share of one expert's distance that the best combination of all must leave
_LEFT = 0.05
#: mean correlation of the experts' differences from the dense MLP, at most
_DRIFTS = 0.27


@ARROWS.add("experts")
def experts(pair: Pair) -> Iterator[Sign]:
    """`child`'s experts are made of `parent`'s MLPs."""
    keys = sorted(k for k in pair.parent.tensors if k.role == "mlp.up.weight")
    by_layer = {
        k: sorted(e for e in pair.child.tensors if (e.tower, e.layer, e.role) == (k.tower, k.layer, "expert.up.weight"))
        for k in keys
    }
    keys = [k for k in keys if len(by_layer[k]) > 1][:_LAYERS]
    if not keys:
        return
    shapes = {(pair.parent.tensors[k].shape, pair.child.tensors[e].shape) for k in keys for e in by_layer[k]}
    if all(x == y for x, y in shapes):
        yield from _copies(pair, keys, by_layer)
    elif all(x[1] == y[1] and x[0] > y[0] for x, y in shapes):
        yield from _shared_out(pair, keys, by_layer)


def _copies(pair: Pair, keys: list[TensorKey], by_layer: dict[TensorKey, list[TensorKey]]) -> Iterator[Sign]:
    to_dense, between, left, drifts = [], [], [], []
    for key in keys:
        at = np.sort(generator(pair.seed, "experts", str(key)).permutation(pair.parent.tensors[key].shape[0])[:_ROWS]).astype(
            np.int64
        )
        dense = pair.parent.read(key, at)
        each = [pair.child.read(e, at) for e in by_layer[key][:_EXPERTS]]
        unit = np.stack([x.ravel() / max(float(np.linalg.norm(x)), 1e-30) for x in (dense, *each)]).astype(np.float64)
        cosines = unit @ unit.T
        to_dense.append(cosines[0, 1:])
        drifts.append(_correlation(np.stack([(x - dense).ravel() for x in each]).astype(np.float64)))
        between.append((cosines[1:, 1:] - 2 * np.eye(len(each))).max(1))
        left.append(fit(moments(dense, each)).residual / max(1 - float(cosines[0, 1:].mean()) ** 2, 1e-12))
    near, far = np.concatenate(to_dense), np.concatenate(between)
    if near.min() < _RELATED:
        return
    words = (f"all {len(by_layer[keys[0]])} experts of a layer resemble the dense model's MLP (cosine {near.min():.2f} to {near.max():.2f}) "
             f"and each other (up to {far.max():.2f})")  # fmt: skip
    same = near.min() > 0.99999
    if same or ((near > far).all() and min(left) > _LEFT and np.mean(drifts) <= _DRIFTS):
        yield Sign(
            "experts-copied",
            words + ("" if same else "; the dense MLP is nearest to each, and no combination of experts gives it"),
        )
    else:
        yield Sign("experts-related", words)


def _correlation(x_EN: np.ndarray) -> float:
    """Mean cosine of pairs of rows."""
    unit = _unit(x_EN)
    e = len(unit)
    return float(((unit @ unit.T).sum() - e) / (e * (e - 1)))


def _shared_out(pair: Pair, keys: list[TensorKey], by_layer: dict[TensorKey, list[TensorKey]]) -> Iterator[Sign]:
    shares = []
    for key in keys[:2]:
        dense = _unit(pair.parent.read(key))
        for e in by_layer[key][:4]:
            rows = generator(pair.seed, "units", str(e)).permutation(pair.child.tensors[e].shape[0])[:_ROWS]
            cosines = _unit(pair.child.read(e, np.sort(rows).astype(np.int64))) @ dense.T
            shares.append(float((cosines.max(1) >= _SAME).mean()))
    if min(shares) >= 0.9:
        yield Sign(
            "units-shared-out",
            f"the experts' units are units of the dense model's MLP ({min(shares):.0%} or more of each expert's)",
        )


def _unit(x: np.ndarray) -> np.ndarray:
    out: np.ndarray = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-30)
    return out
