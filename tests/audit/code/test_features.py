"""What features see and what they do not: names, layout, order, annotations; and what an index weighs them by."""

from __future__ import annotations

import ast
import random
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[3]
sys.path += [str(ROOT / "benchmarks" / "audit"), str(Path(__file__).parent)]

from code_launder import launder  # noqa: E402
from written import INDEPENDENT, PACKAGE  # noqa: E402

from begat.audit.code import CodeReference, build_index  # noqa: E402
from begat.audit.code.decide import decide, read_thresholds, thresholds  # noqa: E402
from begat.audit.code.features import VIEWS, K, features  # noqa: E402
from begat.audit.code.index import weight  # noqa: E402
from begat.audit.code.match import look_up  # noqa: E402
from begat.audit.code.parse import parse  # noqa: E402

INDEX = build_index([CodeReference("pack", "1.0", PACKAGE)])


def views(text: str, unit: int = 0) -> dict[str, np.ndarray]:
    parsed = parse(text)
    pieces = features(parsed)
    return {v: np.unique(np.concatenate([pieces[p].views[v].hashes for p in parsed.units[unit].pieces])) for v in VIEWS}


def scores(text: str) -> list[dict[str, float]]:
    parsed = parse(text)
    pieces = features(parsed)
    return [
        dict(decide(INDEX, look_up(INDEX, [pieces[p] for p in u.pieces], u.kind != "class"), thresholds()).scores)
        for u in parsed.units
    ]


def renamed(text: str, seed: int) -> str:
    """Every identifier without exception (attributes, arguments, keywords, functions, classes) becomes another one, the same everywhere."""
    tree, rng = ast.parse(text), random.Random(seed)
    names: set[str] = set()
    for node in ast.walk(tree):
        names |= {v for f in ("id", "attr", "arg", "name") if isinstance(v := getattr(node, f, None), str)}
    fresh = [f"n{i}" for i in range(10 * len(names))]
    rng.shuffle(fresh)
    new = dict(zip(sorted(names), fresh, strict=False))
    for node in ast.walk(tree):
        for f in ("id", "attr", "arg", "name"):
            if isinstance(v := getattr(node, f, None), str) and not isinstance(node, ast.alias):
                setattr(node, f, new[v])
    return ast.unparse(tree)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), which=st.sampled_from(sorted(PACKAGE) + ["independent"]))
def test_renaming_every_identifier_never_changes_an_anonymised_score(seed: int, which: str) -> None:
    text = INDEPENDENT if which == "independent" else PACKAGE[which]
    before, after = scores(text), scores(renamed(text, seed))
    for a, b in zip(before, after, strict=True):
        assert a["trees"] == b["trees"] and a["shape"] == b["shape"]


@settings(max_examples=60, deadline=None)
@given(
    names=st.lists(st.sampled_from("abcdef"), min_size=6, max_size=6),
    others=st.lists(st.sampled_from("pqrstu"), min_size=6, max_size=6),
)
def test_windows_are_equal_exactly_if_one_renaming_makes_them_so(names: list[str], others: list[str]) -> None:
    form = "def f():\n    {0} = {1} + {2} * {3} - {4} / {5} + {0} * {1} + {2}\n"
    alike = len(set(zip(names, others, strict=True))) == len(set(names)) == len(set(others))
    a, b = views(form.format(*names)), views(form.format(*others))
    assert np.array_equal(a["trees"], b["trees"]) == alike
    statement = [max(features(parse(form.format(*x)))[0].views["trees"].sizes) for x in (names, others)]
    assert statement[0] == statement[1] > K


