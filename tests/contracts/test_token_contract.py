"""The contract every tokenizer format keeps: one vocabulary reads the same in all of them; damage is one clean error.

A new format adds one builder to `tests/source/token_builders.py` and is held to all of this.
"""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from begat.errors import InputError
from begat.source import Vocabulary, read_vocabulary, shared_tokens
from begat.source.tokens.base import TOKEN_FORMATS
from begat.source.tokens.read import ORDER
from source.token_builders import ADDED, SPECIAL, TEXTS, TOKEN_BUILDERS, UNUSED

TRUNCATIONS = 60
FLIPS = 300
#: WordPiece cannot tell an added text from a word start, and llama.cpp marks it as one
AS_WORD = {"tokenizer.json wordpiece", "vocab.txt", "gguf bert"}


def read(name: str, folder: Path) -> Vocabulary:
    folder.mkdir()
    found = read_vocabulary(TOKEN_BUILDERS[name](folder).parent)
    assert found is not None
    return found


@pytest.fixture(params=list(TOKEN_BUILDERS))
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def test_every_format_has_a_builder_and_a_place_in_the_order() -> None:
    assert {name.split()[0] for name in TOKEN_BUILDERS} == set(TOKEN_FORMATS) == set(ORDER)


def test_tokens_have_their_canonical_spelling(name: str, tmp_path: Path) -> None:
    found = read(name, tmp_path / "m")
    added = (" " if name in AS_WORD else "") + ADDED
    assert set(found.tokens) == {*TEXTS, added.encode()}
    assert set(found.special) == set(SPECIAL)
    assert set(found.unused) == set(UNUSED)
    ids = [*found.tokens.values(), *found.special.values(), *found.unused.values()]
    assert sorted(ids) == list(range(found.size))
    assert found.notes == ()


@pytest.mark.parametrize("other", list(TOKEN_BUILDERS))
def test_two_formats_share_every_text(name: str, other: str, tmp_path: Path) -> None:
    a, b = read(name, tmp_path / "a"), read(other, tmp_path / "b")
    got = shared_tokens(a, b, a.size, b.size)
    want = sorted((a.tokens[t], b.tokens[t]) for t in TEXTS)
    texts = {a.tokens[t] for t in TEXTS}
    assert [(i, j) for i, j in zip(got.ids_a.tolist(), got.ids_b.tolist(), strict=True) if i in texts] == want
    assert got.count == len(TEXTS) + ((name in AS_WORD) == (other in AS_WORD))
    assert got.ids_a.dtype == got.ids_b.dtype == np.int64
    assert (np.diff(got.ids_a) > 0).all()


def test_the_file_and_a_weight_file_beside_it_give_the_same(name: str, tmp_path: Path) -> None:
    found = read(name, tmp_path / "m")
    beside = tmp_path / "m" / "model.safetensors"
    beside.write_bytes(b"")
    assert read_vocabulary(found.path) == read_vocabulary(beside) == found


def test_every_cut_is_an_error_or_harmless(name: str, tmp_path: Path) -> None:
    file = TOKEN_BUILDERS[name](tmp_path)
    data = file.read_bytes()
    for cut in sorted({*range(0, len(data), max(1, len(data) // TRUNCATIONS)), len(data) - 1}):
        file.write_bytes(data[:cut])
        whole_or_refused(file)


def test_every_flip_is_an_error_or_readable(name: str, tmp_path: Path) -> None:
    draw = random.Random(11)
    for file in (f for f in (TOKEN_BUILDERS[name](tmp_path), *tmp_path.glob("*.json")) if f.is_file()):
        data = file.read_bytes()
        for _ in range(FLIPS):
            damaged = bytearray(data)
            for _ in range(draw.choice((1, 1, 3))):
                damaged[draw.randrange(len(data))] = draw.choice((0, 1, 0x22, 0x7F, 0x80, 0xFF, draw.randrange(256)))
            file.write_bytes(damaged)
            whole_or_refused(tmp_path)
        file.write_bytes(data)


def whole_or_refused(path: Path) -> None:
    """A one-to-one vocabulary with row numbers for ids, None, or a one-line InputError. Anything else escapes and fails."""
    try:
        found = read_vocabulary(path)
    except InputError as err:
        if err.file is None or not str(err).isprintable():
            raise AssertionError(repr(str(err))) from err
        return
    if found is None:
        return
    ids = list(found.tokens.values())
    assert len(set(ids)) == len(ids)
    assert all(type(i) is int and 0 <= i < found.size for i in (*ids, *found.special.values(), *found.unused.values()))
    assert all(isinstance(token, bytes) and token for token in found.tokens)
    shared_tokens(found, found, found.size, found.size)
