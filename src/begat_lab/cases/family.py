"""The truth about a grown family, in the same words as the small cases', read from its pedigree.

Enters: a folder grown by `begat-lab grow` (or part of one): `truth.json` of every member.  Leaves:
`Truth`s of pairs, which the same `checks/` judge.  No weight is looked at and no torch is needed:
every member becomes a `Toy` with one hollow matrix a place, whose origins follow from how its kind
is made (`_MADE`, one row a kind of `begat_lab.descent`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from begat_lab.cases.model import Piece, Toy, model_truth, pair_truth
from begat_lab.cases.truth import Place, Recipe, Truth

_HOLLOW = np.zeros((1, 1), np.float32)
#: noise beside the weights, and share of them set to zero, from which no test could be asked to see
#: the parent
_LOUD, _SPARSE = 2.0, 0.95
_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts")


@dataclass(frozen=True, slots=True)
class Grown:
    """A member: its toy, its folder, kind and facts; detectable: weights still show its parents."""

    toy: Toy
    folder: Path
    kind: str
    parents: tuple[str, ...]
    options: Mapping[str, Any]
    detectable: bool


def read_family(root: Path) -> dict[str, Grown]:
    """All finished members whose parents are finished, parents first."""
    truths = {p.parent.name: json.loads(p.read_text(encoding="utf-8")) for p in sorted(root.glob("*/truth.json"))}
    out: dict[str, Grown] = {}
    waiting = dict(truths)
    while ready := [n for n, t in waiting.items() if set(t["parents"]) <= out.keys()]:
        for name in ready:
            out[name] = _grown(name, waiting.pop(name), root / name, out)
    return out


def _grown(name: str, truth: Mapping[str, Any], folder: Path, family: Mapping[str, Grown]) -> Grown:
    options = truth["made_of"]["recipe"]["options"] or {}
    parents = [family[p] for p in truth["parents"]]
    make = _MADE[truth["kind"]]
    toy = make(name, truth, folder, [p.toy for p in parents])
    limit = {"noised": _LOUD, "prune-unstructured": _SPARSE}.get(truth["kind"])
    seen = all(p.detectable for p in parents) and (limit is None or float(options["share"]) < limit)
    return Grown(toy, folder, truth["kind"], tuple(truth["parents"]), options, seen)


def truth_of_pair(a: str, b: str, family: Mapping[str, Grown]) -> Truth:
    """The truth about two members; as for cases the first is "a", the second "b"."""
    x, y = family[a], family[b]
    seen = x.detectable and y.detectable
    pairs = {("a", "b"): pair_truth(x.toy, y.toy, seen, hollow=True), ("b", "a"): pair_truth(y.toy, x.toy, seen, hollow=True)}
    recipes = {"b": _recipe(y, ("a",))} if y.kind.startswith("merge") else {}
    return Truth({"a": model_truth(x.toy), "b": model_truth(y.toy)}, pairs, recipes)


def _recipe(member: Grown, parents: tuple[str, ...]) -> Recipe:
    return Recipe(frozenset({"partial", "unexplained", "linear"}), parents, whole=False)


# --- what every kind makes -------------------------------------------------------------------

_Make = Callable[[str, Mapping[str, Any], Path, list[Toy]], Toy]


def _scratch(name: str, truth: Mapping[str, Any], folder: Path, parents: list[Toy]) -> Toy:
    """Its own draw; one draw for all that were grown from one seed."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    seed = truth["seeds"]["initial_seed"]
    layers = int(config.get("num_hidden_layers") or config.get("n_layer") or 0)
    places = [Place("text", -1, component="embedding"), *(Place("text", i) for i in range(layers))]
    if not config.get("tie_word_embeddings", True):
        places.append(Place("text", -1, component="head"))
    experts = int(next((config[k] for k in _EXPERTS if k in config), 0))
    places += [Place("text", i, e) for i in range(layers) for e in range(experts)]
    pieces = {
        str(p): Piece(_HOLLOW, p, ("token" if p.component else "unit", "residual"), frozenset({f"{seed}:{p}"})) for p in places
    }
    start = Toy(pieces, config, ("text",), frozenset(), dtype="float32").derive("initialised", key=(seed, str(places)))
    return start.derive("trained", start.map(lambda n, p: replace(p, origin=p.origin | {f"{name}:{n}"})), key=name)


def _as(operation: str) -> _Make:
    """All of the parent, changed in place."""

    def make(name: str, truth: Mapping[str, Any], folder: Path, parents: list[Toy]) -> Toy:
        return parents[0].derive(operation, None, *parents[1:], key=name)

    return make


