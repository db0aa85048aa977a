"""`begat search` end to end: relatives found, strangers not, every presentation, JSON against its schema."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner, Result

from begat.cli.main import cli
from begat.errors import InputError
from begat.report import tree_json
from begat.report.search_json import load_schema
from web.small_index import SCRIPT, Family, family


def call(*args: str | Path) -> Result:
    return CliRunner().invoke(cli, [str(a) for a in args], standalone_mode=False, catch_exceptions=False)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Family:
    return family(tmp_path_factory.mktemp("search"), hostile=True)


def test_relatives_are_named_with_what_was_searched(small: Family) -> None:
    done = call("search", small.models["child"], "--index", small.index)
    text = " ".join(done.stdout.split())
    assert done.return_value == 1
    assert "“child” was not made independently of 6 of 8 models of this index." in text
    assert "Every e-value is divided by 8" in text and "at most 10^-6" in text
    assert "direction: undetermined" in text
    assert "stranger:" not in text


def test_nothing_found_is_said_with_what_it_means(small: Family, tmp_path: Path) -> None:
    done = call("search", small.models["stranger"], "--index", small.index, "--html", tmp_path / "s.html")
    text = " ".join(done.stdout.split())
    assert done.return_value == 0
    assert "No known relative of “stranger” was found by exact evidence among 8 models" in text
    assert "no clearance" in text
    page = (tmp_path / "s.html").read_text()
    assert "nothing found" in page and "<svg width" not in page.split('id="searched"')[0]


def test_json_follows_its_schema_and_pays_for_the_search(small: Family) -> None:
    schema = load_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    found = json.loads(call("search", small.models["child"], "--index", small.index, "--json").stdout)
    jsonschema.Draft202012Validator(schema).validate(found)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema).validate(found | {"extra": 1})
    assert found["candidates"] == 8
    for r in found["relatives"]:
        assert r["log10_e"] == pytest.approx(r["match"]["log10_e"] - 0.90309, abs=1e-4)
        assert r["log10_e"] >= found["needed_log10_e"]
    assert found["relatives"][0]["entry"]["name"] == "parent"
    jsonschema.validate(found["tree"], tree_json.load_schema())
    assert found["tree"]["nodes"][0]["name"] == "child"
    bare = json.loads(call("search", small.models["child"], "--index", small.index, "--no-tree", "--json").stdout)
    jsonschema.Draft202012Validator(schema).validate(bare)
    assert bare["tree"] is None


def test_parts_and_layers_of_a_stitched_model(small: Family, tmp_path: Path) -> None:
    page = tmp_path / "s.html"
    found = json.loads(call("search", small.models["stitched"], "--index", small.index, "--json", "--html", page).stdout)
    parent = next(r for r in found["relatives"] if r["entry"]["name"] == "parent")
    assert {a for a, _ in parent["match"]["layers"]} == {0, 1}
    assert any(p.startswith("MLP of layers 0-1") for p in parent["parts"])
    picture = page.read_text().split('id="layers"')[1].split("</figure>")[0]
    assert "layer 1 here: layer 1 there" in picture
    assert "layer 2 here" not in picture


def test_a_page_escapes_names_and_needs_no_network(small: Family, tmp_path: Path) -> None:
    page = tmp_path / "s.html"
    done = call("search", small.models["child"], "--index", small.index, "--html", page)
    text = page.read_text()
    assert SCRIPT not in text and "<img" not in text and "<script" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert "\x1b" not in text + done.stdout and "\u202e" not in text + done.stdout
    assert "http://" not in text.replace("http://www.w3.org", "")


def test_a_fingerprint_is_as_good_as_the_model(small: Family, tmp_path: Path) -> None:
    call("sketch", small.models["child"], "-o", tmp_path / "c.begat")
    a = json.loads(call("search", tmp_path / "c.begat", "--index", small.index, "--json").stdout)
    b = json.loads(call("search", small.models["child"], "--index", small.index, "--json", "--exact").stdout)
    assert {**a, "seconds": 0} == {**b, "seconds": 0}
    with pytest.raises(InputError, match="takes no base"):
        call("search", tmp_path / "c.begat", "--index", small.index, "--base", small.models["parent"])


def test_errors_are_one_line(small: Family, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no begat index"):
        call("search", small.models["child"], "--index", small.root)
    (tmp_path / "not.begat").write_bytes(b"{}")
    with pytest.raises(InputError):
        call("search", tmp_path / "not.begat", "--index", small.index)
