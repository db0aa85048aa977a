"""Which pairs are scored, and that their labels are the pedigree's."""

from __future__ import annotations

from collections import Counter

import pytest

pytest.importorskip("torch", reason="the lab needs torch: pip install begat[lab]")
pytest.importorskip("scipy", reason="the lab needs scipy: pip install begat[lab]")

from begat_lab.bench.pairs import GROUPS, Pair, Sizes, choose_pairs, disguised, hard_strangers, ladder_of, rows_of
from begat_lab.kinship import Kinship
from begat_lab.pedigree import read_pedigree
from lab.bench.bench_family import tiny

RELATION = {"hard": "independent", "strangers": "independent", "unrelated": "independent", "taught": "independent",
            "twins": "shared-initialisation", "siblings": "common-ancestor", "descended": "descended"}  # fmt: skip


def everything(name: str) -> list[Pair]:
    family = read_pedigree(name)
    return choose_pairs(family, frozenset(m.name for m in family.members))


@pytest.mark.parametrize("name", ["quick", "full", "deep", "gpt2"])
def test_every_group_is_what_the_pedigree_says(name: str) -> None:
    kin = Kinship(read_pedigree(name))
    pairs = everything(name)
    assert all(kin.relation(p.a, p.b) == RELATION[p.group] for p in pairs)
    assert all(p.a in kin.sources(p.b) for p in pairs if p.group == "descended")
    assert set(RELATION) == set(GROUPS)
    assert len({frozenset((p.a, p.b)) for p in pairs}) == len(pairs)


def test_the_full_family_has_the_promised_strangers() -> None:
    family = read_pedigree("full")
    pairs = everything("full")
    number = Counter(p.group for p in pairs)
    assert number["hard"] == 81 * 80 // 2
    assert len(hard_strangers(family)) == 81
    assert number["twins"] >= 88
    assert number["unrelated"] == 200
    assert sum(disguised(family, p.b) for p in pairs if p.group == "unrelated") == 100


def test_every_kind_but_adapters_is_scored_against_its_parent_and_its_founder() -> None:
    family = tiny()
    pairs = choose_pairs(family, frozenset(m.name for m in family.members))
    found = {(p.a, p.b): p for p in pairs}
    assert found["tuned-0", "hidden"] == Pair("tuned-0", "hidden", "descended", "hidden", "parent")
    assert found["stranger-0", "hidden"] == Pair("stranger-0", "hidden", "descended", "hidden", "founder")
    assert found["stranger-0", "tuned-0"].label == "tuned"
    assert found["stranger-2", "student"].group == "taught"
    assert found["stranger-0", "twin"].group == "twins"
    assert not any("adapter" in (p.a, p.b) for p in pairs)
    assert rows_of(family)["stranger-3"] == "stranger"
    assert rows_of(family)["other-text"] == "other-text"


def test_unfinished_members_and_other_texts_are_kept_out_of_the_hard_set() -> None:
    family = tiny()
    finished = frozenset(m.name for m in family.members) - {"stranger-3", "tuned-1"}
    pairs = choose_pairs(family, finished)
    assert all({p.a, p.b} <= finished for p in pairs)
    assert {(p.a, p.b) for p in pairs if p.group == "hard"} == {("stranger-0", "stranger-1"), ("stranger-0", "stranger-2"), ("stranger-1", "stranger-2")}
    assert {p.label for p in pairs if p.group == "strangers"} == {"other-text", "twin"}


def test_draws_are_repeated_and_bounded() -> None:
    family = read_pedigree("full")
    names = frozenset(m.name for m in family.members)
    small = Sizes(strangers=2, unrelated=10, siblings=5, twins=90)
    one, two = (choose_pairs(family, names, small) for _ in range(2))
    assert one == two
    number = Counter(p.group for p in one)
    assert (number["unrelated"], number["siblings"], number["twins"]) == (10, 5, 90)


def test_ladders() -> None:
    family = read_pedigree("full")
    assert ladder_of(family, "continued-3x") == ("continued training", 3.0)
    assert ladder_of(family, "hot-0.3x") == ("continued at 6.7 x the rate", 0.3)
    assert ladder_of(family, "noised-16-0") == ("noise", 16.0)
    assert ladder_of(family, "pruned-99-4") == ("pruning", 0.99)
    assert [ladder_of(family, n) for n in ("gguf-q5-0-1", "int8-0", "gptq-act-order-0")] == [("bits", 5.0), ("bits", 8.0), ("bits", 4.0)]
    assert ladder_of(family, "tuned-0") is None
    assert ladder_of(family, "parent") is None
