"""`begat tree` end to end: weights, fingerprint files and an index in; text, JSON, SVG, Newick, GraphML and HTML out."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from click.testing import CliRunner, Result

from begat.cli.main import cli
from begat.errors import InputError
from begat.report.tree_json import load_schema
from builders import llama, noisy, write


def call(*args: str | Path) -> Result:
    return CliRunner().invoke(cli, [str(a) for a in args], standalone_mode=False, catch_exceptions=False)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("family")
    rng = np.random.default_rng(7)
    parent, config = llama(rng, layers=4)
    child = noisy(parent, rng, 0.3)
    stranger, _ = llama(rng, layers=4)
    made = {"parent": parent, "child": child, "grandchild": noisy(child, rng, 0.3), "stranger": stranger}
    return {name: write(root / name, tensors, config) for name, tensors in made.items()}


def found(*args: str | Path) -> dict:
    tree = json.loads(call("tree", *args, "--json").stdout)
    jsonschema.validate(tree, load_schema())
    return tree


def pairs(tree: dict) -> set[frozenset[str]]:
    return {frozenset((tree["nodes"][e["a"]]["name"], tree["nodes"][e["b"]]["name"])) for e in tree["edges"] if e["kind"] == "line"}


def test_a_family_of_weights_and_a_stranger(models: dict[str, Path]) -> None:
    tree = found(*models.values())
    assert pairs(tree) == {frozenset(("parent", "child")), frozenset(("child", "grandchild"))}
    assert [3] in tree["components"]
    assert tree["tested"] == 6
    assert tree["threshold"] == pytest.approx(6 + np.log10(6))


def test_fingerprints_say_what_weights_say(models: dict[str, Path], tmp_path: Path) -> None:
    files = []
    for name, path in models.items():
        files.append(tmp_path / f"{name}.begat")
        call("sketch", path, "-o", files[-1])
    assert found(*files)["edges"] == found(*models.values())["edges"]


def test_an_index_stands_for_its_models(models: dict[str, Path], tmp_path: Path) -> None:
    where = tmp_path / "known"
    call("index", "add", where, models["parent"], models["child"])
    tree = found(where, models["grandchild"])
    assert pairs(tree) == {frozenset(("parent", "child")), frozenset(("child", "grandchild"))}


def test_every_format_is_written(models: dict[str, Path], tmp_path: Path) -> None:
    names = {"--svg": "t.svg", "--newick": "t.nwk", "--graphml": "t.graphml", "--html": "t.html"}
    done = call("tree", models["parent"], models["child"], *[x for flag, name in names.items() for x in (flag, tmp_path / name)])
    assert done.return_value == 1
    assert "kinship: log10 e-value" in done.stdout
    starts = {"t.svg": "<?xml", "t.nwk": "(", "t.graphml": "<graphml", "t.html": "<!doctype html>"}
    for name, start in starts.items():
        assert (tmp_path / name).read_text("utf-8").startswith(start)


def test_no_kin_is_exit_code_0(models: dict[str, Path]) -> None:
    done = call("tree", models["parent"], models["stranger"])
    assert done.return_value == 0
    assert "no kin" in done.stdout


def test_models_of_one_name_are_told_apart(models: dict[str, Path], tmp_path: Path) -> None:
    other = tmp_path / "parent"
    shutil.copytree(models["child"], other)
    tree = found(models["parent"], other)
    assert {n["name"] for n in tree["nodes"]} == {f"parent ({models['parent']})", f"parent ({other})"}


@pytest.mark.parametrize(("given", "says"), [((), "at least two"), (("parent",), "given twice"), (("nowhere",), "nowhere")])
def test_bad_input_is_one_line(models: dict[str, Path], tmp_path: Path, given: tuple[str, ...], says: str) -> None:
    with pytest.raises(InputError, match=says):
        call("tree", models["parent"], *[models.get(g, tmp_path / g) for g in given])


def test_too_many_models_are_refused(models: dict[str, Path]) -> None:
    from begat.index.family import family_tree

    with pytest.raises(InputError, match="too many models"):
        family_tree([models["parent"], models["child"]], most=1)


def test_a_place_that_cannot_be_written(models: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        call("tree", models["parent"], models["child"], "--svg", tmp_path / "no" / "t.svg")
