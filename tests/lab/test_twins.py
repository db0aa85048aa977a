"""Twins, siblings and children grown here, from initial weights of every rule: what begat says of them."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the lab needs torch: pip install begat[lab]")

import begat  # noqa: E402
from begat import InputError  # noqa: E402
from begat.verdict import POLICY  # noqa: E402
from begat_lab.grow import grow  # noqa: E402
from begat_lab.models.dense import DENSE, DenseConfig  # noqa: E402
from begat_lab.models.initial import RULES, Initial, draw_initial  # noqa: E402
from begat_lab.pedigree import parse_pedigree  # noqa: E402

HEAD = """
name = "small"
about = "twins, siblings and children"
[shape]
vocab_size = 256
hidden_size = 48
intermediate_size = 96
num_hidden_layers = 2
num_attention_heads = 3
num_key_value_heads = 1
head_dim = 16
initializer_range = 0.02
max_position_embeddings = 32
tie_word_embeddings = false
[training]
steps = 40
batch = 24
context = 32
warmup = 15
rate = 3e-3
"""
TWINS = """
[[member]]
name = "{name}"
kind = "scratch"
count = 2
vary = ["window_seed"]
initial_seed = {seed}
window_seed = 1
options = {{ {options} }}
"""
STARTS = {
    "linear": 'initial = "kaiming-uniform"',
    "stated": 'initial = "normal"',
    "wide": 'initial = "normal", deviation = 0.06',
    "narrow": 'initial = "normal", deviation = 0.01',
    "scaled": 'initial = "normal", residual = true',
    "glorot": 'initial = "xavier-uniform"',
    "cut": 'initial = "truncated", embedding = 0.1',
}
#: what twins may be called; "no-evidence" where nothing of the start is left
LEFT_OPEN = {"shared-initialisation", "derived-or-shared-initialisation", "no-evidence"}
FAMILY = """
[[member]]
name = "twin"
kind = "scratch"
count = 2
vary = ["window_seed"]
initial_seed = 1
window_seed = 1
options = { initial = "normal" }
training = { steps = 400, batch = 8, rate = 5e-3 }
[[member]]
name = "sibling"
kind = "continued"
count = 2
vary = ["window_seed"]
parents = ["twin-0"]
window_seed = 5
training = { steps = 400, batch = 8, rate = 5e-3 }
[[member]]
name = "tuned"
kind = "fine-tune"
parents = ["twin-0"]
window_seed = 8
text = "internet"
training = { steps = 60, batch = 8, rate = 1e-3 }
"""


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    source = HEAD + "".join(TWINS.format(name=n, seed=i, options=o) for i, (n, o) in enumerate(STARTS.items(), 1))
    folder = tmp_path_factory.mktemp("short")
    grow(parse_pedigree(source, "small"), folder)
    return folder


@pytest.fixture(scope="module")
def far(tmp_path_factory):
    folder = tmp_path_factory.mktemp("far")
    grow(parse_pedigree(HEAD + FAMILY, "small"), folder)
    return folder


@pytest.mark.parametrize("name", STARTS)
def test_twins_of_forty_steps_are_not_called_derived(short, name):
    """They agree as a child does with its parent; what tells them apart is that their gains have hardly moved."""
    found = begat.compare(short / f"{name}-0", short / f"{name}-1", align=False)
    assert found.verdict == "derived-or-shared-initialisation"
    assert found.trained is not None and found.trained.gains is not None and found.trained.gains > 0.6
    assert found.trained.moved_a < POLICY.trained_moved and "hardly" not in found.sentence
    assert found.direction == "undetermined"


def test_some_of_them_pass_both_thresholds_for_children(short):
    """The test above would hold of any statistic that is always low."""
    states = [begat.compare(short / f"{n}-0", short / f"{n}-1", align=False).trained for n in STARTS]
    assert sum(t.gains >= POLICY.trained_gains and (t.share or 0) >= POLICY.trained_share for t in states) >= 2


def test_siblings_trained_as_long_again_are_not_called_twins(far):
    """What the two share is their parent."""
    found = begat.compare(far / "sibling-0", far / "sibling-1", align=False)
    assert found.trained.moved_a > POLICY.trained_moved
    assert found.verdict in ("derived", "derived-or-shared-initialisation")


def test_twins_that_have_lost_layers_are_not_called_partly_derived(tmp_path):
    """So hot a training that some layers keep nothing of the start; what is left of it is no part of one in the other."""
    hot = HEAD + FAMILY.split('[[member]]\nname = "sibling"')[0].replace("5e-3", "1.2e-2")
    grow(parse_pedigree(hot, "small"), tmp_path)
    assert begat.compare(tmp_path / "twin-0", tmp_path / "twin-1", align=False).verdict in LEFT_OPEN


def test_twins_of_full_length_are_not_called_derived(far):
    for a, b in (("twin-0", "twin-1"), ("sibling-0", "twin-1"), ("tuned", "twin-1")):
        assert begat.compare(far / a, far / b, align=False).verdict in LEFT_OPEN
    assert begat.compare(far / "twin-0", far / "twin-1", align=False).verdict == "shared-initialisation"


def test_a_child_is_called_derived(far):
    for a, b in (("twin-0", "tuned"), ("tuned", "twin-0")):
        found = begat.compare(far / a, far / b, align=False)
        assert found.verdict == "derived" and found.trained.initial_sd == 0.02


# --- drawing --------------------------------------------------------------------------------------------------

SHAPE = DenseConfig(vocab_size=256, hidden_size=64, intermediate_size=192, num_hidden_layers=2, num_attention_heads=4,
                    num_key_value_heads=2, head_dim=16, tie_word_embeddings=False)  # fmt: skip


def drawn(**options):
    model = DENSE.empty(SHAPE)
    draw_initial(model, Initial(**options), torch.Generator().manual_seed(1))
    return dict(model.state_dict().items())


@pytest.mark.parametrize(
    ("options", "gate", "down"),
    [
        ({"initial": "normal"}, 0.02, 0.02),
        ({"initial": "normal", "deviation": 0.06}, 0.06, 0.06),
        ({"initial": "normal", "residual": True}, 0.02, 0.01),
        ({"initial": "truncated"}, 0.02 * 0.8796, 0.02 * 0.8796),
        ({"initial": "kaiming-uniform"}, (1 / 3 / 64) ** 0.5, (1 / 3 / 192) ** 0.5),
        ({"initial": "kaiming-normal"}, (2 / 64) ** 0.5, (2 / 192) ** 0.5),
        ({"initial": "xavier-uniform"}, (2 / 256) ** 0.5, (2 / 256) ** 0.5),
        ({"initial": "xavier-normal"}, (2 / 256) ** 0.5, (2 / 256) ** 0.5),
    ],
    ids=str,
)
def test_rules_have_the_deviation_that_their_formula_says(options, gate, down):
    weights = drawn(**options)
    assert {o["initial"] for o in ({"initial": r} for r in RULES)} >= {options["initial"]}
    assert float(weights["model.layers.0.mlp.gate_proj.weight"].std()) == pytest.approx(gate, rel=0.03)
    assert float(weights["model.layers.1.mlp.down_proj.weight"].std()) == pytest.approx(down, rel=0.03)
    assert all(bool((w == 1).all()) for n, w in weights.items() if n.endswith("norm.weight"))


def test_torch_draws_linear_layers_as_the_rule_does():
    torch.manual_seed(0)
    ours, theirs = drawn(initial="kaiming-uniform")["model.layers.0.mlp.down_proj.weight"], torch.nn.Linear(192, 64).weight.detach()
    assert float(ours.abs().max()) <= float(theirs.abs().max()) * 1.001
    assert float(ours.std()) == pytest.approx(float(theirs.std()), rel=0.03)


def test_embeddings_are_drawn_apart_where_asked():
    weights = drawn(initial="normal", embedding=1.0)
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        assert float(weights[name].std()) == pytest.approx(1, rel=0.03)


@pytest.mark.parametrize("bad", [{"initial": "he"}, {"deviation": 0.1}, {"residual": True}, {"initial": "normal", "deviation": -1.0}], ids=str)
def test_a_rule_that_says_nothing_is_refused(bad):
    with pytest.raises(InputError):
        Initial(**bad)


def test_a_member_without_rule_keeps_the_recipe_it_had():
    """Families grown before there were rules are not grown again."""
    plain, ruled = parse_pedigree(HEAD + FAMILY.split("[[member]]\nname = \"sibling\"")[0], "small").members[0], Initial()
    assert plain.recipe()["options"] == {"initial": "normal"}
    bare = parse_pedigree(HEAD + TWINS.format(name="x", seed=1, options=""), "small").members[0]
    assert bare.recipe()["options"] == {} and bare.options == ruled
