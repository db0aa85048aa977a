"""Tokenizer order: the null simulated, sorted vocabularies refused, added, pruned and moved tokens located, merges beside ids, parts compared."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from begat.audit.tokenizers.compare import compare_tokenizers, judge
from begat.audit.tokenizers.order import LEAST, agreement, arranged, chance_agreement, learnt, longest_increasing
from begat.audit.tokenizers.parts import Parts
from begat.source.tokens import Vocabulary
from begat.source.tokens.spelling import byte_letters

NONE = Parts({}, None, None, None, None, None)


def vocabulary(tokens: dict[bytes, int]) -> Vocabulary:
    return Vocabulary(Path("tokenizer.json"), "tokenizer.json", tokens, {}, {}, max(tokens.values()) + 1)


def words(rng: random.Random, count: int) -> list[bytes]:
    out: dict[bytes, None] = {}
    while len(out) < count:
        out["".join(rng.choices("abcdefghijklmnop", k=rng.randint(2, 9))).encode()] = None
    return list(out)


@pytest.mark.parametrize("seed", range(5))
def test_the_longest_run_is_the_longest(seed: int) -> None:
    rng = random.Random(seed)
    values = rng.sample(range(50), 12)
    best = max(
        bin(mask).count("1")
        for mask in range(1 << 12)
        if (chosen := [v for i, v in enumerate(values) if mask >> i & 1]) == sorted(chosen)
    )
    assert longest_increasing(values) == best


@pytest.mark.parametrize("n", [300, 2000])
def test_independent_orders_stay_below_the_bound_and_near_twice_the_root(n: int) -> None:
    rng = random.Random(n)
    runs = [longest_increasing(rng.sample(range(n), n)) for _ in range(200)]
    assert max(runs) < chance_agreement(n) * n
    assert 1.6 * n**0.5 < sum(runs) / len(runs) < 2 * n**0.5


def test_the_bound_holds_at_a_probability_that_can_be_simulated() -> None:
    rng = random.Random(1)
    k = chance_agreement(40, log10_p=-1.0) * 40
    assert sum(longest_increasing(rng.sample(range(40), 40)) >= k for _ in range(4000)) <= 0.1 * 4000


@pytest.mark.parametrize("n", [1, 5, 20, 300, 5000])
def test_the_bound_is_the_smallest_run_that_reaches_it(n: int) -> None:
    from begat.stats.monotone import log10_p_increasing

    k = round(chance_agreement(n) * n)
    if log10_p_increasing(n, n) > -6:
        assert k == n
    else:
        assert log10_p_increasing(k, n) <= -6 < log10_p_increasing(k - 1, n)


def pair(seed: int, shared: int) -> tuple[dict[bytes, int], dict[bytes, int]]:
    rng = random.Random(seed)
    tokens = words(rng, shared)
    return {t: i for i, t in enumerate(tokens)}, {t: i for i, t in enumerate(rng.sample(tokens, len(tokens)))}


@pytest.mark.parametrize("shared", [LEAST, 1000, 5000])
def test_independent_vocabularies_are_not_found_however_many_tokens_they_share(shared: int) -> None:
    a, b = pair(7, shared)
    result = judge(vocabulary(a), vocabulary(b), NONE, NONE, "other")
    assert result.level == "not-found"
    assert result.containment == (1.0, 1.0)


def test_too_few_shared_tokens_say_nothing() -> None:
    a, _ = pair(3, LEAST - 1)
    result = judge(vocabulary(a), vocabulary(a), NONE, NONE, "itself")
    assert (result.level, result.judged) == ("not-determinable", "")


@pytest.mark.parametrize(
    "order", [sorted, lambda t: sorted(t, key=lambda x: (len(x), x)), lambda t: sorted(t, key=lambda x: (-len(x), x))]
)
def test_vocabularies_sorted_by_a_rule_are_no_evidence(order: object) -> None:
    rng = random.Random(5)
    tokens = words(rng, 4000)
    a = {t: i for i, t in enumerate(order(rng.sample(tokens, 3000)))}  # type: ignore[operator]
    b = {t: i for i, t in enumerate(order(rng.sample(tokens, 3000)))}  # type: ignore[operator]
    assert agreement(a, b)[1] == agreement(a, b)[0] > 1000
    result = judge(vocabulary(a), vocabulary(b), NONE, NONE, "other")
    assert result.level == "not-determinable"
    assert arranged(a, b) in result.sentence


def test_an_alphabet_in_order_of_code_points_is_no_evidence() -> None:
    letters = {chr(0x4E00 + i).encode(): i for i in range(2000)}
    assert learnt(letters) == {}
    assert judge(vocabulary(letters), vocabulary(letters), NONE, NONE, "x").level == "not-determinable"


def test_extended_pruned_and_moved_vocabularies_are_located() -> None:
    rng = random.Random(9)
    tokens = words(rng, 3000)
    base = {t: i for i, t in enumerate(tokens)}
    kept = [t for i, t in enumerate(tokens) if not 1000 <= i < 1400]
    made = {t: 50 + i for i, t in enumerate(kept)} | {b"<new %d>" % i: i for i in range(50)}
    result = judge(vocabulary(made), vocabulary(base), NONE, NONE, "base")
    assert (result.level, result.kept, result.added, result.pruned) == ("established", 2600, 50, 400)
    assert [(s.start, s.end, s.shift, s.tokens) for s in result.segments] == [(1050, 2649, -350, 1600), (50, 1049, 50, 1000)]
    assert result.added_at == ((0, 49),)


def bpe(folder: Path, vocab: dict[str, int], merges: list[str], **more: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    raw = {
        "model": {"type": "BPE", "vocab": vocab, "merges": merges},
        "added_tokens": [],
        "pre_tokenizer": {"type": "ByteLevel"},
    } | more
    (folder / "tokenizer.json").write_text(json.dumps(raw))
    return folder


def trained(seed: int, count: int = 1500) -> tuple[dict[str, int], list[str]]:
    rng = random.Random(seed)
    vocab = {letter: i for i, letter in enumerate(byte_letters())}
    merges: list[str] = []
    pieces = list("abcdefghijkl")
    while len(merges) < count:
        left, right = rng.choice(pieces), rng.choice(pieces)
        if len(left + right) < 8 and left + right not in vocab:
            vocab[left + right] = len(vocab)
            merges.append(f"{left} {right}")
            pieces.append(left + right)
    return vocab, merges


def test_ids_drawn_anew_are_seen_through_the_merges(tmp_path: Path) -> None:
    vocab, merges = trained(1)
    base = bpe(tmp_path / "base", vocab, merges)
    ids = random.Random(2).sample(range(len(vocab)), len(vocab))
    made = bpe(tmp_path / "made", dict(zip(vocab, ids, strict=True)), [m for m in merges for _ in (0,)])
    result = compare_tokenizers(made, base, "base")
    assert result is not None
    assert (result.level, result.judged) == ("established", "merges")
    assert result.agreement < 0.1


def test_merges_as_pairs_and_as_lines_are_the_same(tmp_path: Path) -> None:
    vocab, merges = trained(3)
    a = bpe(tmp_path / "a", vocab, merges)
    b = bpe(tmp_path / "b", vocab, [m.split(" ") for m in merges])  # type: ignore[misc]
    result = compare_tokenizers(a, b, "b")
    assert result is not None
    assert result.merges_shared == result.merges_in_order == 1500


def test_parts_are_compared_one_by_one(tmp_path: Path) -> None:
    vocab, merges = trained(4)
    a = bpe(
        tmp_path / "a",
        vocab,
        merges,
        normalizer={"type": "NFC"},
        added_tokens=[{"id": 5000, "content": "<|a|>", "special": True}],
    )
    b = bpe(
        tmp_path / "b",
        vocab,
        merges,
        normalizer={"type": "NFKC"},
        added_tokens=[{"id": 5000, "content": "<|a|>", "special": True}],
    )
    (a / "chat_template.jinja").write_text("{{ x }}\n")
    (b / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ x }}"}))
    result = compare_tokenizers(a, b, "b")
    assert result is not None
    assert dict(result.parts) == {
        "special tokens": "same", "pre-tokenizer": "same", "normaliser": "different", "chat template": "same", "added tokens": "in neither",
    }  # fmt: skip


def test_one_side_without_a_tokenizer_and_a_broken_one(tmp_path: Path) -> None:
    a = bpe(tmp_path / "a", *trained(5))
    (tmp_path / "none").mkdir()
    assert compare_tokenizers(a, tmp_path / "none", "none") is None
    (tmp_path / "none" / "tokenizer.json").write_text("{")
    result = compare_tokenizers(a, tmp_path / "none", "none")
    assert result is not None
    assert (result.level, result.file) == ("not-determinable", "")
    assert "not JSON" in (result.not_run or "")
