"""Merges, by layer and in arcs, low-rank additions, a direction taken out; with recipes, and models
that form families.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from begat_lab.cases.architectures import llama
from begat_lab.cases.edits import merging as edit
from begat_lab.cases.edits.training import finetuned
from begat_lab.cases.model import Piece, Toy
from begat_lab.cases.registry import STRANGER, Case, Scene, pairs, situation
from begat_lab.cases.truth import Recipe

_SIZES: dict[str, Any] = {"layers": 6, "units": 128, "dtype": "float32"}
_ASKED = ("compare", "decompose")


def _depth(piece: Piece) -> float:
    return piece.place.layer / 5 if piece.place.layer >= 0 else 0.5


def _opposite(name: str, piece: Piece) -> tuple[float, float]:
    up = 0.1 + 0.8 * _depth(piece)
    t = up if piece.group == "attention" else 1 - up if piece.group == "MLP" else 0.5
    return 1 - t, t


def _gradient(name: str, piece: Piece) -> tuple[float, float]:
    return 1 - _depth(piece), _depth(piece)


def _thirds(name: str, piece: Piece) -> tuple[float, ...]:
    return 0.5, 0.3, 0.2


def _steps(name: str, piece: Piece) -> tuple[float, float]:
    return (0.8, 0.2) if 0 <= piece.place.layer < 3 else (0.3, 0.7)


def _family(seed: int) -> tuple[Toy, Toy, Toy, Toy]:
    base = llama(seed, **_SIZES)
    return base, *(finetuned(base, seed + i, 0.12) for i in (1, 2, 3))  # type: ignore[return-value]


def _weights(toy: Toy, shares: edit.Shares, names: tuple[str, ...]) -> Mapping[tuple[str, str, int, str], float]:
    return {
        (who, p.place.tower, p.place.layer, p.group): c
        for n, p in toy.pieces.items()
        if p.is_matrix
        for who, c in zip(names, shares(n, p), strict=True)
    }


@situation("merges")
def build() -> Iterator[Case]:
    """Two or three tuned models of one base, merged; each against its parents, and against parents
    that it does not have.
    """
    for i, (name, about, shares, varies) in enumerate(_curves()):
        for stranger in (False, True):
            yield Case(
                f"merges/{name}{STRANGER if stranger else ''}",
                "merges",
                about,
                _ASKED,
                partial(_linear, 1600 + 10 * i, shares, varies, stranger),
            )
    for i, (name, about, shares, varies) in enumerate(_curves()[:2] + _curves()[3:4]):
        yield Case(
            f"merges/slerp-{name}", "merges", about + ", on the arc", _ASKED, partial(_slerp, 1650 + 10 * i, shares, varies)
        )
    yield Case("merges/three", "merges", "three tuned models merged", _ASKED, partial(_three, 1680))
    yield Case("merges/task-arithmetic", "merges", "two tuned models added to their base", _ASKED, partial(_tasks, 1690))
    ways: tuple[tuple[str, str, Callable[[Toy], Toy]], ...] = (
        ("low-rank", "a LoRA adapter of rank 4 merged", lambda t: edit.low_rank(t, 1, 4)),
        (
            "low-rank-everywhere",
            "a LoRA adapter of rank 8 on every projection merged",
            lambda t: edit.low_rank(t, 2, 8, ends=("_proj.weight",)),
        ),
        ("direction-removed", "one direction of the residual stream taken out", lambda t: edit.direction_removed(t, 3)),
    )
    for name, about, child in ways:
        for dtype in ("float32", "bfloat16"):
            sizes = _SIZES | {"dtype": dtype, "layers": 3}
            yield from pairs(f"merges/{name}-{dtype}", about, partial(llama, 1700, **sizes), child, partial(llama, 1701, **sizes))


def _curves() -> list[tuple[str, str, edit.Shares, bool]]:
    return [
        ("even", "two tuned models, 0.6 and 0.4 everywhere", lambda n, p: (0.6, 0.4), False),
        ("gradient", "from the one to the other over the layers", _gradient, True),
        ("steps", "mostly the one below, mostly the other above", _steps, True),
        ("opposite", "attention and MLP on opposite curves", _opposite, True),
    ]


def _recipe(
    methods: set[str], child: Toy, shares: edit.Shares, names: tuple[str, ...], varies: bool, base: str | None = None
) -> dict[str, Recipe]:
    return {"b": Recipe(frozenset(methods), names, base, _weights(child, shares, names), varies)}


#: names for merges whose shares vary: whatever says so
_VARYING = {"linear", "slerp", "linear-by-layer", "slerp-by-layer", "merge-by-layer", "by-layer", "gradient", "stitched"}


def _linear(seed: int, shares: edit.Shares, varies: bool, stranger: bool) -> Scene:
    _, p1, p2, _ = _family(seed)
    child = edit.linear((p1, p2), shares)
    if stranger:
        _, q1, q2, _ = _family(seed + 5)
        return Scene(
            {"a": q1, "b": child, "other": q2}, recipes={"b": Recipe(frozenset({"unexplained"}), ("a", "other"), whole=False)}
        )
    methods = _VARYING - {"stitched"} if varies else {"linear"}
    return Scene({"a": p1, "b": child, "other": p2}, recipes=_recipe(methods, child, shares, ("a", "other"), varies))


def _slerp(seed: int, shares: edit.Shares, varies: bool) -> Scene:
    _, p1, p2, _ = _family(seed)
    child = edit.slerp(p1, p2, shares)
    return Scene(
        {"a": p1, "b": child, "other": p2},
        recipes=_recipe(_VARYING - {"stitched"} if varies else {"slerp", "linear"}, child, shares, ("a", "other"), varies),
    )


def _three(seed: int) -> Scene:
    _, *tuned = _family(seed)
    child = edit.linear(tuned, _thirds)
    names = ("a", "other", "third")
    return Scene(
        {"a": tuned[0], "b": child, "other": tuned[1], "third": tuned[2]},
        recipes=_recipe({"linear"}, child, _thirds, names, False),
    )


def _tasks(seed: int) -> Scene:
    base, p1, p2, _ = _family(seed)
    child = edit.task_arithmetic(base, (p1, p2), (0.7, 0.5))
    names = ("a", "other")
    return Scene(
        {"a": p1, "b": child, "other": p2, "base": base},
        recipes=_recipe({"task-arithmetic"}, child, lambda n, p: (0.7, 0.5), names, False, "base"),
    )
