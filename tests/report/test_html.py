from __future__ import annotations

import dataclasses
import re
import unicodedata
from html.parser import HTMLParser

import pytest

from begat.report.html import render_html
from begat.types import Verdict
from report.verdicts import VERDICTS, axis_of, cell, derived, hostile, mixture, no_evidence, order_tests, partly

SECTIONS = ("headline", "figures", "hits", "map", "parts", "evidence", "equality", "power", "beside", "read", "caveats", "replay")
VOID = {"meta", "br", "rect", "circle", "line", "path"}
SHAPES = {"rect", "circle", "line", "path"}


class Page(HTMLParser):
    """Tags, attributes, ids and text; checks that tags nest."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.ids, self.words, self.open = (
            list[str](),
            list[tuple[str, str]](),
            list[str](),
            "",
            list[str](),
        )
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(k, v or "") for k, v in attrs]
        self.ids += [v or "" for k, v in attrs if k == "id"]
        if tag not in {"meta", "br"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in SHAPES
        self.tags.append(tag)
        self.attributes += [(k, v or "") for k, v in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words += data


def test_every_section_is_there(verdict: Verdict) -> None:
    page = Page(render_html(verdict))
    assert [i for i in page.ids if i in SECTIONS] == list(SECTIONS)
    assert len(set(page.ids)) == len(page.ids)


def test_nothing_runs_and_nothing_is_fetched(verdict: Verdict) -> None:
    html = render_html(verdict)
    page = Page(html)
    assert not {"script", "link", "iframe", "object", "embed", "img", "base", "form", "a", "image", "use", "foreignobject"} & set(
        page.tags
    )
    assert not [
        k for k, _ in page.attributes if k.startswith("on") or k in ("src", "href", "xlink:href", "srcset", "action", "data")
    ]
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'; img-src data:") in page.attributes
    assert "http:" not in html
    assert "https:" not in html
    assert "@import" not in html
    assert set(re.findall(r"url\(([^)]*)\)", html)) <= {"#hatch"}


def test_no_control_character_gets_through(verdict: Verdict) -> None:
    assert not [c for c in render_html(verdict) if c != "\n" and unicodedata.category(c)[0] == "C"]


def test_attributes_are_known(verdict: Verdict) -> None:
    known = {
        "lang",
        "dir",
        "charset",
        "http-equiv",
        "content",
        "name",
        "id",
        "class",
        "style",
        "width",
        "height",
        "x",
        "y",
        "x1",
        "x2",
        "y1",
        "y2",
        "cx",
        "cy",
        "r",
        "d",
        "role",
        "aria-label",
        "aria-hidden",
        "patternunits",
        "patterntransform",
        "data-label",
    }
    assert {k for k, _ in Page(render_html(verdict)).attributes} <= known


def test_hostile_words_are_shown_escaped() -> None:
    html = render_html(hostile())
    assert "<script" not in html
    page = Page(html)
    assert page.tags.count("style") == 1
    assert "<script>alert(1)</script>" in page.words
    assert r"\u202e" in page.words
    assert r"\ud800" in page.words
    assert "{{ 7*7 }}" in page.words
    html.encode("utf-8")


def test_the_style_holds_only_numbers() -> None:
    styles = {v for k, v in Page(render_html(hostile())).attributes if k == "style"}
    assert all(re.fullmatch(r"--letters:\d+;--most:\d+px", s) for s in styles)


def test_every_test_is_a_dot_with_its_words() -> None:
    v = derived()
    words = Page(render_html(v)).words
    assert words.count(" hits") >= sum(len(a.tests) for a in v.axes)
    assert "layer 3: 64 of 64 hits" in words


def test_every_cell_is_a_square_with_its_words() -> None:
    html = render_html(partly())
    assert html.count('class="same"') == 4 * 9 + 1  # and the legend's
    assert "layer 4 · mlp.gate.weight: cosine 0." in html
    assert html.count('class="lone"') == 6 + 1
    assert "layer 20 · attn.k.weight: only in B" in html


def test_experts_are_merged_with_their_lowest() -> None:
    html = render_html(mixture())
    assert "2 experts, R² mean" in html
    assert html.count("c low r") == 26 * 3
    assert "experts: mean above, lowest below" in html


def test_powers_of_ten_are_set_as_such() -> None:
    assert "10<sup>−1820</sup>" in render_html(derived())


def test_replay_says_how_to_run_it_again() -> None:
    words = Page(render_html(derived())).words
    assert "begat replay report.json" in words
    assert "begat compare models/meadow-1b models/heron-1b-chat" in words
    for value in ("0.1.0", "begat order test, version 1", "8c1f0e5d2b6a4973a0e4d21f5b7c9860", "3f" * 32, "a7" * 32):
        assert value in words


def test_empty_verdict() -> None:
    v = dataclasses.replace(
        no_evidence(),
        axes=(),
        parts=(),
        cells=(),
        beside=(),
        power=None,
        accounting=None,
        caveats=(),
        replay={},
        log10_e=None,
        log10_p=None,
        equality=None,
    )
    page = Page(render_html(v))
    assert "No map was made." in page.words
    assert "no hits to show" in page.words


def test_parts_without_cells_still_show_the_layers() -> None:
    html = render_html(dataclasses.replace(partly(), cells=(), map_mode="none"))
    assert html.count('class="chip ') == 24


@pytest.mark.parametrize("experts", [2, 8])
def test_a_large_model_stays_small(experts: int) -> None:
    assert len(render_html(mixture(128, experts)).encode()) < 1_500_000


def test_one_hundred_and_twenty_eight_layers_of_twenty_five_roles() -> None:
    cells = tuple(cell("text", i, f"mlp.r{r}.weight", 0.5) for i in range(128) for r in range(25))
    v = dataclasses.replace(derived(), cells=cells, axes=(axis_of(order_tests("mlp-units", range(128), 64, lambda i: 60)),))
    assert len(render_html(v).encode()) < 1_500_000


def test_page_is_the_same_each_time() -> None:
    for make in VERDICTS.values():
        assert render_html(make()) == render_html(make())
