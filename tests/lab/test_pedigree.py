"""Pedigrees: what is not understood is refused with the place named; templates; parents before children; kinship."""

import hashlib
import json

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
GPT2 = """
[[member]]
name = "gpt"
kind = "scratch"
architecture = "gpt2"
shape = { vocab_size = 256, n_embd = 32, n_inner = 64, n_layer = 2, n_head = 4 }
initial_seed = 7
window_seed = 1
"""


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
        ([PARENT + 'architecture = "rnn"\n'], r"architecture for kind scratch.*dense.*found rnn"),
        ([GPT2.replace("n_head = 4", "n_head = 5")], r"hidden size .*multiple of 5, found 32"),
        ([PARENT + 'architecture = "gpt2"\n'], r"'parent', shape lacks vocab_size"),
        ([PARENT, member("c", "copied", ["parent"], architecture='"gpt2"')], "architecture means nothing for kind copied"),
        (
            [PARENT, GPT2, member("m", "merge-linear", ["parent", "gpt"])],
            r"parent and gpt have different arch.*expected dense, found gpt2",
        ),
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
def test_shipped_pedigrees_parse(name):
    assert read_pedigree(name).name == name


@pytest.mark.parametrize("name", ["quick", "full"])
def test_dense_pedigrees_have_every_kind(name):
    kinds = {m.kind for m in read_pedigree(name).members}
    assert kinds == set(KINDS), "a new kind of descent is named in both"


#: SHA-256 of the recipes of members of quick.toml. A finished member is kept only if its recipe is what it was, so a change here throws
#: away families that took hours to grow
RECIPES = {
    "parent": "9a1ee41dfa3c67da96f628604e6b54a6d810ef44abdde6169080f5091db18aa5",
    "stranger-untied": "59c5b173e0f01e590d4275c25c0936a1e069fdcdc960c78347c7cc102f70e8db",
    "twin-rate": "8ec3ce8363e6dccb907eb733ab43f1c21b035767b1d05603a79c8ee8418650f6",
    "continued-3x": "4f0727904e2c15edd8fa845952ac75dda6b9def515227f0aa72859bd383f5de6",
    "four-bit": "c997a98fe625a13236b6dbb380f9989d7afcc9c827e8eb22905f42d0a3a10905",
    "noised": "66de47fc08b19da8bc50d8e05137dd2d3e60364ee6041ed5d7b33d1753743db4",
    "merge-ties": "08c332fe9866801537501e2532305e4e20060fd32413ddb80eb84de04003b78c",
    "upcycled": "38007584d33ec25171571967fdbf241850b18eadfe57fc6546200226f1f8c509",
}


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_of_dense_members_stay_what_they_were(name):
    recipe = read_pedigree("quick").by_name[name].recipe()
    assert hashlib.sha256(json.dumps(recipe).encode()).hexdigest() == RECIPES[name], recipe


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


DENSE_ONLY = {name for name, kind in KINDS.items() if kind.knows == ("dense",)}


def test_children_have_their_parents_architecture():
    family = parse(
        PARENT, GPT2, member("child", "fine-tune", ["gpt"], window_seed=2), member("grandchild", "copied", ["child"])
    ).by_name
    assert [family[name].architecture for name in ("parent", "gpt", "child", "grandchild")] == ["dense", "gpt2", "gpt2", "gpt2"]
    assert family["child"].recipe()["architecture"] == "gpt2"


@pytest.mark.parametrize("kind", sorted(DENSE_ONLY - {"lora-merged"}))  # that one wants an adapter, which only dense models have
def test_kinds_that_know_only_dense_models_say_so(kind):
    asked = next(m for m in read_pedigree("quick").members if m.kind == kind)
    row = {**asked.seeds}
    if options := {key: value for key, value in asked.recipe()["options"].items() if value is not None}:
        row["options"] = "{ " + ", ".join(f"{key} = {json.dumps(value)}" for key, value in options.items()) + " }"
    other = GPT2.replace('"gpt"', '"other"').replace("initial_seed = 7", "initial_seed = 8")
    with pytest.raises(
        InputError, match=rf"kind {kind} does not know .* of its parent gpt .expected dense, found gpt2"
    ) as caught:
        parse(GPT2, other, member("x", kind, ["gpt", "other"][: KINDS[kind].parents[1]], **row))
    assert "\n" not in caught.value.line()
