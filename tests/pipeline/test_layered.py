"""Merges whose weights vary by layer or by group, in 16 bits too; and what only resembles one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import begat
from begat.pipeline.claims import claims_of_decomposition
from begat.recipes import Decomposition
from builders import BF16, Tensors, llama, noisy, write

RNG = np.random.default_rng(31)
BASE, CONFIG = llama(RNG)
ONE, TWO, THREE = (noisy(BASE, RNG, 0.1) for _ in range(3))
Share = Callable[[str], float]


def depth(name: str) -> float:
    return int(name.split(".")[2]) / 4 if ".layers." in name else 0.5


def linear(share: Share, first: Tensors = ONE, second: Tensors = TWO) -> Tensors:
    return {n: ((1 - share(n)) * w + share(n) * second[n]).astype(np.float32) for n, w in first.items()}


def slerp(share: Share) -> Tensors:
    out = {}
    for n, w in ONE.items():
        x, y = w.ravel().astype(float), TWO[n].ravel().astype(float)
        angle, t = np.arccos(x @ y / np.linalg.norm(x) / np.linalg.norm(y)), share(n)
        out[n] = ((np.sin((1 - t) * angle) * w + np.sin(t * angle) * TWO[n]) / np.sin(angle)).astype(np.float32)
    return out


def ask(folder: Path, child: Tensors, parents: list[Tensors], base: Tensors | None = None, dtype: Any = None) -> Decomposition:
    paths = [write(folder / f"p{i}", p, CONFIG, dtype) for i, p in enumerate(parents)]
    under = None if base is None else write(folder / "base", base, CONFIG, dtype)
    return begat.decompose(write(folder / "child", child, CONFIG, dtype), paths, base=under)


def opposite(name: str) -> float:
    return 0.2 + 0.6 * depth(name) if "self_attn" in name else 0.8 - 0.6 * depth(name) if "mlp" in name else 0.5


VARYING: dict[str, Share] = {
    "gradient": depth,
    "backwards": lambda n: 1 - depth(n),
    "steps": lambda n: 0.2 if depth(n) < 0.5 else 0.7,
    "one layer": lambda n: 0.9 if ".layers.2." in n else 0.3,
    "by group": lambda n: 0.7 if "self_attn" in n else 0.3,
    "opposite": opposite,
    "embeddings apart": lambda n: 0.9 if ".layers." not in n else 0.4,
}


@pytest.mark.parametrize("how", [linear, slerp])
@pytest.mark.parametrize("name", VARYING)
def test_weights_that_vary_are_found_where_they_lie(name: str, how: Callable[[Share], Tensors], tmp_path: Path) -> None:
    found = ask(tmp_path, how(VARYING[name]), [ONE, TWO])
    assert found.method == "layered"
    assert "not given" not in found.sentence
    assert "embedding" in found.sentence
    assert [c.about for c in claims_of_decomposition(found)] == ["recipe"]  # no one number is claimed
    places = {"attention": "self_attn.q", "MLP": "mlp.up", "embedding": "embed_tokens", "output head": "lm_head"}
    for part in found.parts:
        if part.group in places:
            tensor = next(n for n in BASE if places[part.group] in n and (part.layer < 0 or f".layers.{part.layer}." in n))
            assert part.coefficients[1].value == pytest.approx(VARYING[name](tensor), abs=0.02)


def test_stored_in_sixteen_bits(tmp_path: Path) -> None:
    one, two = ({n: w.astype(BF16).astype(np.float32) for n, w in m.items()} for m in (ONE, TWO))
    assert ask(tmp_path, linear(depth, one, two), [one, two], dtype=BF16).method == "layered"


def test_with_a_base(tmp_path: Path) -> None:
    child = {n: (w + depth(n) * (ONE[n] - w) + 0.4 * (TWO[n] - w)).astype(np.float32) for n, w in BASE.items()}
    found = ask(tmp_path, child, [ONE, TWO], BASE)
    assert found.method == "layered"
    assert "0.00 in layer 0" in found.sentence


def test_three_parents(tmp_path: Path) -> None:
    child = {n: (0.5 * ONE[n] + 0.5 * depth(n) * TWO[n] + 0.5 * (1 - depth(n)) * THREE[n]).astype(np.float32) for n in BASE}
    assert ask(tmp_path, child, [ONE, TWO, THREE]).method == "layered"


@pytest.mark.parametrize(
    ("child", "method"),
    [
        (linear(lambda n: 0.4), "linear"),
        (slerp(lambda n: 0.4), "slerp"),
        (noisy(linear(depth), RNG, 0.1), "partial"),  # and trained on
        (noisy(ONE, RNG, 0.1), "partial"),  # of one parent
        (noisy(ONE, RNG, 0.002), "partial"),  # of one parent, hardly moved
        ({n: THREE[n] if ".layers.3." in n else w for n, w in linear(depth).items()}, "partial"),  # a layer of neither
        ({n: TWO[n] if depth(n) > 0.5 else w for n, w in ONE.items()}, "stitched"),
        (llama(RNG)[0], "unexplained"),
    ],
)
def test_what_only_resembles_one(child: Tensors, method: str, tmp_path: Path) -> None:
    assert ask(tmp_path, child, [ONE, TWO]).method == method


def _some(model: Tensors, order: list[int]) -> Tensors:
    out = {n: w for n, w in model.items() if ".layers." not in n}
    for new, old in enumerate(order):
        out |= {n.replace(f".layers.{old}.", f".layers.{new}."): w for n, w in model.items() if f".layers.{old}." in n}
    return out


@pytest.mark.parametrize(
    "order", [[0, 1, 3, 4], [1, 2, 3, 4], [0, 1, 2, 3], [0, 1, 2, 1, 2, 3, 4], [0, 1, 1, 3, 4], [4, 3, 2, 1, 0]]
)
def test_some_of_the_layers_are_no_copy(order: list[int], tmp_path: Path) -> None:
    config = CONFIG | {"num_hidden_layers": len(order)}
    child = write(tmp_path / "child", _some(BASE, order), config)
    found = begat.decompose(child, [write(tmp_path / "parent", BASE, CONFIG)])
    assert found.method in ("stitched", "linear")
    assert "every compared matrix is equal" not in found.sentence


def test_all_of_them_are_a_copy(tmp_path: Path) -> None:
    assert ask(tmp_path, BASE, [BASE]).method == "copy"


def test_one_direction_taken_out_is_not_only_called_an_adapter(tmp_path: Path) -> None:
    direction = RNG.standard_normal(CONFIG["hidden_size"])
    direction /= np.linalg.norm(direction)
    writes = ("o_proj.weight", "down_proj.weight")
    child = {n: (w - np.outer(direction, direction @ w)).astype(np.float32) if n.endswith(writes) else w for n, w in BASE.items()}
    found = ask(tmp_path, child, [BASE])
    assert found.method == "low-rank"
    assert "one direction taken out" in found.sentence
