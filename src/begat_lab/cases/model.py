"""A toy model that knows where every tensor comes from, and the truth about two of them.

Enters: nothing but arrays.  Leaves: `Toy`, which `write.py` saves, and `pair_truth`, `model_truth`.
How weights are drawn: `draw.py`; what is done to them: `edits/`.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from begat_lab.cases.truth import ENCODING, OPERATIONS, PRESERVING, ModelTruth, PairTruth, Place

Array = npt.NDArray[Any]
DTYPES: dict[str, Any] = {"float32": np.float32, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}
#: config keys that do not change what the weights compute
_HARMLESS = frozenset({"torch_dtype", "architectures", "quantization_config", "transformers_version", "_name_or_path"})


@dataclass(frozen=True, slots=True)
class Piece:
    """One tensor.

    Attributes:
        values: as stored; float32 values are stored in the toy's number type, others as they are.
        place: where it lies.
        axes: names of its axes ("unit", "residual", "kv*dim", "head*dim", "token", "expert", …);
            what may be permuted.
        origin: names of the random draws that went into it.
        group: as `begat.recipes.PartFit` groups tensors.
        fixed: written in its own number type, though it is float32 (scales).
    """

    values: Array
    place: Place
    axes: tuple[str, ...]
    origin: frozenset[str]
    group: str = "other"
    fixed: bool = False

    @property
    def is_matrix(self) -> bool:
        """It has two axes or more."""
        return self.values.ndim > 1


@dataclass(frozen=True, slots=True)
class Toy:
    """A model.

    Attributes:
        pieces: stored name → tensor. config: what config.json says. towers: the main one first.
        steps: (id, operation) of all that was ever done to it or to its ancestors.
        tokens: entries of the tokenizer beside it, 0 for none. dtype: number type that floats are
            stored in.
        new_rows: (first, last) token rows that were not trained.
    """

    pieces: Mapping[str, Piece]
    config: Mapping[str, Any]
    towers: tuple[str, ...]
    steps: frozenset[tuple[str, str]]
    tokens: int = 0
    dtype: str = "bfloat16"
    new_rows: tuple[tuple[int, int], ...] = ()

    def derive(
        self, operation: str, pieces: Mapping[str, Piece] | None = None, *others: Toy, key: object = "", **changes: Any
    ) -> Toy:
        """The model after `operation`; `others` also went into it; `key` tells two such operations
        on one model apart.
        """
        if operation not in OPERATIONS:
            raise ValueError(f"unknown operation {operation}")
        steps = self.steps.union(*(o.steps for o in others))
        made = hashlib.sha256(repr((operation, str(key), sorted(steps))).encode()).hexdigest()[:16]
        config = dict(self.config) | changes.pop("config", {})
        return replace(
            self,
            pieces=dict(self.pieces if pieces is None else pieces),
            config=config,
            steps=steps | {(made, operation)},
            **changes,
        )

    def map(
        self, change: Callable[[str, Piece], Piece], where: Callable[[str, Piece], bool] = lambda name, piece: True
    ) -> dict[str, Piece]:
        """The pieces, those that `where` names changed."""
        return {name: change(name, piece) if where(name, piece) else piece for name, piece in self.pieces.items()}

    def at(self, tower: str, layer: int) -> dict[str, Piece]:
        """Pieces of one layer."""
        return {n: p for n, p in self.pieces.items() if (p.place.tower, p.place.layer) == (tower, layer)}

    def layers(self, tower: str | None = None) -> list[int]:
        """Layers of a tower (of the main one)."""
        tower = self.towers[0] if tower is None else tower
        return sorted({p.place.layer for p in self.pieces.values() if p.place.tower == tower and p.place.layer >= 0})


def as_stored(toy: Toy) -> dict[str, Array]:
    """Every tensor as it is written."""
    kind = DTYPES[toy.dtype]
    return {n: p.values.astype(kind) if p.values.dtype == np.float32 and not p.fixed else p.values for n, p in toy.pieces.items()}


def rounded(toy: Toy) -> Toy:
    """The same with every float32 value as its number type stores it, so that what is made of it is
    made of what is saved.
    """
    kind = DTYPES[toy.dtype]
    return replace(
        toy,
        pieces=toy.map(
            lambda n, p: replace(p, values=p.values.astype(kind).astype(np.float32)),
            lambda n, p: p.values.dtype == np.float32 and not p.fixed,
        ),
    )


def pair_truth(a: Toy, b: Toy, detectable: bool = True, hollow: bool = False) -> PairTruth:
    """The truth about two models. A head that is a copy of the embedding says what tying it says, so
    such models are equal. hollow: the models hold places and no values.
    """
    links, weak = _links(a, b)
    common = a.steps & b.steps
    only_a, only_b = (frozenset(op for _, op in x.steps - common) for x in (a, b))
    x, y = ([], []) if hollow else (_contents(a), _contents(b))
    equal = (bool(common) and only_a | only_b <= PRESERVING) or (not hollow and x == y)
    return PairTruth(
        relation=_relation({op for _, op in common}, only_a | only_b, a.steps <= b.steps or b.steps <= a.steps, equal),
        direction=_direction(a, b, common),
        operations_a=only_a,
        operations_b=only_b,
        links=frozenset(links),
        weak=frozenset(weak),
        places_a=_places(a),
        places_b=_places(b),
        towers_a=a.towers,
        towers_b=b.towers,
        equal=equal,
        kept=sum(map(set(x).__contains__, y)),
        config=frozenset(k for k in {*a.config, *b.config} - _HARMLESS if a.config.get(k) != b.config.get(k)),
        component=_component(links, a, b),
        axes_a=_axes(a),
        axes_b=_axes(b),
        detectable=detectable,
    )


def _relation(common: set[str], apart: Iterable[str], one_way: bool, equal: bool) -> str:
    apart = set(apart)
    if not common:
        return "independent"
    if apart <= PRESERVING or equal:
        return "same-weights"
    if apart <= PRESERVING | ENCODING:
        return "re-encoded"
    if one_way:
        return "descended"
    return "shared-initialisation" if common <= {"initialised"} else "common-ancestor"


def _direction(a: Toy, b: Toy, common: frozenset[tuple[str, str]]) -> str:
    if not common or a.steps == b.steps:
        return ""
    return "A → B" if a.steps <= b.steps else "B → A" if b.steps <= a.steps else ""


def _links(a: Toy, b: Toy) -> tuple[set[tuple[Place, Place]], set[tuple[Place, Place]]]:
    by_draw: dict[str, list[tuple[Place, bool]]] = defaultdict(list)
    for piece in a.pieces.values():
        for draw in piece.origin:
            by_draw[draw].append((piece.place, piece.is_matrix))
    found: tuple[set[tuple[Place, Place]], set[tuple[Place, Place]]] = (set(), set())
    for piece in b.pieces.values():
        for draw in piece.origin:
            for place, matrix in by_draw.get(draw, ()):
                found[not (matrix and piece.is_matrix)].add((place, piece.place))
    return found


def _axes(toy: Toy) -> frozenset[str]:
    return frozenset(axis for p in toy.pieces.values() for axis in p.axes)


def _places(toy: Toy) -> frozenset[Place]:
    return frozenset(p.place for p in toy.pieces.values() if p.is_matrix)


def _contents(toy: Toy) -> list[str]:
    """Digests of its tensors by content: names, order and types that hold the values aside."""
    return sorted(_content(v) for v in as_stored(toy).values())


def _content(values: Array) -> str:
    number = values if values.dtype.kind in "iu" else values.astype(np.float64)
    return hashlib.sha256(repr(values.shape).encode() + np.ascontiguousarray(number).tobytes()).hexdigest()


def _component(links: Iterable[tuple[Place, Place]], a: Toy, b: Toy) -> str:
    """The one component that is linked, where neither model is linked as a whole."""
    at = {y for _, y in links}
    layers = [{p for p in _places(t) if p.layer >= 0} for t in (a, b)]
    if not at or any(mine and mine <= {pair[side] for pair in links} for side, mine in enumerate(layers)):
        return ""
    towers = {p.tower for p in at if p.layer >= 0}
    if not towers:
        names = {p.component for p in at}
        return names.pop() if len(names) == 1 else "embedding" if names <= {"embedding", "head", "positions"} else ""
    both = {p.tower for p in layers[0]} & {p.tower for p in layers[1]}
    return f"{towers.pop()} tower" if len(towers) == 1 and both - towers else ""


def model_truth(toy: Toy) -> ModelTruth:
    """What one model alone could say."""
    layers: dict[str, set[tuple[str, int]]] = defaultdict(set)
    experts: dict[str, set[tuple[str, int, int]]] = defaultdict(set)
    for piece in toy.pieces.values():
        at = piece.place
        if piece.is_matrix and at.layer >= 0:
            for draw in piece.origin:
                layers[draw].add((at.tower, at.layer))
                if at.expert >= 0:
                    experts[draw].add((at.tower, at.layer, at.expert))
    done = frozenset(op for _, op in toy.steps)
    matrices = [p for p in toy.pieces.values() if p.values.ndim == 2 and p.values.dtype == np.float32 and p.place.layer >= 0]
    return ModelTruth(
        copied_layers=frozenset(frozenset(x) for x in layers.values() if len(x) > 1),
        copied_experts=frozenset(frozenset(x) for x in experts.values() if len(x) > 1),
        rounded=_rounded(toy, done),
        zeroed=any(_mostly(p.values == 0, 0.02) for p in toy.pieces.values() if p.is_matrix),
        low_rank=any(np.linalg.matrix_rank(p.values) <= min(p.values.shape) // 2 for p in matrices),
        new_rows=toy.new_rows,
        operations=done,
    )


def _rounded(toy: Toy, done: frozenset[str]) -> bool:
    """Values on a coarser grid than their number type: packed or rounded and left so, or a narrow
    type stored in a wide one.
    """
    if "quantised" in done:
        return "finetuned" not in done
    floats = [p.values for p in toy.pieces.values() if p.is_matrix and p.values.dtype == np.float32]
    return toy.dtype == "float32" and any(
        all(np.array_equal(v, v.astype(DTYPES[narrow]).astype(np.float32)) for v in floats) for narrow in ("bfloat16", "float16")
    )


def _mostly(found: Array, share: float) -> bool:
    return bool(np.mean(found) >= share)
