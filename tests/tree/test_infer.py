"""Small families whose tree is known: what must be found, and what must never be claimed."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from begat.errors import InputError
from begat.tree import Node, Relation, infer
from tree.scenes import Scene, edges, label


def arrows(tree) -> list[str]:
    return [x for x in edges(tree) if ">" in x]


def base() -> Scene:
    return Scene().root("base").child("p", "base", 0.2).child("q", "base", 0.25)


# --- trees ---


def test_a_chain_is_a_chain_without_direction():
    scene = base().child("c", "p", 0.2).child("d", "c", 0.15)
    assert edges(scene.tree("d p base c")) == {"base-p", "c-p", "c-d"}


def test_children_hang_from_their_parent_not_from_each_other():
    scene = base().child("r", "base", 0.18)
    assert edges(scene.tree("p q base r")) == {"base-p", "base-q", "base-r"}


def test_large_angles_use_the_spherical_law():
    """At 0.7 rad d² no longer adds; −log cos does."""
    scene = Scene().root("base").child("p", "base", 0.7).child("c", "p", 0.6)
    tree = scene.tree("c p base")
    assert edges(tree) == {"base-p", "c-p"}
    assert scene.angle("base", "c") == pytest.approx(math.acos(math.cos(0.7) * math.cos(0.6)), abs=0.01)


def test_siblings_of_a_parent_not_given_meet_at_an_unnamed_node():
    scene = base().child("r", "base", 0.22).child("c", "r", 0.2)
    tree = scene.tree("p q r c")
    assert edges(tree) == {"#unnamed-p", "#unnamed-q", "#unnamed-r", "c-r"}
    lengths = {label(tree, e.b if tree.nodes[e.a].kind == "unnamed" else e.a): e.distance for e in tree.edges}
    assert lengths["p"] == pytest.approx(0.2, rel=0.05)
    assert lengths["q"] == pytest.approx(0.25, rel=0.05)


def test_two_siblings_alone_are_one_line():
    assert edges(base().tree("p q")) == {"p-q"}


def test_what_measurement_cannot_tell_stays_open():
    scene = base().child("tiny", "base", 0.012)
    tree = scene.tree("base tiny q p", sd=0.01)
    assert "base-tiny" in edges(tree)
    assert {n for n in edges(tree) if n.endswith("}") or n.startswith("?")} and not {"base-q", "q-tiny"} & edges(tree)
    open_nodes = [n for n in tree.nodes if n.kind == "open"]
    assert {0, 1} <= set(open_nodes[0].among)


def test_the_order_of_models_does_not_matter():
    scene = base().child("c", "p", 0.2).child("d", "q", 0.1).sum("m", p=0.5, q=0.5)
    names = ["base", "p", "q", "c", "d", "m"]
    rng = np.random.default_rng(1)
    first = edges(scene.tree(" ".join(names)))
    for _ in range(5):
        rng.shuffle(names)
        assert edges(scene.tree(" ".join(names))) == first


# --- mixtures ---


def test_a_merge_is_a_node_with_two_parents_and_arrows():
    tree = base().child("r", "base", 0.2).sum("m", p=0.6, q=0.4).tree("m base q p r")
    assert edges(tree) == {"base-p", "base-q", "base-r", "p>m*", "q>m*"}
    weights = {label(tree, e.a): e.weight for e in tree.edges if e.mixture}
    assert weights["p"] == pytest.approx(0.6, abs=0.03)
    assert weights["q"] == pytest.approx(0.4, abs=0.03)


def test_a_merge_of_three():
    tree = base().child("r", "base", 0.2).sum("m", p=0.3, q=0.4, r=0.3).tree("m base q p r")
    assert {"p>m*", "q>m*", "r>m*"} <= edges(tree)


def test_a_merge_without_any_third_relative_has_no_arrow():
    """Three models on one arc: the outer one may as well have been extrapolated through the middle one."""
    assert edges(base().sum("m", p=0.5, q=0.5).tree("p q m")) == {"p-m*", "q-m*"}


def test_a_merge_of_unrelated_models_has_arrows():
    scene = Scene().root("p").root("q").sum("m", p=0.5, q=0.5)
    assert edges(scene.tree("p q m")) == {"p>m*", "q>m*"}


def test_training_after_the_merge_costs_the_arrows_not_the_caution():
    scene = base().child("r", "base", 0.2).sum("x", p=0.5, q=0.5).child("m", "x", 0.06)
    tree = scene.tree("m base q p r")
    assert not arrows(tree)
    assert not {"base-m", "m-r"} & edges(tree)


def test_a_child_of_a_merge_hangs_from_the_merge():
    scene = base().child("r", "base", 0.2).sum("m", p=0.5, q=0.5).child("c", "m", 0.3)
    tree = scene.tree("m base q p r c")
    assert "c-m" in edges(tree)
    assert {"p>m*", "q>m*"} <= edges(tree)


def test_a_parent_that_could_be_another_is_left_open():
    scene = base().child("r", "base", 0.2).child("p2", "p", 0.008).sum("m", p=0.5, q=0.5)
    tree = scene.tree("m base q p p2 r")
    assert "?{p p2}-m*" in edges(tree)
    assert not any(x.startswith(("p>", "p2>")) for x in edges(tree))


@pytest.mark.parametrize("step", [0.3, 1.0])
def test_extrapolation_gets_no_arrow(step):
    """x = m + step (m − p), as in "ExPO": m lies between p and x, but was not mixed from them."""
    scene = Scene().root("base").child("p", "base", 0.1).child("m", "p", 0.2)
    scene.sum("x", m=1 + step, p=-step)
    for names in ("p m x", "base p m x"):
        assert not arrows(scene.tree(names))


def test_negated_task_vectors_get_no_arrow():
    scene = base().sum("negated", base=2.0, p=-1.0)
    tree = scene.tree("base p q negated")
    assert not any(x.endswith(">base*") for x in edges(tree))


def test_training_straight_on_gets_no_arrow():
    scene = Scene().root("base").child("p", "base", 0.2)
    scene.sum("c", p=2.0, base=-1.0).child("q", "base", 0.2)
    assert not arrows(scene.tree("base p c q"))


def test_a_sum_of_differences_stays_open():
    """A "chat vector": x = p + (q − base). All corners of this rectangle are right angles; no tree fits."""
    tree = base().sum("x", p=1.0, q=1.0, base=-1.0).tree("base p q x")
    assert any(n.kind == "open" for n in tree.nodes)
    assert not arrows(tree)


# --- twins, copies, direction, kinship ---


def test_twins_share_a_start_and_no_line():
    scene = Scene().root("start").child("a", "start", 0.8).child("b", "start", 0.5).child("c", "a", 0.6)
    tree = scene.tree("a b c", twins=[("a", "b"), ("b", "c")], arrows=[("a", "b")])
    assert edges(tree) - {"#start-a", "#start-?{a c}", "?{a c}~a"} == {"#start-b", "a-c"}
    assert [(c.a, c.b) for c in tree.claims] == [(0, 1)]


def test_copies_are_marked_and_do_not_disturb():
    scene = base().child("p16", "p", 0.0003).child("c", "p", 0.2)
    tree = scene.tree("base p p16 q c")
    assert edges(tree) == {"p=p16", "base-p", "base-q", "c-p"}


def test_arrows_come_from_evidence_about_that_pair_only():
    scene = base().child("c", "p", 0.2)
    tree = scene.tree("base p q c", arrows=[("base", "p"), ("base", "c")])
    assert edges(tree) == {"base>p", "base-q", "c-p"}
    assert [(c.a, c.b, c.why) for c in tree.claims] == [(0, 3, "evidence")]


def test_an_arrow_may_point_either_way_round():
    assert edges(base().tree("p base", arrows=[("base", "p")])) == {"base>p"}


def test_evidence_against_a_mixture_takes_both_arrows_off():
    scene = base().child("r", "base", 0.2).sum("m", p=0.5, q=0.5)
    tree = scene.tree("m base q p r", arrows=[("m", "p")])
    assert "p-m*" in edges(tree)
    assert len(tree.claims) == 1


def test_kinship_pays_for_the_number_of_pairs():
    nodes = [Node(str(i), str(i)) for i in range(5)]
    pairs = list(itertools.combinations(range(5), 2))
    for log10_e, kin in ((6.99, False), (7.0, True)):
        relations = [Relation(i, j, log10_e if (i, j) == (0, 1) else 0.0, 0.3, 0.001) for i, j in pairs]
        tree = infer(nodes, relations)
        assert tree.threshold == pytest.approx(7.0)
        assert bool(tree.edges) is kin


def test_distance_alone_makes_no_kin():
    relations = [Relation(0, 1, None, 0.01, 0.0001), Relation(0, 2, 2.0, 0.01, 0.0001)]
    tree = infer([Node(str(i), "x") for i in range(3)], relations)
    assert tree.edges == ()
    assert tree.components == ((0,), (1,), (2,))


def test_evidence_of_direction_without_kinship_draws_nothing():
    tree = infer([Node("0", "a"), Node("1", "b")], [Relation(0, 1, 1.0, 0.1, 0.001, "a → b", "low rank")])
    assert tree.edges == () and tree.claims == ()


def test_kin_without_a_distance():
    two = infer([Node("0", "a"), Node("1", "b")], [Relation(0, 1, 50.0, None, 0.0)])
    assert edges(two) == {"a-b"}
    three = infer([Node(x, x) for x in "abc"], [Relation(0, 1, 50.0, 0.2, 0.001), Relation(0, 2, 50.0, None, 0.0), Relation(1, 2, 50.0, None, 0.0)])
    assert edges(three) == {"a-b", "?{a b}~a", "?{a b}-c"}


@pytest.mark.parametrize(
    ("relations", "says"),
    [
        ([Relation(0, 0, 1.0, 0.1, 0.1)], "not there"),
        ([Relation(0, 7, 1.0, 0.1, 0.1)], "not there"),
        ([Relation(0, 1, 1.0, 0.1, 0.1), Relation(1, 0, 1.0, 0.1, 0.1)], "two relations"),
        ([Relation(0, 1, math.nan, 0.1, 0.1)], "impossible numbers"),
        ([Relation(0, 1, 1.0, -0.1, 0.1)], "impossible numbers"),
        ([Relation(0, 1, 1.0, 0.1, math.nan)], "impossible numbers"),
    ],
)
def test_impossible_input_is_refused(relations, says):
    with pytest.raises(InputError, match=says):
        infer([Node("a", "a"), Node("b", "b")], relations)


def test_a_model_given_twice_is_refused():
    with pytest.raises(InputError, match="given twice"):
        infer([Node("a", "x"), Node("a", "y")], [])


def test_nothing_and_one_model():
    assert infer([], []).nodes == ()
    assert infer([Node("a", "a")], []).components == ((0,),)
