"""A mixture posed beside another: its experts, and router rows with them, under the other's
numbers.

Enters: A and, layer by layer, which expert of A stands for which of B (`expert_partners.py`).
Leaves: A under B's numbers, for the map and for signs of kind.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from begat.canon.model import Canonical, CanonTensor
from begat.types import TensorKey

Place = tuple[str, int]


def experts_of(model: Canonical, place: Place) -> list[int]:
    """Numbers of the routed experts of a layer."""
    return sorted(
        k.expert
        for k in model.tensors
        if (k.tower, k.layer) == place and k.role == "expert.up.weight"
    )


def posed_experts(
    a: Canonical, sources: Mapping[Place, Mapping[int, int]], whole: Mapping[Place, bool]
) -> Canonical:
    """A with other numbers for experts.

    Args:
        sources: (tower, layer) → number in the pose → number in A. Experts that are not named are
            left out.
        whole: layers in which every expert of B has one, so that the router's rows can follow; else
            it is left out.
    """
    tensors = {
        k: t
        for k, t in a.tensors.items()
        if (k.tower, k.layer) not in sources
        or not (k.expert >= 0 or k.role.startswith("moe.router"))
    }
    owned: dict[tuple[str, int, int], list[TensorKey]] = defaultdict(list)
    for key in a.tensors:
        owned[key.tower, key.layer, key.expert].append(key)
    for place, source in sources.items():
        for expert, other in source.items():
            for key in owned[*place, other]:
                new = replace(key, expert=expert)
                tensors[new] = replace(a.tensors[key], key=new)
        if whole[place]:
            tensors |= dict(_routers(a, place, [source[e] for e in sorted(source)]))
    return replace(a, tensors=dict(sorted(tensors.items())))


def _routers(
    a: Canonical, place: Place, order: list[int]
) -> Iterator[tuple[TensorKey, CanonTensor]]:
    """Router tensors of a layer of A with the rows of its experts in this order; none where they do
    not speak of all of them.
    """
    at = np.asarray(order, dtype=np.int64)
    for key, t in a.tensors.items():
        if (
            (key.tower, key.layer) == place
            and key.role.startswith("moe.router")
            and t.shape[0] > max(order)
        ):
            shape = (len(at), *t.shape[1:])
            if t.transposed:
                cols = np.arange(a.checkpoint.entries[t.name].cols)[
                    slice(None) if t.cols is None else t.cols
                ]
                yield key, replace(t, shape=shape, cols=cols[at])
            else:
                yield key, replace(t, shape=shape, rows=np.asarray(t.rows, dtype=np.int64)[at])