SAME = {
    "layout": ("def f(x, y):\n    return g(x,\n             (y), h(x))  # why\n", "def f(x,y): return (g((x), y, (h(x))))\n"),
    "quotes and text of strings": ("def f(x):\n    raise E('one', x, h(x))\n", 'def f(x):\n    raise E("""two""", x, h(x))\n'),
    "f-strings": ("def f(x):\n    raise E(f'one {x}', x, h(x))\n", "def f(x):\n    raise E('two', x, h(x))\n"),
    "annotations": (
        "def f(x: int, y: 'T' = None) -> str:\n    z: int = x + y * x\n    return z\n",
        "def f(x, y=None):\n    z = x + y * x\n    return z\n",
    ),
    "docstrings": ('def f(x):\n    """Says."""\n    return g(x, h(x), x)\n', "def f(x):\n    return g(x, h(x), x)\n"),
    "augmented assignment": ("def f(x, y):\n    x += g(y, h(y))\n", "def f(x, y):\n    x = x + g(y, h(y))\n"),
    "decorators": ("@torch.no_grad()\ndef f(x):\n    return g(x, h(x), x)\n", "def f(x):\n    return g(x, h(x), x)\n"),
    "keyword names": ("def f(x):\n    return g(x, dim=-1, other=h(x))\n", "def f(x):\n    return g(x, axis=-1, more=h(x))\n"),
    "name of the unit": ("def f(x):\n    return g(x, h(x), x)\n", "def other(x):\n    return g(x, h(x), x)\n"),
    "async": ("async def f(x):\n    return g(x, h(x), x)\n", "def f(x):\n    return g(x, h(x), x)\n"),
    "assert messages": ("def f(x):\n    assert g(x, h(x)) > x, 'no'\n", "def f(x):\n    assert g(x, h(x)) > x\n"),
}


@pytest.mark.parametrize("name", SAME)
def test_what_says_nothing_is_not_seen(name: str) -> None:
    a, b = (views(t) for t in SAME[name])
    assert all(len(a[v]) for v in ("names", "trees"))
    assert all(np.array_equal(a[v], b[v]) for v in VIEWS)


DIFFERENT = {
    "operators": ("def f(x, y):\n    return g(x + y, h(x), 1)\n", "def f(x, y):\n    return g(x - y, h(x), 1)\n"),
    "numbers": ("def f(x, y):\n    return g(x + y, h(x), 1)\n", "def f(x, y):\n    return g(x + y, h(x), 2)\n"),
    "who is who": ("def f(x, y):\n    return g(x + y, h(x), 1)\n", "def f(x, y):\n    return g(x + y, h(y), 1)\n"),
    "order of arguments": ("def f(x, y):\n    return g(x + y, h(x), 1)\n", "def f(x, y):\n    return g(h(x), x + y, 1)\n"),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_what_counts_is_seen_with_names_anonymised(name: str) -> None:
    a, b = (views(t) for t in DIFFERENT[name])
    assert not np.array_equal(a["trees"], b["trees"])


def test_order_of_methods_and_functions_says_nothing() -> None:
    one = PACKAGE["models/ruda/modeling_ruda.py"]
    other = launder(one, "rename+reorder", random.Random(4))
    found = {parse(one).units[i].name: views(one, i) for i in range(len(parse(one).units))}
    for i, u in enumerate(parse(other.text).units):
        assert np.array_equal(views(other.text, i)["trees"], found[other.origin[u.name]]["trees"]), u.name


def test_a_class_holds_its_methods_and_its_own_statements() -> None:
    text = "class C:\n    size = g(1, 2, h(3))\n\n    def f(self, x):\n        return g(x, h(x), self.size)\n"
    parsed = parse(text)
    assert [(u.name, u.kind, u.lines) for u in parsed.units] == [("C", "class", (1, 5)), ("C.f", "method", (4, 5))]
    whole, method = views(text, 0)["names"], views(text, 1)["names"]
    assert set(method) < set(whole)
    assert set(views("class D:\n    size = g(1, 2, h(3))\n")["names"]) == set(whole) - set(method)


def test_rare_features_weigh_most() -> None:
    got = weight(np.array([0, 1, 10, 500]), 500)
    assert got[0] == got[1] == 1 and 1 > got[2] > got[3] > 0
    assert weight(np.array([3]), 3)[0] > 0.7  # three files say little about what is common


def test_thresholds_are_read_strictly() -> None:
    text = (ROOT / "src" / "begat" / "audit" / "code" / "thresholds.toml").read_text("utf-8")
    assert read_thresholds(text).measured.startswith("20")
    with pytest.raises(ValueError, match="margin"):
        read_thresholds(text.replace("margin =", "margins ="))
    with pytest.raises(ValueError, match="unknown"):
        read_thresholds(text + "\n[more]\nx = 1\n")
