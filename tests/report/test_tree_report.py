"""Presenters of family trees: what they show, and that hostile names stay text in every format."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import jsonschema
import networkx as nx
import pytest

from begat.errors import MissingExtraError
from begat.report.tree_graphml import render_graphml
from begat.report.tree_html import render_html
from begat.report.tree_json import dumps, load_schema
from begat.report.tree_layout import drawn, outline, picture, shorten
from begat.report.tree_newick import render_newick
from begat.report.tree_svg import render_svg
from begat.report.tree_text import render_text
from begat.tree import Claim, Edge, Policy, Tree, TreeNode

EVIL = "\"><script>alert(1)</script>'&\x1b[31m\x00\u202e{{7*7}}[bold]x[/bold]]]>;(a,b)\n"


def family(*, names: tuple[str, ...] = ("base", "p", "q", "m", "c", "twin", "copy")) -> Tree:
    """Every kind of node and edge once; `alone` has no kin."""
    given = [TreeNode(n, "given") for n in names]
    extra = [TreeNode("not given", "unnamed", why="shared change"), TreeNode("not resolved", "open", (0, 1), "unclear"),
             TreeNode("common initial weights", "start")]  # fmt: skip
    edges = (
        Edge(0, 6, "same", distance=0.001, why="equal"),
        Edge(0, 1, "arrow", distance=0.2, why="low rank"),
        Edge(7, 0, "line", distance=0.1, why="kin"), Edge(7, 2, "line", distance=0.1, why="kin"),
        Edge(1, 8, "open"), Edge(8, 4, "line", why="kin; open"),
        Edge(9, 0, "line"), Edge(9, 5, "line"),
        Edge(1, 3, "arrow", True, 0.6, 0.1, "between"), Edge(2, 3, "arrow", True, 0.4, 0.12, "between"),
    )  # fmt: skip
    nodes = (*given, *extra, TreeNode("alone", "given"))
    claims = (Claim(0, 4, "copied layers", True), Claim(4, 2, "contradiction", False))
    return Tree(nodes, edges, (tuple(range(10)), (10,)), claims, 28, 7.45, ("A caveat.",), Policy())


def evil() -> Tree:
    return family(names=(EVIL, "p'q", "q;(", "m, n:1", "", "</title><b>", "x" * 500))


def chain(n: int) -> Tree:
    nodes = tuple(TreeNode(f"model-{i}", "given") for i in range(n))
    edges = tuple(Edge(i, i + 1, "line", distance=0.1, why="kin") for i in range(n - 1))
    return Tree(nodes, edges, (tuple(range(n)),), (), n * (n - 1) // 2, 10.0, (), Policy())


def star(n: int) -> Tree:
    nodes = tuple(TreeNode(f"org/model-{i:03}", "given") for i in range(n))
    edges = tuple(Edge((i - 1) // 6, i, "line", distance=0.1, why="kin") for i in range(1, n))
    return Tree(nodes, edges, (tuple(range(n)),), (), 1, 10.0, (), Policy())


# --- the picture ---


@pytest.mark.parametrize("n", [1, 2, 20, 200])
def test_no_two_boxes_overlap_and_every_edge_is_drawn(n: int) -> None:
    p = picture(star(n))
    boxes = sorted(p.boxes, key=lambda b: (b.x, b.y))
    for i, b in enumerate(boxes):
        for other in boxes[i + 1 :]:
            apart = b.x + b.width <= other.x or other.x + other.width <= b.x or b.y + b.height <= other.y or other.y + other.height <= b.y
            assert apart, (b, other)
    assert len(p.curves) == n - 1
    assert all(b.x >= 0 and b.x + b.width <= p.width and b.y >= 0 and b.y + b.height <= p.height for b in boxes)


def test_arrows_run_left_to_right_where_they_can() -> None:
    p = picture(family())
    left = {b.node: b.x for b in p.boxes}
    assert left[0] < left[1] < left[3]
    assert left[2] < left[3]


def test_open_nodes_become_dotted_edges_that_list_the_alternatives() -> None:
    edges = {(e.a, e.b): e for e in drawn(family())}
    assert 8 not in {b.node for b in picture(family()).boxes}
    assert edges[1, 4].style == "open"
    assert edges[1, 4].among == (0, 1)
    assert "one of or between (base, p)" in edges[1, 4].title


def test_claims_are_drawn_only_where_they_stand() -> None:
    found = {(e.a, e.b) for e in drawn(family()) if e.style == "descent"}
    assert found == {(0, 4)}


def test_the_outline_tells_every_node_once() -> None:
    for tree in (family(), star(50), chain(3000)):
        shape = outline(tree)
        told = [*shape.roots, *(n for v in shape.below.values() for _, n in v)]
        assert sorted(told) == [i for i, n in enumerate(tree.nodes) if n.kind != "open"]


def test_names_are_cut_in_the_middle() -> None:
    assert shorten("a" * 40 + "-v2") == "a" * 14 + "…" + "a" * 12 + "-v2"
    assert shorten("short") == "short"


# --- SVG ---


def test_svg_is_the_same_for_the_same_tree() -> None:
    assert render_svg(family()) == render_svg(family())


def test_svg_is_xml_without_script_and_keeps_names_as_text() -> None:
    root = ET.fromstring(render_svg(evil()).encode())
    tags = {e.tag.split("}")[1] for e in root.iter()}
    assert tags <= {"svg", "title", "style", "rect", "defs", "marker", "path", "g", "text", "line"}
    texts = [e.text or "" for e in root.iter() if e.tag.endswith("title")]
    assert any(r"<script>alert(1)</script>'&\x1b[31m\x00\u202e{{7*7}}[bold]" in t for t in texts)


def test_svg_legend_names_what_is_drawn_and_nothing_else() -> None:
    text = render_svg(family())
    for words in ("made from, by one-way evidence", "direction undetermined", "mixed from several parents", "not resolved", "the same weights",
                  "same initial weights", "no given model explains", "descends from"):  # fmt: skip
        assert words in text
    assert "mixed from" not in render_svg(star(5))
    assert "Left and right do not say who came first" in render_svg(star(5))


def test_svg_follows_light_and_dark() -> None:
    assert "prefers-color-scheme:dark" in render_svg(family())


# --- HTML ---


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs


def test_the_page_allows_one_script_by_hash_and_no_network() -> None:
    text = render_html(evil())
    page = Page(text)
    assert page.tags.count("script") == 1
    body = re.search(r"<script>(.*?)</script>", text, re.S)
    assert body is not None
    digest = base64.b64encode(hashlib.sha256(body.group(1).encode()).digest()).decode()
    assert f"script-src &#39;sha256-{digest}&#39;" in text or f"script-src 'sha256-{digest}'" in text
    assert "default-src 'none'" in text
    assert not [v for k, v in page.attributes if k in ("src", "href") or k.startswith("on")]
    assert "http" not in text.replace("http://www.w3.org", "").replace("http-equiv", "")


def test_the_page_lists_every_edge_with_its_evidence() -> None:
    text = render_html(family())
    rows = re.findall(r"<tr><td><bdi>(.*?)</bdi></td><td class=\"arrow\">(.)</td><td><bdi>(.*?)</bdi>", text)
    assert ("base", "→", "p") in rows
    assert ("p", "→", "m") in rows
    assert ("base", "–", "not given") in rows or ("not given", "–", "base") in rows
    assert len(rows) == len(drawn(family()))
    assert "c → q: contradiction" in text
    assert "A caveat." in text and "alone" in text


# --- Newick, GraphML, JSON, text ---


def newick_leaves(text: str) -> list[str]:
    """Labels of one line of Newick, by a strict little reader: quotes, comments, lengths."""
    labels, i, depth = [], 0, 0
    while text[i] != ";":
        c = text[i]
        if c in "(),":
            depth += {"(": 1, ")": -1}.get(c, 0)
            i += 1
        elif c == "[":
            i = text.index("]", i) + 1
        elif c == ":":
            i += 1
            while text[i] in "0123456789.e-+":
                i += 1
        else:
            label = ""
            if c == "'":
                i += 1
                while text[i] != "'" or text[i + 1] == "'":
                    label += text[i]
                    i += 2 if text[i] == "'" else 1
                i += 1
            while text[i] not in "(),:;[":
                label += text[i]
                i += 1
            labels.append(label)
    assert depth == 0 and text[i + 1 :] == "\n"
    return labels


def test_newick_says_every_name_once_and_mixtures_by_hybrid_nodes() -> None:
    line, alone = render_newick(family()).splitlines(keepends=True)
    assert alone == "alone;\n"
    assert sorted(newick_leaves(line)) == sorted(["base", "copy", "p", "m#H1", "m#H1", "c", "q", "twin", "not given", "common initial weights"])
    assert "[&same]" in line and "[&open={base|p}]" in line


def test_newick_of_hostile_names_can_be_read() -> None:
    labels = newick_leaves(render_newick(evil()).splitlines(keepends=True)[0])
    assert "p'q" in labels and "q;(" in labels and "(no name)" in labels and "m, n:1#H1" in labels


def test_long_chains_do_not_overflow() -> None:
    tree = chain(3000)
    assert len(newick_leaves(render_newick(tree))) == 3000
    assert render_svg(tree).count("<rect") >= 3000


def test_graphml_is_read_back() -> None:
    graph = nx.parse_graphml(render_graphml(evil()))
    assert len(graph) == 11
    assert r"\x1b[31m\x00\u202e" in graph.nodes["n0"]["name"]
    by_kind: dict[str, list[tuple[str, str]]] = {}
    for a, b, facts in graph.edges(data=True):
        assert facts["directed"] == (facts["kind"] in ("arrow", "claim"))
        by_kind.setdefault(facts["kind"], []).append((a, b))
    assert ("n1", "n3") in by_kind["arrow"]
    assert [(f["parent"], f["child"]) for _, _, f in graph.edges(data=True) if f["kind"] == "contradicted"] == [("n4", "n2")]
    assert graph.nodes["n8"]["among"] == "n0 n1"


def test_graphml_edges_have_ids_of_their_own_and_a_direction_only_where_one_is_known() -> None:
    import xml.etree.ElementTree as ET

    tree = family()
    root = ET.fromstring(render_graphml(tree)).find("{*}graph")
    assert root is not None and root.get("edgedefault") == "undirected"
    edges = root.findall("{*}edge")
    assert len({e.get("id") for e in edges}) == len(edges) == len(tree.edges) + len(tree.claims)
    graph = nx.parse_graphml(render_graphml(tree))
    assert graph.number_of_edges() == len(edges) and not graph.is_directed()
    for _, _, facts in graph.edges(data=True):
        assert ("parent" in facts) == ("child" in facts) == (facts["directed"] or facts["kind"] == "contradicted")
    known = {(f"n{e.a}", f"n{e.b}") for e in tree.edges if e.kind == "arrow"} | {(f"n{c.a}", f"n{c.b}") for c in tree.claims if c.stands}
    assert {(f["parent"], f["child"]) for _, _, f in graph.edges(data=True) if f["directed"]} == known


def test_graphml_without_networkx_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "networkx", None)
    with pytest.raises(MissingExtraError, match=r"begat\[tree\]"):
        render_graphml(family())


def test_json_follows_its_schema() -> None:
    for tree in (family(), evil(), chain(1)):
        text = dumps(tree)
        assert text.isascii() or "\x1b" not in text
        jsonschema.validate(json.loads(text), load_schema())
    found = json.loads(dumps(family()))
    assert found["nodes"][8] == {"name": "not resolved", "kind": "open", "among": [0, 1], "why": "unclear"}
    assert found["edges"][1] == {"a": 0, "b": 1, "kind": "arrow", "mixture": False, "weight": None, "distance": 0.2, "why": "low rank"}


def test_text_shows_direction_kinds_and_no_escape_codes() -> None:
    text = render_text(family())
    assert "→ p  0.200 rad" in text
    assert "= copy" in text
    assert "→ ⊕0.60 m" in text and "also → ⊕0.40 q" in text
    assert "base → c: copied layers" in text
    plain = render_text(evil())
    assert "\x1b" not in plain and "\u202e" not in plain
    assert "[bold]x[/bold]" in plain


def test_text_arrow_against_the_indentation_points_back() -> None:
    tree = Tree(
        tuple(TreeNode(n, "given") for n in "abc"), (Edge(0, 1, "arrow", distance=0.1, why="x"), Edge(2, 1, "arrow", distance=0.1, why="y")),
        ((0, 1, 2),), (), 3, 6.5, (), Policy(),
    )  # fmt: skip
    text = render_text(tree)
    assert ("→ b" in text) and ("← c" in text or "← a" in text)


def test_words_have_no_trailing_space() -> None:
    assert not [line for line in render_text(family()).splitlines() if line != line.rstrip()]
