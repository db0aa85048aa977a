"""A search in words and pictures: every outcome is said, nothing is claimed that was not found."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import replace

import jsonschema
import pytest

from begat.index.search import Lead, Relative, SearchResult
from begat.index.store import Entry
from begat.pipeline.fingerprints import FingerprintMatch, SiteMatch
from begat.report import match_words, search_json, search_words
from begat.report.layermatch import MOST, layer_picture
from begat.report.search_html import render_html
from begat.report.search_text import LISTED, render_search
from begat.tree import Node, Relation, infer

EVIL = "</title><script>x</script>\x1b[31m\u202e"


def entry(name: str) -> Entry:
    id = f"{sum(map(ord, name)):064x}"
    return Entry(id, name, f"/models/{name}", "safetensors", "llama", 1000, 4, "0" * 64, "2026-11-26T19:00:00Z", 1, "", 10, 0, "0" * 16)


def site(a: int, b: int, angle: float, hits: int = 30, axis: str = "mlp-units") -> SiteMatch:
    return SiteMatch(axis, "", "stored", "text", a, -1, b, -1, 32, hits, angle, False, True)


def match(**changes: object) -> FingerprintMatch:
    plain = FingerprintMatch(
        a="query", b="other", log10_e=100.0, same_log10_e=100.0, search_log10_e=None, axes=(("mlp-units", 100.0),), sites=(site(0, 0, 0.1), site(1, 3, 0.2)),
        layers=((0, 0), (1, 3)), angle=0.15, angle_sd=0.01, unlike=0.2, share=0.5, slots=3, slots_differing=0.4, identical=False,
    )  # fmt: skip
    return replace(plain, **changes)  # type: ignore[arg-type]


def relative(name: str, relation: str = "related", **changes: object) -> Relative:
    return Relative(entry(name), 97.0, relation, "", "", False, match(**changes), ("MLP of layers 0-1",))


def lead(name: str) -> Lead:
    return Lead(entry(name), 40, 0.2, 1 / 3161, 3160, match(log10_e=0.1, slots=40))


def result(*relatives: Relative, leads: tuple[Lead, ...] = (), **changes: object) -> SearchResult:
    tree = infer([Node("q", "query"), Node("o", "other")], [Relation(0, 1, 100.0, 0.15, 0.01)]) if relatives else None
    plain = SearchResult(
        query="query", id="a" * 64, layers=4, candidates=1000, screened=40, tested=30, needed_log10_e=6.0, relatives=relatives, leads=leads, tree=tree,
        members=("a" * 64, "b" * 64) if relatives else (), same=(), unreadable=(), notes=(), seconds=1.0,
    )  # fmt: skip
    return replace(plain, **changes)  # type: ignore[arg-type]


def flat(r: SearchResult, asked: str = "") -> str:
    return " ".join(render_search(r, asked).split())


def test_headlines_say_what_was_found_and_no_more() -> None:
    a, b = relative("a", "nearest"), relative("b")
    assert search_words.headline(result(a, b)) == "“query” was not made independently of 2 of 1,000 models of this index. Most like it is “a”."
    ties = [replace(relative(n), tied=True) for n in "abcd"]
    few = "Most like it are “a” and “b”; their fingerprints do not tell which is nearest."
    assert search_words.headline(result(*ties[:2], relative("x"))).endswith(few)
    assert "“a”, “b” and “c”;" in search_words.headline(result(*ties[:3])) and "“a”, “b” and 2 more;" in search_words.headline(result(*ties))
    assert search_words.row(ties[0]).relation.endswith("as near as the first, by the bits kept")
    made = relative("a", "ancestor", direction="b → a", direction_why="layers repeat")
    assert search_words.headline(result(b, made)).endswith("One-way evidence says that it was made from “a”, or from a model close to that.")
    other_way = relative("a", "descendant", direction="a → b", direction_why="layers repeat")
    assert "made from" not in search_words.headline(result(b, other_way))
    assert search_words.headline(result(a, candidates=1)) == "“query” was not made independently of “a”, the one model of this index."
    assert search_words.headline(result()).startswith("No known relative of “query” was found by exact evidence among 1,000 models")
    assert search_words.headline(result(candidates=0)) == "The index is empty: “query” was compared with nothing."
    assert search_words.headline(result(leads=(lead("x"), lead("y")))).endswith("2 models are leads: their weights should be compared.")


def test_the_price_is_named_and_nothing_found_clears_nobody() -> None:
    assert "divided by 1,000" in search_words.price(result()) and "10^-6" in search_words.price(result())
    assert "no clearance" in search_words.price(result())
    assert "clearance" not in search_words.price(result(relative("a")))
    assert "begat index add" in search_words.price(result(candidates=0))


def test_rows_round_towards_caution_and_name_the_direction() -> None:
    row = search_words.row(replace(relative("a"), log10_e=97.96))
    assert (row.e, str(row.p), row.angle, row.cosine) == ("97.9", "10^-97", "8.6° ± 0.6°", "0.988")
    assert (row.direction, row.why) == ("undetermined", "no one-way evidence")
    told = search_words.row(relative("a", direction="a → b", direction_why="layers repeat"))
    assert (told.direction, told.why) == ("it was made from the query", "layers repeat")
    assert search_words.row(relative("a", direction="b → a", direction_why="w")).direction == "the query was made from it"
    assert search_words.row(relative("a", angle=None)).angle == "–"
    assert row.parts == "50 % of layers match: MLP of layers 0-1"
    assert search_words.row(relative("a", share=1.0)).parts == "MLP of layers 0-1"
    assert search_words.row(replace(relative("a"), via="x", relation="related")).relation == "related via x"


def test_text_groups_what_is_alike_and_counts_the_rest() -> None:
    many = tuple(relative(f"m{i:02}") for i in range(LISTED + 4))
    text = flat(result(*many), "path/to model")
    assert "and 4 more, listed by --json and --html" in text
    assert text.count("direction: undetermined (no one-way evidence)") == 1
    text = flat(result(leads=(lead("x"),)), "path/to model")
    assert "begat compare 'path/to model' /models/x" in text and "40 of 64 units agree, calibrated p 0.00032 from 3,160 pairs" in text
    assert "begat compare MODEL /models/x" in flat(result(leads=(lead("x"),)))
    assert "\x1b" not in render_search(result(*many)) and "\x1b[1m" in render_search(result(*many), color=True)


def test_the_picture_shows_which_layer_is_which() -> None:
    twice = match(layers=((0, 0), (0, 2), (1, 1)), sites=(site(0, 0, 0.0), site(0, 2, 0.4), site(1, 1, math.pi / 2), site(3, 1, 0.3), site(2, 2, 0.1, hits=1)))
    picture = layer_picture(4, [("a", match()), ("b", twice), ("c", match(layers=()))])
    assert picture is not None
    assert [r.name for r in picture.rows] == ["a", "b"]
    a, b = picture.rows
    assert [(c.x / picture.cell, c.moved) for c in a.cells] == [(0, ""), (1, "3")]
    assert a.cells[0].step > a.cells[1].step and "MLP 11.5°" in a.cells[1].title and "layer 3 there" in a.cells[1].title
    # layer 0 is there twice; layer 3, a copy of layer 1 that matched first, is found too; layer 2 matched by chance only
    assert [(c.x / picture.cell, c.moved) for c in b.cells] == [(0, "0, 2"), (1, ""), (3, "1")]
    assert layer_picture(0, [("a", match())]) is None and layer_picture(4, []) is None
    crowd = layer_picture(400, [(str(i), match()) for i in range(MOST + 5)])
    assert crowd is not None and len(crowd.rows) == MOST and crowd.left_out == 5 and len(crowd.ticks) < 200


def test_a_page_and_its_json_hold_no_markup_of_others() -> None:
    evil = replace(relative(EVIL, direction="a → b", direction_why=EVIL), via=EVIL, parts=(EVIL,))
    found = result(evil, leads=(lead(EVIL),), query=EVIL, notes=(EVIL,), unreadable=((EVIL, EVIL),))
    page = render_html(found, EVIL)
    assert "<script>x" not in page and "\x1b" not in page and "\u202e" not in page and "&lt;script&gt;x" in page
    assert "\x1b" not in render_search(found, EVIL) and "\u202e" not in render_search(found, EVIL)
    text = search_json.dumps(found)
    assert "\x1b" not in text and "\u202e" not in text
    schema = search_json.load_schema()
    data = json.loads(text)
    ids = {"id": "a" * 64, "members": [], "same": []}
    jsonschema.Draft202012Validator(schema).validate(data | ids)
    assert data["relatives"][0]["match"].keys() == {f.name for f in dataclasses.fields(FingerprintMatch)}
    with pytest.raises(ValueError, match="finite"):
        search_json.dumps(result(relative("a", angle=math.nan)))


def test_two_fingerprints_in_words() -> None:
    assert match_words.headline(match(), True) == "“query” and “other” were not made independently."
    assert "Every sampled value is equal" in match_words.headline(match(identical=True), True)
    assert "“other” was made from “query”: w." in match_words.headline(match(direction="a → b", direction_why="w"), True)
    assert "“query” was made from “other”: w." in match_words.headline(match(direction="b → a", direction_why="w"), True)
    assert "no exact evidence" in match_words.headline(match(log10_e=1.0), False) and "no clearance" in match_words.means(match(log10_e=1.0), False)
    none = match(log10_e=None, why="no axis has the same size in both")
    assert "cannot be tested" in match_words.headline(none, False) and match_words.badge(none, False) == "cannot be tested"
    assert str(match_words.p_bound(match(log10_e=-3.0))) == "1" and str(match_words.p_bound(match())) == "10^-100"
