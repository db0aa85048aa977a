"""The truth about grown families: every kind of descent has a row, and the shipped pedigrees' relations agree with `kinship`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from begat_lab.cases.family import _MADE, read_family, truth_of_pair


def _member(
    root: Path, name: str, kind: str, parents: tuple[str, ...] = (), seed: int | None = None, options: Any = None, **details: Any
) -> None:
    folder = root / name
    folder.mkdir()
    config = (
        {"num_hidden_layers": 3, "tie_word_embeddings": True, "num_local_experts": 2}
        if kind.startswith("up")
        else {"num_hidden_layers": 3}
    )
    (folder / "config.json").write_text(json.dumps(config))
    recipe = {"options": options}
    seeds = {} if seed is None else {"initial_seed": seed}
    truth = {"name": name, "kind": kind, "parents": parents, "seeds": seeds, "details": details, "made_of": {"recipe": recipe}}
    (folder / "truth.json").write_text(json.dumps(truth))


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Any:
    root = tmp_path_factory.mktemp("family")
    _member(root, "one", "scratch", seed=1)
    _member(root, "twin", "scratch", seed=1)
    _member(root, "two", "scratch", seed=2)
    _member(root, "taught", "distilled", ("one",), seed=3)
    _member(root, "tuned", "fine-tune", ("one",))
    _member(root, "sibling", "fine-tune", ("one",))
    _member(root, "int8", "int8", ("tuned",))
    _member(root, "shallow", "prune-depth", ("tuned",), layers=[0, 2])
    _member(root, "stitched", "stitched", ("one", "two"), layers_of_second=[1])
    _member(root, "faint", "noised", ("one",), options={"share": 0.5})
    _member(root, "loud", "noised", ("one",), options={"share": 16.0})
    _member(root, "merged", "merge-linear", ("tuned", "sibling"))
    _member(root, "upcycled", "upcycled", ("one",))
    _member(root, "hidden", "disguised", ("tuned",), options={"disguises": ["unit-permutation"]})
    _member(root, "waiting", "fine-tune", ("not grown yet",))
    return read_family(root)


def test_members_whose_parents_are_missing_wait(family: Any) -> None:
    assert "waiting" not in family
    assert len(family) == 14


@pytest.mark.parametrize(
    ("a", "b", "relation", "direction"),
    [
        ("one", "tuned", "descended", "A → B"),
        ("int8", "one", "descended", "B → A"),
        ("tuned", "int8", "re-encoded", "A → B"),
        ("tuned", "sibling", "common-ancestor", ""),
        ("one", "twin", "shared-initialisation", ""),
        ("twin", "tuned", "shared-initialisation", ""),
        ("one", "two", "independent", ""),
        ("one", "taught", "independent", ""),
        ("sibling", "merged", "descended", "A → B"),
        ("stitched", "two", "descended", "B → A"),
        ("shallow", "twin", "shared-initialisation", ""),
    ],
)
def test_relations(family: Any, a: str, b: str, relation: str, direction: str) -> None:
    pair = truth_of_pair(a, b, family).pairs["a", "b"]
    assert (pair.relation, pair.direction) == (relation, direction)
    assert bool(pair.links) == (relation != "independent")


def test_places(family: Any) -> None:
    def links(a: str, b: str) -> set[tuple[int, int]]:
        return {(x.layer, y.layer) for x, y in truth_of_pair(a, b, family).pairs["a", "b"].links if x.layer >= 0}

    assert links("one", "shallow") == {(0, 0), (2, 1)}
    assert links("two", "stitched") == {(1, 1)}
    upcycled = truth_of_pair("one", "upcycled", family).pairs["a", "b"]
    assert {y.expert for _, y in upcycled.links if y.layer == 0} == {-1, 0, 1}
    assert truth_of_pair("one", "faint", family).pairs["a", "b"].detectable
    assert not truth_of_pair("one", "loud", family).pairs["a", "b"].detectable


def test_every_kind_of_descent_has_a_row() -> None:
    pytest.importorskip("torch")
    from begat_lab.cases.family import _DISGUISES
    from begat_lab.descent import KINDS
    from begat_lab.descent.disguised import DISGUISES

    assert set(KINDS) == set(_MADE)
    assert set(DISGUISES) == set(_DISGUISES)
