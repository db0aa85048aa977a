"""An inspection in three shapes: everything found is said in each, nothing from a file escapes, the JSON fits its schema."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest

import begat
from begat.inspection import Finding, Found, Inspection, Item, PairTest
from begat.report import inspect_json
from begat.report.heatmap import heat_maps
from begat.report.inspect_html import render_inspection_html
from begat.report.inspect_text import render_inspection
from begat.report.text import strip_ansi
from builders import llama, noisy, rounded, write

EVIL = "</title><script>x</script>\x1b[31m\u202e"


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Inspection:
    rng = np.random.default_rng(0)
    tensors, config = llama(rng)
    for n in list(tensors):
        if ".layers.3." in n:
            tensors[n] = tensors[n.replace(".layers.3.", ".layers.1.")]
    folder = write(tmp_path_factory.mktemp("inspect") / "model", noisy(tensors, rng, 0.05), config)
    return begat.inspect(folder)


def hostile(i: Inspection) -> Inspection:
    item = Item(EVIL, EVIL, {EVIL: EVIL, "share": 0.5, "none": None})
    finding = Finding(EVIL, EVIL, "counted", EVIL, EVIL, Found("found", EVIL, (item,), looked_at=EVIL))
    return replace(i, path=EVIL, sentence=EVIL, findings=(*i.findings, finding), caveats=(EVIL,), types=((EVIL, 1, 2),))


def test_json_fits_its_schema_and_holds_every_pair(copied: Inspection) -> None:
    schema = inspect_json.load_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    for i in (copied, hostile(copied)):
        data = json.loads(inspect_json.dumps(i))
        jsonschema.Draft202012Validator(schema).validate(data)
        assert data["findings"][0]["found"]["pairs"][0].keys() == set(PairTest.__dataclass_fields__)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema).validate(data | {"extra": 1})
    with pytest.raises(ValueError, match="finite"):
        inspect_json.dumps(replace(copied, seconds=float("nan")))


def test_text_says_what_was_found_and_what_it_rests_on(copied: Inspection) -> None:
    text = " ".join(render_inspection(copied).split())
    assert text.startswith("Layers 1, 3 are copies of one layer.")
    assert "layer map: 0 1 2 1 3" in text
    layers = copied.finding("layers")
    assert layers.null in text and layers.says_not in text
    assert "the model has no routed experts" in text
    colour = render_inspection(copied, width=100, color=True)
    assert strip_ansi(colour) == render_inspection(copied, width=100)


@pytest.mark.parametrize("width", [72, 100])
def test_text_keeps_the_width_and_nothing_escapes(copied: Inspection, width: int) -> None:
    text = render_inspection(hostile(copied), width=width)
    assert all(len(line) <= max(width, 84) for line in text.split("\n"))
    assert "\x1b" not in text and "\u202e" not in text


def test_html_is_one_safe_page_with_a_picture(copied: Inspection) -> None:
    for i in (copied, hostile(copied)):
        page = render_inspection_html(i)
        assert "<script" not in page and "\x1b" not in page and "\u202e" not in page
        assert not re.search(r"(src|href)=", page)
        assert page.count('<circle class="same" cx="39.0"') + page.count('class="same"') >= 3
        assert "layers 1 and 3: 64 of 64 units at the same index" in page or "layers 1 and 3: 63 of 64" in page
        assert "nn.TransformerEncoder" in page


def test_the_heat_map_has_both_triangles_of_every_pair(copied: Inspection) -> None:
    (heat,) = heat_maps(copied.finding("layers").found.pairs)
    assert heat.labels == ("0", "1", "2", "3", "4")
    assert {(c.x, c.y) for c in heat.cells} == {(x, y) for x in range(5) for y in range(5) if x != y}
    assert {(c.x, c.y) for c in heat.cells if c.copies} == {(1, 3), (3, 1)}
    assert max(c.step for c in heat.cells if not c.copies) <= 4


def test_exit_codes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from click.testing import CliRunner

    from begat.cli.main import cli

    rng = np.random.default_rng(1)
    tensors, config = llama(rng)
    run = CliRunner().invoke
    nothing = run(cli, ["inspect", str(write(tmp_path / "a", tensors, config))], standalone_mode=False)
    assert nothing.return_value == 0 and "no trace" in nothing.output
    html = tmp_path / "page.html"
    found = run(
        cli,
        ["inspect", str(write(tmp_path / "b", rounded(tensors, 4, 32), config)), "--json", "--html", str(html)],
        standalone_mode=False,
    )
    assert found.return_value == 1 and json.loads(found.output)["descent"] is True
    assert html.read_text().startswith("<!doctype html>")
    missing = run(cli, ["inspect", str(tmp_path / "none")], standalone_mode=False)
    assert isinstance(missing.exception, begat.InputError)
