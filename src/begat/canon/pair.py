"""Which tower of A corresponds to which tower of B, when their names do not say so.

Enters: two canonical models.  Leaves: the same, with towers of A renamed to their counterparts in B. A lone CLIP checkpoint has one tower,
called "text" like any lone trunk; inside a multimodal model the same network is the "vision" tower. Pairs are chosen by shapes
alone, never by weights, so the choice costs the statistics nothing.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from begat.canon.model import Canonical
from begat.types import TensorKey


def pair_towers(a: Canonical, b: Canonical) -> tuple[Canonical, Canonical]:
    """Rename towers of A so that each shares most equally shaped tensors with its namesake in B."""
    overlap = _overlaps(a, b)
    names: dict[str, str] = {}
    taken: set[str] = set()
    # most tensors in common first; among equals a pair that already shares its name
    for (x, y), _ in sorted(overlap.items(), key=lambda p: (-p[1], p[0][0] != p[0][1], p[0])):
        if x not in names and y not in taken:
            names[x] = y
            taken.add(y)
    towers = {k.tower for k in a.tensors}
    for x in sorted(towers - set(names)):  # unpaired towers keep their name unless it is taken
        names[x] = x if x not in taken else f"{x} (A)"
        taken.add(names[x])
    return (a, b) if all(x == y for x, y in names.items()) else (_renamed(a, names), b)


def _overlaps(a: Canonical, b: Canonical) -> Counter[tuple[str, str]]:
    """(tower of A, tower of B) → number of matrices of one layer, role, expert and shape."""
    by_place: dict[tuple[int, str, int], list[tuple[str, tuple[int, ...]]]] = {}
    for key, t in b.tensors.items():
        by_place.setdefault((key.layer, key.role, key.expert), []).append((key.tower, t.shape))
    found: Counter[tuple[str, str]] = Counter()
    for key, t in a.tensors.items():
        for tower, shape in by_place.get((key.layer, key.role, key.expert), ()):
            if shape == t.shape and len(shape) == 2:
                found[key.tower, tower] += 1
    return found


def _renamed(model: Canonical, names: dict[str, str]) -> Canonical:
    def new(key: TensorKey) -> TensorKey:
        return replace(key, tower=names[key.tower])

    tensors = {new(k): replace(t, key=new(k)) for k, t in model.tensors.items()}
    geometry = {names.get(tower, tower): g for tower, g in model.geometry.items()}
    return replace(model, tensors=dict(sorted(tensors.items())), geometry=geometry)
