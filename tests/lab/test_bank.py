"""The bank of twins: every related pair of plain members once, with the numbers that compare shows, readable by the core."""

from __future__ import annotations

import json

import pytest

torch = pytest.importorskip("torch", reason="the lab needs torch: pip install begat[lab]")

import begat  # noqa: E402
from begat import InputError  # noqa: E402
from begat.stats import twins, views  # noqa: E402
from begat_lab.bank import bank_text, measure_bank  # noqa: E402
from begat_lab.grow import grow  # noqa: E402
from begat_lab.pedigree import parse_pedigree  # noqa: E402
from begat_lab.views_bank import hard_strangers, measure_views, reshaped_pairs, views_text  # noqa: E402

SOURCE = """
name = "small"
about = "a parent, two twins of it, a child and a stranger"
[shape]
vocab_size = 256
hidden_size = 32
intermediate_size = 64
num_hidden_layers = 2
num_attention_heads = 2
num_key_value_heads = 1
head_dim = 16
initializer_range = 0.04
max_position_embeddings = 32
[training]
steps = 60
batch = 4
context = 32
warmup = 5
rate = 1e-2
[[member]]
name = "parent"
kind = "scratch"
initial_seed = 1
window_seed = 1
[[member]]
name = "twin"
kind = "scratch"
count = 2
vary = ["window_seed"]
initial_seed = 1
window_seed = 2
[[member]]
name = "stranger"
kind = "scratch"
initial_seed = 2
window_seed = 1
[[member]]
name = "child"
kind = "fine-tune"
parents = ["parent"]
window_seed = 5
training = { steps = 10, rate = 1e-3 }
[[member]]
name = "small-copy"
kind = "int8"
parents = ["parent"]
"""


def test_every_related_pair_has_its_numbers(tmp_path, monkeypatch):
    grow(parse_pedigree(SOURCE, "small"), tmp_path / "family")
    told = []
    bank = measure_bank([tmp_path / "family"], lambda done, of: told.append((done, of)))
    twin_pairs = {frozenset(row[1:3]) for row in bank["pairs"]["shared-initialisation"]}
    assert twin_pairs == {
        frozenset(p)
        for p in (("parent", "twin-0"), ("parent", "twin-1"), ("twin-0", "twin-1"), ("child", "twin-0"), ("child", "twin-1"))
    }
    assert [row[1:3] for row in bank["pairs"]["descended"]] == [["parent", "child"]]
    assert bank["pairs"]["common-ancestor"] == []
    assert told[-1] == (6, 6)

    (row,) = bank["pairs"]["descended"]
    shown = begat.compare(tmp_path / "family" / "parent", tmp_path / "family" / "child", map="full").trained
    numbers = [shown.moved_a, shown.moved_b, shown.gains, shown.ranks, shown.share]
    assert row[4:] == pytest.approx(numbers, abs=1e-4)

    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "twins.json").write_text(bank_text(bank))
    monkeypatch.setattr(twins.resources, "files", lambda package: tmp_path)
    read = twins.load_bank.__wrapped__()
    assert {r: len(p) for r, p in read.pairs.items()} == {
        "shared-initialisation": 5, "same-order": 0, "descended": 1, "common-ancestor": 0,
    }  # fmt: skip


def test_an_unknown_column_is_refused(tmp_path, monkeypatch):
    raw = json.loads(
        bank_text({"about": "", "made_by": "", "recipes": {}, "versions": {}, "columns": ["a"], "pairs": {"descended": []}})
    )
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "twins.json").write_text(json.dumps(raw))
    monkeypatch.setattr(twins.resources, "files", lambda package: tmp_path)
    with pytest.raises(ValueError, match="other keys or columns"):
        twins.load_bank.__wrapped__()


def test_a_folder_that_is_no_family(tmp_path):
    with pytest.raises(InputError, match="no finished family"):
        measure_bank([tmp_path])


def test_the_bank_of_strangers_for_three_views(tmp_path, monkeypatch):
    """Only members that differ in their lottery alone, every pair once, readable by the core; relatives are never in it."""
    source = SOURCE.replace('name = "stranger"\nkind = "scratch"', 'name = "stranger"\nkind = "scratch"\ncount = 3\nvary = ["initial_seed"]')
    family = parse_pedigree(source, "test")
    names = [m.name for m in hard_strangers(family)]
    assert len([n for n in names if n.startswith("stranger")]) == 3
    assert len({m.seeds["initial_seed"] for m in hard_strangers(family)}) == len(names)
    grow(family, tmp_path / "family", 1)
    bank = measure_views(tmp_path / "family")
    assert sum(n for _, n in bank["shares"]) == len(names) * (len(names) - 1) // 2
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "views.json").write_text(views_text(bank))
    monkeypatch.setattr(views.resources, "files", lambda package: tmp_path)
    read = views.load_bank.__wrapped__()
    assert read.p(2.0) == pytest.approx(1 / (len(read.shares) + 1))
    assert read.p(0.0) == 1.0
    assert read.most == max(read.shares)
    spread = measure_views(tmp_path / "family", way=views.INVARIANTS, most=2)
    assert sum(n for _, n in spread["shares"]) == 2 and spread["made_by"] == "begat-lab bank --invariants --pairs 2 small"
    (tmp_path / "data" / "invariants.json").write_text(views_text(spread))
    assert len(views.load_bank.__wrapped__(views.INVARIANTS).shares) == 2


def test_the_bank_of_pairs_whose_partners_are_searched_for(tmp_path, monkeypatch):
    """A member of another depth with every hard stranger that it does not come from, and with no relative."""
    source = SOURCE.replace('name = "stranger"\nkind = "scratch"', 'name = "stranger"\nkind = "scratch"\ncount = 3\nvary = ["initial_seed"]')
    source += '[[member]]\nname = "deeper"\nkind = "up-scale"\nparents = ["parent"]\noptions = { layers = [0, 1, 0, 1] }\n'
    family = parse_pedigree(source, "test")
    pairs = reshaped_pairs(family)
    assert sorted(x for x, _ in pairs) == sorted(m.name for m in hard_strangers(family) if m.name.startswith("stranger"))
    assert {y for _, y in pairs} == {"deeper"}
    grow(family, tmp_path / "family", 1)
    bank = measure_views(tmp_path / "family", way=views.SEARCHED)
    assert sum(n for _, n in bank["shares"]) == 3 and "searched for" in bank["about"] and bank["made_by"] == "begat-lab bank --searched small"
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "searched.json").write_text(views_text(bank))
    monkeypatch.setattr(views.resources, "files", lambda package: tmp_path)
    assert len(views.load_bank.__wrapped__(views.SEARCHED).shares) == 3
