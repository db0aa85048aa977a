"""Pedigrees: what is not understood is refused with the place named; templates; parents before children; kinship."""

import pytest

pytest.importorskip("torch", reason="the lab needs torch: pip install begat[lab]")
pytest.importorskip("safetensors", reason="the lab needs safetensors: pip install begat[lab]")

from begat import InputError
from begat_lab.descent import KINDS
from begat_lab.kinship import Kinship
from begat_lab.pedigree import parse_pedigree, read_pedigree, shipped

HEAD = """
name = "small"
about = "A test."
[shape]
vocab_size = 256
hidden_size = 32
intermediate_size = 64
num_hidden_layers = 2
num_attention_heads = 4
num_key_value_heads = 2
head_dim = 8
[training]
steps = 4
"""
PARENT = '[[member]]\nname = "parent"\nkind = "scratch"\ninitial_seed = 1\nwindow_seed = 1\n'


def member(name, kind, parents=(), **more):
    rows = [f'name = "{name}"', f'kind = "{kind}"', *([f"parents = {list(parents)}"] if parents else [])]
    return "\n".join(["[[member]]", *rows, *(f"{key} = {value}" for key, value in more.items())]) + "\n"


def scratch(name, initial, **more):
    return member(name, "scratch", initial_seed=initial, window_seed=1, **more)


def parse(*members, head=HEAD):
    return parse_pedigree(head + "".join(members), "small.toml")


def test_templates_count_up_the_seeds_they_name():
    family = parse(member("s", "scratch", initial_seed=100, window_seed=7, count=12, vary='["initial_seed"]'))
    assert [m.name for m in family.members] == [f"s-{i:02d}" for i in range(12)]
    assert [m.seeds["initial_seed"] for m in family.members] == list(range(100, 112))
    assert {m.seeds["window_seed"] for m in family.members} == {7}


def test_copies_may_have_a_parent_each():
    strangers = scratch("s", 100, count=12, vary='["initial_seed"]')
    tuned = member("t", "fine-tune", ["s-{i:02d}"], window_seed=7, count=3, vary='["window_seed"]')
    family = parse(strangers, tuned, member("q", "int8", ["t-{i}"], count=3)).by_name
    assert [family[f"t-{i}"].parents for i in range(3)] == [("s-00",), ("s-01",), ("s-02",)]
    assert [family[f"t-{i}"].seeds for i in range(3)] == [{"window_seed": 7 + i} for i in range(3)]
    assert family["q-2"].parents == ("t-2",)


def test_parents_come_first_whatever_the_order_of_the_file():
    family = parse(member("b", "copied", ["a"]), member("a", "copied", ["parent"]), PARENT)
    assert [m.name for m in family.members] == ["parent", "a", "b"]