def _merged(name: str, truth: Mapping[str, Any], folder: Path, parents: list[Toy]) -> Toy:
    def mix(tensor: str, piece: Piece) -> Piece:
        return replace(piece, origin=frozenset().union(*(p.pieces[tensor].origin for p in parents)))

    return parents[0].derive("merged", parents[0].map(mix), *parents[1:], key=name)


def _layers(operation: str) -> _Make:
    def make(name: str, truth: Mapping[str, Any], folder: Path, parents: list[Toy]) -> Toy:
        parent, order = parents[0], truth["details"]["layers"]
        out = {n: p for n, p in parent.pieces.items() if p.place.layer < 0}
        for new, old in enumerate(order):
            for piece in parent.at("text", old).values():
                place = replace(piece.place, layer=new)
                out[str(place)] = replace(piece, place=place)
        return parent.derive(operation, out, key=name)

    return make


def _stitched(name: str, truth: Mapping[str, Any], folder: Path, parents: list[Toy]) -> Toy:
    taken = set(truth["details"]["layers_of_second"])
    pieces = {n: parents[1].pieces[n] if p.place.layer in taken else p for n, p in parents[0].pieces.items()}
    return parents[0].derive("layers-replaced", pieces, parents[1], key=name)


def _new_tokens(name: str, truth: Mapping[str, Any], folder: Path, parents: list[Toy]) -> Toy:
    """The tables drawn anew, and then trained: all else is the parent's."""
    pieces = parents[0].map(lambda n, p: replace(p, origin=frozenset({f"{name}:{n}"})), lambda n, p: p.axes[0] == "token")
    fresh = parents[0].derive("embedding-replaced", pieces, key=name)
    return fresh.derive("trained-in-part" if truth["made_of"]["recipe"]["options"].get("frozen") else "finetuned", key=name)


def _tower(name: str, truth: Mapping[str, Any], folder: Path, parents: list[Toy]) -> Toy:
    eyes = {
        f"eyes {i}": Piece(_HOLLOW, Place("vision", i), ("unit", "residual"), frozenset({f"{name}:eyes{i}"})) for i in range(2)
    }
    return parents[0].derive("tower-added", dict(parents[0].pieces) | eyes, key=name, towers=("text", "vision"))


def _upcycled(operation: str) -> _Make:
    """The MLP of a layer in every expert of it."""

    def make(name: str, truth: Mapping[str, Any], folder: Path, parents: list[Toy]) -> Toy:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        experts = int(next(config[k] for k in _EXPERTS if k in config))
        out = dict(parents[0].pieces)
        for piece in parents[0].pieces.values():
            if piece.place.layer >= 0:
                out |= {str(at): replace(piece, place=at) for at in (replace(piece.place, expert=e) for e in range(experts))}
        return parents[0].derive(operation, out, key=name)

    return make


def _disguised(name: str, truth: Mapping[str, Any], folder: Path, parents: list[Toy]) -> Toy:
    out = parents[0]
    for way in truth["made_of"]["recipe"]["options"]["disguises"]:
        out = out.derive(_DISGUISES[way], key=name)
    return out


_DISGUISES = {
    "residual-permutation": "residual-turned", "residual-rotation": "residual-turned", "unit-permutation": "units-reordered",
    "head-transform": "heads-reordered", "head-permutation": "heads-reordered", "gain-folding": "units-rescaled", "scaling-pairs": "units-rescaled",
}  # fmt: skip
#: kind of `begat_lab.descent` → what it makes; a test holds that every kind has a row
_MADE: dict[str, _Make] = {
    "scratch": _scratch,
    "distilled": _scratch,
    "fine-tune": _as("finetuned"),
    "continued": _as("finetuned"),
    "noised": _as("noised"),
    "lora": _as("low-rank-added"),
    "lora-merged": _as("low-rank-added"),
    "copied": _as("cast"),
    "int8": _as("quantised"),
    "fp8": _as("quantised"),
    "four-bit": _as("quantised"),
    "gguf": _as("quantised"),
    "gptq": _as("quantised"),
    "awq": _as("quantised"),
    "prune-unstructured": _as("zeroed"),
    "prune-width": _as("units-left-out"),
    "prune-depth": _layers("layers-left-out"),
    "up-scale": _layers("layers-repeated"),
    "upcycled": _upcycled("upcycled"),
    "upcycled-split": _upcycled("upcycled"),
    "upcycled-moge": _upcycled("upcycled"),
    "vocabulary-extended": _as("vocabulary-extended"),
    "vocabulary-pruned": _as("vocabulary-pruned"),
    "vocabulary-replaced": _new_tokens,
    "tower": _tower,
    "merge-linear": _merged,
    "merge-slerp": _merged,
    "merge-ties": _merged,
    "merge-dare": _merged,
    "stitched": _stitched,
    "disguised": _disguised,
}
