"""Bit counts and the k nearest, against counting the bits of Python's integers."""

from __future__ import annotations

import numpy as np
import pytest

from begat.index.store import hamming
from begat.index.store.hamming import Nearest, distances, unwords, words
from index.store_builders import random_bits


def slow(bits_NB: np.ndarray, query: np.ndarray) -> list[int]:
    ours = int.from_bytes(query.tobytes(), "big")
    return [(ours ^ int.from_bytes(b.tobytes(), "big")).bit_count() for b in bits_NB]


COUNTS = [hamming._by_masks] + ([hamming._by_numpy] if hasattr(np, "bitwise_count") else [])


@pytest.mark.parametrize("count", COUNTS)
def test_both_ways_to_count(count: object, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    monkeypatch.setattr(hamming, "count_bits", count)
    for density in (0.0, 0.01, 0.5, 0.99, 1.0):
        bits = np.packbits(rng.random((300, 256)) < density, axis=1)
        for query in (bits[0], ~bits[0], random_bits(rng, 1)[0], np.zeros(32, np.uint8)):
            assert distances(words(bits), query).tolist() == slow(bits, query)
            nearest = Nearest(query[None], 20)
            nearest.show(words(bits[:10]), 0)
            nearest.show(words(bits[10:]), 10)
            assert nearest.found(0)[1].tolist() == sorted(slow(bits, query))[:20]


def test_words_and_back() -> None:
    bits = random_bits(np.random.default_rng(2), 77)
    assert words(bits).shape == (4, 77)
    assert np.array_equal(unwords(words(bits)), bits)


def test_ties_go_to_those_shown_first() -> None:
    bits = np.repeat(random_bits(np.random.default_rng(3), 2), [30, 40], axis=0)
    nearest = Nearest(bits[:1], 5)
    for at in range(0, 70, 7):
        nearest.show(words(bits[at : at + 7]), at)
    assert nearest.found(0)[0].tolist() == [0, 1, 2, 3, 4]


def test_blocks_of_any_size_give_one_answer() -> None:
    rng = np.random.default_rng(4)
    bits, queries = random_bits(rng, 3000), random_bits(rng, 6)
    answers = []
    for block in (3000, 1000, 13):
        nearest = Nearest(queries, 25)
        for at in range(0, 3000, block):
            nearest.show(words(bits[at : at + block]), at)
        answers.append([[x.tolist() for x in nearest.found(q)] for q in range(6)])
    assert answers[0] == answers[1] == answers[2]
    for q in range(6):
        want = sorted((far, at) for at, far in enumerate(slow(bits, queries[q])))[:25]
        assert list(zip(answers[0][q][1], answers[0][q][0], strict=True)) == want
