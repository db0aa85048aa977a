"""One contract for every method: self > child > stranger, symmetric or not as it says, a reason instead of a crash, honest p-values."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("scipy", reason="the lab needs scipy: pip install begat[lab]")

from begat_lab.methods import METHODS, Method, Model, Score
from builders import noisy, reordered_units
from lab.methods.toys import SIZES, folded, opened, permuted, rotated, weights

NAMES = list(METHODS)
DISGUISES = {"mlp-permutation": reordered_units, "residual-permutation": permuted, "residual-rotation": rotated}


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Model]:
    """The models of the contract, opened once."""
    root = tmp_path_factory.mktemp("methods")
    parent = weights(0)
    child = noisy(parent, np.random.default_rng(1), 0.2)
    zeros = {n: np.zeros_like(w) for n, w in parent.items()}
    broken = {n: np.full_like(w, np.nan) for n, w in parent.items()}
    models = {
        "parent": parent, "copy": parent, "child": child, "stranger": weights(2),
        "folded parent": folded(parent), "zeros": zeros, "broken": broken,
    }  # fmt: skip
    models |= {name: change(child, np.random.default_rng(3)) for name, change in DISGUISES.items()}
    pool = {name: opened(root / name.replace(" ", "-"), w) for name, w in models.items()}
    for key, size in {"hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 3, "vocab_size": 150}.items():
        pool[key] = opened(root / key, weights(4, **{key: size}), **{key: size})
    tables = {n: w for n, w in parent.items() if ".layers." not in n}
    trunk = {n: w for n, w in parent.items() if ".layers." in n}
    wide = trunk | {"model.embed_tokens.weight": np.ones((160, 32), np.float32), "model.norm.weight": parent["model.norm.weight"]}
    halved = {n: w[:40] if n.endswith("q_proj.weight") else w for n, w in parent.items()}
    attention_only = {n: w for n, w in parent.items() if ".mlp." not in n}
    odd = {"tables": tables, "trunk": trunk, "other embedding width": wide, "odd heads": halved, "attention only": attention_only}
    odd["one tensor"] = {"fc.weight": np.eye(5, dtype=np.float32)}
    pool |= {name: opened(root / f"odd {i}", w) for i, (name, w) in enumerate(odd.items())}
    pool["one layer"] = opened(root / "one", weights(4, num_hidden_layers=1), num_hidden_layers=1)
    return pool


def method(name: str) -> Method:
    if METHODS[name].needs == "forward":
        pytest.importorskip("torch", reason="the lab needs torch: pip install begat[lab]")
    return METHODS[name]


def value(name: str, a: Model, b: Model) -> float:
    score = method(name).score(a, b)
    assert score.value is not None, score.reason
    turned = method(name).relatedness(score)
    assert turned is not None
    return turned


@pytest.mark.parametrize("name", NAMES)
def test_itself_first_then_the_child_then_the_stranger(name: str, pool: dict[str, Model]) -> None:
    itself, child, stranger = (value(name, pool["parent"], pool[b]) for b in ("copy", "child", "stranger"))
    assert itself >= child
    assert itself >= stranger
    if METHODS[name].sees_noise:
        assert child > stranger


@pytest.mark.parametrize("name", NAMES)
def test_it_is_deterministic_and_symmetric_where_it_says_so(name: str, pool: dict[str, Model]) -> None:
    a, b = pool["parent"], pool["child"]
    assert value(name, a, b) == value(name, a, b)
    if METHODS[name].symmetric:
        assert value(name, a, b) == pytest.approx(value(name, b, a), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("other", ["hidden_size", "intermediate_size", "num_hidden_layers", "vocab_size", "one layer", "zeros", "broken",
                                   "tables", "trunk", "other embedding width", "odd heads", "attention only", "one tensor"])  # fmt: skip
@pytest.mark.parametrize("name", NAMES)
def test_what_cannot_be_compared_gets_a_reason(name: str, other: str, pool: dict[str, Model]) -> None:
    for a, b in (("parent", other), (other, "parent"), (other, other)):
        score = method(name).score(pool[a], pool[b])
        assert (score.value is None) == bool(score.reason)
        if other == "broken" and name != "begat-exact":
            assert score.reason


@pytest.mark.parametrize("name", [n for n in NAMES if METHODS[n].equal_shape])
def test_unequal_width_gets_a_reason_where_equal_shapes_are_needed(name: str, pool: dict[str, Model]) -> None:
    assert len(method(name).score(pool["parent"], pool["hidden_size"]).reason) > 10


@pytest.mark.parametrize(("name", "change"), [(n, c) for n in NAMES for c in sorted(METHODS[n].survives)])
def test_claimed_invariances(name: str, change: str, pool: dict[str, Model]) -> None:
    """The disguised child scores as the child does (rotation moves gains, so there the plain parent has its gains moved, too)."""
    parent = pool["folded parent" if change == "residual-rotation" else "parent"]
    stranger = value(name, parent, pool["stranger"])
    disguised, plain = value(name, parent, pool[change]), value(name, parent, pool["child"])
    if METHODS[name].sees_noise:
        assert disguised > stranger
    if change != "residual-rotation" and name != "mdir":
        assert disguised == pytest.approx(plain, rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("name", [n for n in NAMES if METHODS[n].p_value])
def test_p_values_are_honest_among_random_strangers(name: str, tmp_path: Path) -> None:
    """Over independent pairs P(p <= α) <= α, with room for 60 draws; nearly uniform where the p is no bound."""
    small = SIZES | {"num_hidden_layers": 2, "intermediate_size": 48, "hidden_size": 32}
    pairs = []
    for i in range(60):
        a, b = (opened(tmp_path / f"{i}{s}", weights(1000 + 2 * i + s, **small), **small) for s in (0, 1))
        score = method(name).score(a, b)
        assert score.value is not None, score.reason
        pairs.append(10.0 ** -max(score.value, 0.0))
        a.close(), b.close()
    p = np.sort(pairs)
    above = (np.arange(1, 61) / 60 - p).max()  # Kolmogorov-Smirnov, one-sided: too many small p
    assert above < 0.2  # P = exp(-2 * 60 * 0.2²) < 1 %
    if name not in ("mdir", "begat-exact"):
        assert (p - np.arange(60) / 60).max() < 0.2


@pytest.mark.parametrize("name", [n for n in NAMES if METHODS[n].p_value])
def test_nothing_is_no_evidence(name: str, pool: dict[str, Model], tmp_path: Path) -> None:
    """Two models of zeros agree in every unit, and it says nothing: ties must not count as an order that was kept."""
    other = opened(tmp_path / "zeros", {n: np.zeros_like(w) for n, w in weights(0).items()})
    for a in ("zeros", "parent"):
        assert (method(name).score(pool[a], other).value or 0.0) < 4


@pytest.mark.parametrize("name", NAMES)
def test_it_names_its_paper(name: str) -> None:
    one = METHODS[name]
    assert one.title and one.paper
    assert one.needs in ("weights", "forward")


def test_forward_methods_say_when_they_cannot_run(pool: dict[str, Model]) -> None:
    silent = copy.copy(pool["parent"])
    silent.__dict__.pop("can_run", None), silent.__dict__.pop("why_not_run", None)
    silent.probe_NT = None
    for name in (n for n in NAMES if METHODS[n].needs == "forward"):
        assert "probe" in METHODS[name].score(silent, pool["child"]).reason


@pytest.mark.parametrize("make", [lambda: Score(None), lambda: Score(1.0, "why"), lambda: Score(math.nan), lambda: Score(math.inf)])
def test_a_score_is_a_finite_value_or_a_reason(make: Callable[[], Score]) -> None:
    with pytest.raises(ValueError, match="finite value or a reason"):
        make()


def test_every_pair_of_names_differs() -> None:
    assert all(METHODS[a].title != METHODS[b].title for a, b in itertools.combinations(NAMES, 2))
