"""Every route of alignment: exact under the null that all features are shared and only orders were redrawn, and able to find its disguise."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import begat
from begat.canon.resolve import resolve
from begat.pipeline.routes import ROUTES, Context
from builders import Tensors, llama, noisy, reordered_units, write
from disguises import (
    MIXTURE,
    mixture,
    narrowed,
    new_embeddings,
    permutation,
    reordered_experts,
    reordered_heads,
    reordered_inside,
    rotation,
    some_layers,
    strangers_twin,
    turned,
)

SHAPE: dict[str, Any] = {"hidden_size": 48, "num_hidden_layers": 3, "intermediate_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2,
                         "head_dim": 12, "vocab_size": 120}  # fmt: skip
Change = Callable[[Tensors, dict[str, Any], np.random.Generator], Tensors]

#: route → how a stranger is brought into the shape that the route looks at
NULLS: dict[str, Change] = {
    "same-basis": lambda w, c, rng: some_layers(reordered_heads(reordered_units(w, rng), c, rng), [0, 2]),
    "embedding": strangers_twin,
    "expert-orders": lambda w, c, rng: reordered_experts(reordered_inside(w, rng), rng),
    "subset": lambda w, c, rng: narrowed(reordered_units(w, rng), rng, 40),
    "layer-units": strangers_twin,
    "residual-columns": strangers_twin,
}
#: route → the disguise it must see through
CHILDREN: dict[str, Change] = {
    "same-basis": lambda w, c, rng: some_layers(noisy(w, rng, 0.3), [0, 2]),
    "embedding": lambda w, c, rng: turned(noisy(w, rng, 0.3), rotation(rng, 48)),
    "expert-orders": lambda w, c, rng: reordered_experts(noisy(w, rng, 0.3), rng),
    "subset": lambda w, c, rng: narrowed(noisy(w, rng, 0.3), rng, 40),
    "layer-units": lambda w, c, rng: new_embeddings(turned(noisy(w, rng, 0.3), rotation(rng, 48)), rng),
    "residual-columns": lambda w, c, rng: new_embeddings(reordered_units(noisy(w, rng, 0.3), rng), rng),
}


def _drawn(name: str, rng: np.random.Generator) -> tuple[Tensors, dict[str, Any]]:
    """A model of the kind that a route looks at."""
    w, c = llama(rng, **SHAPE)
    return (mixture(rng, SHAPE), c | MIXTURE) if name == "expert-orders" else (w, c)


def _run(name: str, folder: Path, a: Tensors, b: Tensors, config: dict[str, Any], seed: int) -> float | None:
    changed = config | {"num_hidden_layers": len({n.split(".")[2] for n in b if ".layers." in n})}
    models = [resolve(begat.open_checkpoint(write(folder / side, w, c))) for side, w, c in (("a", a, config), ("b", b, changed))]
    result = ROUTES[name].run(Context(*models, seed))
    assert (result.log10_e is None) == (result.not_run is not None)
    return result.log10_e


def test_every_route_is_tried() -> None:
    assert set(ROUTES) == set(NULLS) == set(CHILDREN)


@pytest.mark.parametrize("name", list(ROUTES))
def test_orders_redrawn_are_no_evidence(name: str, tmp_path: Path) -> None:
    """E[e] <= 1 when A and B share all features and nothing of their orders."""
    rng = np.random.default_rng(7)
    logs = []
    for draw in range(60):
        w, c = _drawn(name, rng)
        found = _run(name, tmp_path, w, NULLS[name](w, c, rng), c, draw)
        assert found is not None
        logs.append(found)
    assert max(logs) < 3  # 60 draws reach 10^3 with probability at most 0.06
    assert np.mean([10**x for x in logs]) < 2.5
    assert np.median(logs) < 0.3


@pytest.mark.parametrize("name", list(ROUTES))
def test_the_disguise_is_seen_through(name: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    w, c = _drawn(name, rng)
    found = _run(name, tmp_path, w, CHILDREN[name](w, c, rng), c, 1)
    assert found is not None and found > 12


@pytest.mark.parametrize("name", list(ROUTES))
def test_strangers_with_copied_layers(name: str, tmp_path: Path) -> None:
    """One lottery stored six times in both is counted once."""
    rng = np.random.default_rng(9)
    logs = []
    for draw in range(30):
        pair = []
        for _ in "ab":
            w, c = _drawn(name, rng)
            pair.append(noisy(some_layers(w, [0] * 6), rng, 0.02))
        if name == "same-basis":
            pair[1] = some_layers(pair[1], [0, 1, 2, 3, 4])
        if name == "subset":
            pair[1] = narrowed(pair[1], rng, 40)
        found = _run(name, tmp_path, *pair, c | {"num_hidden_layers": 6}, draw)
        assert found is not None
        logs.append(found)
    assert max(logs) < 3
    assert math.log10(np.mean([10**x for x in logs])) < 0.7


def test_a_route_that_cannot_run_says_why(tmp_path: Path) -> None:
    rng = np.random.default_rng(10)
    w, c = llama(rng, **SHAPE)
    assert _run("subset", tmp_path, w, noisy(w, rng, 0.1), c, 0) is None


#: routes that look for layers at other places of equally deep models, and the disguise each sees through
MOVED: dict[str, Change] = {
    "same-basis": lambda w, c, rng: w,
    "embedding": lambda w, c, rng: turned(w, rotation(rng, 48)),
    "layer-units": lambda w, c, rng: new_embeddings(turned(w, rotation(rng, 48)), rng),
    "residual-columns": lambda w, c, rng: new_embeddings(reordered_units(w, rng), rng),
}


@pytest.mark.parametrize("order", [[2, 0, 1], [0, 0, 1], [2, 1, 0]])
@pytest.mark.parametrize("name", list(MOVED))
def test_layers_are_found_wherever_they_stand(name: str, order: list[int], tmp_path: Path) -> None:
    rng = np.random.default_rng(12)
    w, c = llama(rng, **SHAPE)
    found = _run(name, tmp_path, w, MOVED[name](some_layers(noisy(w, rng, 0.1), order), c, rng), c, 1)
    assert found is not None and found > 12


@pytest.mark.parametrize("units", [64, 136])  # from 128 on the layer that a map was fitted on is tested too
@pytest.mark.parametrize("name", list(MOVED))
def test_a_search_over_layers_is_paid_for(name: str, units: int, tmp_path: Path) -> None:
    """E[e] <= 1 when A and B share all features, layers are put elsewhere, and no order is shared."""
    rng = np.random.default_rng(13)
    logs = []
    for draw in range(40):
        w, c = llama(rng, **SHAPE | {"intermediate_size": units, "hidden_size": 32, "head_dim": 8})
        order = [[2, 0, 1], [0, 0, 1], [2, 1, 0], [1, 1, 1]][draw % 4]
        found = _run(name, tmp_path, w, strangers_twin(some_layers(w, order), c, rng), c, draw)
        logs.append(found or 0.0)
    assert max(logs) < 3
    assert np.mean([10**x for x in logs]) < 2.5


@pytest.mark.parametrize("turn", [rotation, permutation])
def test_the_whole_comparison_sees_a_rotated_child_and_no_stranger(turn: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(11)
    w, c = llama(rng, **SHAPE)
    a = write(tmp_path / "a", w, c)
    child = begat.compare(a, write(tmp_path / "b", turned(noisy(w, rng, 0.3), turn(rng, 48)), c))
    assert child.verdict == "derived-or-shared-initialisation"
    assert child.log10_e is not None and child.log10_e > 12
    assert child.alignment is not None
    assert [(m.layer_b, m.layer_a) for m in child.alignment.layers] == [(0, 0), (1, 1), (2, 2)]
    stranger = begat.compare(a, write(tmp_path / "c", turned(llama(rng, **SHAPE)[0], turn(rng, 48)), c))
    assert stranger.verdict == "no-evidence"
    assert stranger.log10_e is not None and stranger.log10_e < 2
