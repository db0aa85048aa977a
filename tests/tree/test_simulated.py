"""Random families of `benchmarks/tree/simulate.py`, a few: no wrong arrow or line, and enough found."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def simulate():
    path = Path(__file__).parents[2] / "benchmarks" / "tree" / "simulate.py"
    spec = importlib.util.spec_from_file_location("tree_simulate", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["tree_simulate"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["tree_simulate"]


@pytest.mark.parametrize("shared", [True, False])
def test_small_families(simulate, shared):
    counts = simulate.run(12, 8, 400_000, shared)
    assert counts["arrow wrong"] == counts["edge wrong"] == counts["mixture wrong"] == 0
    assert counts["open wrong"] == 0
    drawn = counts["true descent drawn"]
    assert drawn >= 0.4 * (drawn + counts["true descent left open"] + counts["true descent not drawn"])
    assert counts["arrow right"] >= 3
    assert counts["true mixture drawn"] + counts["true mixture left open"] > counts["true mixture not drawn"]


def test_what_the_judge_calls_wrong(simulate):
    """A judge that finds everything right would prove nothing."""
    import numpy as np

    from begat.tree import Edge, Policy, Tree, TreeNode

    fam = simulate.Family()
    for parents, kind in (((), "root"), ((0,), "child"), ((1,), "child"), ((0,), "copy")):
        fam.add(np.ones((simulate.LAYERS, 4)), parents, kind, 0)
    nodes = tuple(TreeNode(str(i), "given") for i in range(4))
    edges = (Edge(0, 2, "line"), Edge(1, 0, "arrow"), Edge(3, 1, "line"))
    counts = simulate.judge(fam, [0, 1, 2, 3], Tree(nodes, edges, ((0, 1, 2, 3),), (), 6, 6.8, (), Policy()))
    assert counts["edge wrong"] == 1
    assert counts["arrow wrong"] == 1
    assert counts["edge right"] == 2