def test_members_override_single_fields():
    tuned = member("t", "fine-tune", ["parent"], window_seed=2, text='"internet"', training="{ steps = 9, rate = 1 }")
    wide = scratch("wide", 2, shape="{ hidden_size = 48 }")
    family = parse(PARENT, tuned, wide, head=HEAD + "batch = 3\n").by_name
    assert (family["t"].training.steps, family["t"].training.rate, family["t"].training.batch) == (9, 1.0, 3)
    assert (family["t"].text, family["parent"].text) == ("internet", "library")
    assert (family["wide"].shape.hidden_size, family["parent"].shape.hidden_size) == (48, 32)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([PARENT + "colour = 1\n"], r"member 'parent' has an unknown key.*found colour"),
        ([PARENT + "shape = { hidden = 1 }\n"], r"member 'parent', shape has an unknown key.*found hidden"),
        ([PARENT + "options = { share = 1 }\n"], r"options has an unknown key"),
        ([PARENT + "training = { steps = 1.5 }\n"], r"steps has the wrong type.*a whole number.*1\.5"),
        ([PARENT + "training = { cosine = 1 }\n"], r"cosine has the wrong type.*true or false"),
        ([PARENT + "chance_seed = 1\n"], r"never draws from: chance_seed"),
        ([member("p", "scratch", initial_seed=1)], r"lacks window_seed"),
        ([member("p", "born")], r"unknown kind.*found born.*begat-lab kinds"),
        ([PARENT, PARENT], "two members have one name"),
        ([PARENT, member("c", "copied")], r"'c': kind copied has other parents.*expected 1, found 0"),
        ([PARENT, member("c", "copied", ["nobody"])], r"not in the pedigree.*found nobody"),
        ([PARENT, member("c", "merge-linear", ["parent", "parent"])], r"names a parent twice"),
        ([member("a", "copied", ["b"]), member("b", "copied", ["a"])], "in a circle"),
        ([PARENT, member("q", "int8", ["parent"]), member("c", "copied", ["q"])], r"q cannot be read.*stores a quantised"),
        ([PARENT, member("c", "copied", ["parent"], text='"library"')], "text means nothing for kind copied"),
        ([PARENT, member("c", "copied", ["parent"], dtype='"int4"')], r"dtype.*bfloat16.*found int4"),
        ([PARENT + "count = 3\n"], "count above 1 needs something to vary"),
        ([PARENT + 'vary = ["chance_seed"]\ncount = 2\n'], r"vary.*found chance_seed"),
        ([scratch("../up", 1)], "a name becomes a folder"),
        ([PARENT, scratch("deep", 1, shape="{ num_hidden_layers = 3 }")], "different shapes but one initial_seed"),
        ([PARENT + 'parents = ["a{x}"]\nvary = ["window_seed"]\ncount = 2\n'], r"braces.*expected \{i\}"),
        ([PARENT, member("d", "disguised", ["parent"], chance_seed=1, options='{ disguises = ["T9"] }')], "no such disguise"),
        ([PARENT, member("g", "gguf", ["parent"], options='{ type = "Q9" }')], "GGUF block type"),
        ([PARENT, member("p", "prune-width", ["parent"])], "options lacks units"),
    ],
)
def test_what_is_not_understood_is_refused(members, message):
    with pytest.raises(InputError, match=message) as caught:
        parse(*members)
    assert caught.value.file == "small.toml"
    assert "\n" not in caught.value.line()


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ("name = ", "no TOML"),
        ('name = "x"\nabout = ""\n', r"lacks \[shape\]"),
        ('architecture = "rnn"\n' + HEAD, "dense.*found rnn"),
        ("threads = 0\n" + HEAD, "threads.*1 or more"),
        ("seed = 1\n" + HEAD, "unknown key.*found seed"),
        (HEAD.replace("head_dim = 8", ""), r"\[shape\] lacks head_dim"),
    ],
)
def test_heads_are_read_strictly(head, message):
    with pytest.raises(InputError, match=message):
        parse(PARENT, head=head)


def test_no_such_pedigree(tmp_path):
    with pytest.raises(InputError, match=r"no such pedigree.*quick"):
        read_pedigree(tmp_path / "none.toml")


@pytest.mark.parametrize("name", shipped())
def test_shipped_pedigrees_parse_and_have_every_kind(name):
    family = read_pedigree(name)
    assert family.name == name
    assert {m.kind for m in family.members} == set(KINDS), "a new kind of descent is named in every shipped pedigree"


def test_kinship():
    family = parse(
        PARENT,
        scratch("twin", 1),
        scratch("stranger", 2),
        member("child", "copied", ["parent"]),
        member("other", "noised", ["parent"], chance_seed=1),
        member("grandchild", "copied", ["child"]),
        member("merged", "merge-linear", ["child", "stranger"]),
        member("student", "distilled", ["parent"], initial_seed=3, window_seed=1),
        member("heir", "copied", ["student"]),
    )
    kin = Kinship(family)
    for a, b, relation in [
        ("parent", "parent", "descended"),
        ("parent", "grandchild", "descended"),
        ("grandchild", "parent", "descended"),
        ("child", "other", "common-ancestor"),
        ("grandchild", "merged", "common-ancestor"),
        ("stranger", "merged", "descended"),
        ("parent", "twin", "shared-initialisation"),
        ("merged", "twin", "shared-initialisation"),
        ("stranger", "twin", "independent"),
        ("parent", "student", "independent"),
        ("student", "heir", "descended"),
        ("parent", "heir", "independent"),
    ]:
        assert kin.relation(a, b) == kin.relation(b, a) == relation, (a, b)
