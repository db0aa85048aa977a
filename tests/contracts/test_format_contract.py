"""The contract every file format keeps: same names, shapes, values and bytes as the oracle; damage is one clean error.

A new format adds one builder to `tests/source/format_builders.py` and is held to all of this.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from begat.errors import InputError
from begat.source import open_checkpoint
from begat.source.dtypes import DTYPES
from begat.types import Checkpoint
from source.format_builders import BUILDERS, Built

TRUNCATIONS = 80
FLIPS = 250


@pytest.fixture(params=list(BUILDERS))
def built(request: pytest.FixtureRequest, tmp_path: Path) -> Built:
    return BUILDERS[request.param](tmp_path)


@pytest.fixture
def opened(built: Built) -> Iterator[Checkpoint]:
    checkpoint = open_checkpoint(built.path, built.base)
    yield checkpoint
    checkpoint.reader.close()


def same(built: Built, name: str, got: np.ndarray, want: np.ndarray) -> bool:
    return np.allclose(got, want, rtol=1e-5, atol=1e-6) if name in built.computed else np.array_equal(got, want, equal_nan=True)


def test_names_and_shapes(built: Built, opened: Checkpoint) -> None:
    assert set(opened.entries) == set(built.values)
    for name, value in built.values.items():
        assert opened.entries[name].shape == value.shape, name
        assert opened.entries[name].name == name
        assert opened.entries[name].size == value.size


def test_all_values(built: Built, opened: Checkpoint) -> None:
    for name, value in built.values.items():
        got = opened.read(name)
        entry = opened.entries[name]
        assert got.dtype == np.float32
        assert got.shape == (entry.rows, entry.cols)
        assert same(built, name, got.reshape(value.shape), value), name


def test_rows_and_columns(built: Built, opened: Checkpoint) -> None:
    rng = np.random.default_rng(1)
    for name, value in built.values.items():
        entry = opened.entries[name]
        matrix = value.reshape(entry.rows, entry.cols)
        if not entry.rows:
            continue
        some = rng.integers(0, entry.rows, size=5)
        assert same(built, name, opened.read(name, some), matrix[some]), name
        assert same(built, name, opened.read(name, range(entry.rows - 1, entry.rows)), matrix[-1:]), name
        assert same(built, name, opened.read(name, range(0, entry.rows, 2)), matrix[::2]), name
        for cols in (slice(1, 3), slice(None, None, 2), slice(3, 1), slice(-2, None), slice(0, 10**6), np.arange(min(entry.cols, 3))[::-1]):
            assert same(built, name, opened.read(name, some, cols), matrix[some][:, cols]), (name, cols)
        assert opened.read(name, np.empty(0, dtype=np.int64)).shape == (0, entry.cols)


def test_a_row_that_is_not_there_is_refused(built: Built, opened: Checkpoint) -> None:
    name = next(iter(opened.entries))
    with pytest.raises(IndexError):
        opened.read(name, np.array([opened.entries[name].rows]))
    with pytest.raises(IndexError):
        opened.read(name, range(-1, 1))


def test_stored_bytes(built: Built, opened: Checkpoint) -> None:
    for name, raw in built.raw.items():
        entry = opened.entries[name]
        if name in built.computed:
            got = opened.raw(name).tobytes()
            assert same(built, name, np.frombuffer(got, "<f4"), np.frombuffer(raw, "<f4")), name
            continue
        assert opened.raw(name).tobytes() == raw, name
        if entry.rows:
            pitch = DTYPES[entry.dtype].row_bytes(entry.cols)
            assert opened.raw(name, np.array([entry.rows - 1])).tobytes() == raw[len(raw) - pitch :], name


def test_bytes_read_are_counted(built: Built, opened: Checkpoint) -> None:
    for name in built.values:
        entry = opened.entries[name]
        if name in built.computed or not entry.rows:
            continue
        before = opened.reader.bytes_read
        opened.read(name, np.array([0]))
        assert opened.reader.bytes_read - before == DTYPES[entry.dtype].row_bytes(entry.cols), name


def test_the_header_digest_is_stable(built: Built, opened: Checkpoint) -> None:
    again = open_checkpoint(built.path, built.base)
    assert again.header_digest == opened.header_digest
    assert len(again.header_digest) == 64
    assert list(again.entries) == list(opened.entries)


def test_every_cut_is_an_error_or_harmless(built: Built) -> None:
    for file in built.files:
        data = file.read_bytes()
        step = max(1, len(data) // TRUNCATIONS)
        for cut in [*range(0, len(data), step), len(data) - 1]:
            file.write_bytes(data[:cut])
            values = read_all(built)
            if values is not None and file.suffix != ".json":
                assert set(values) == set(built.values), cut
                assert all(same(built, n, v, built.values[n].reshape(v.shape)) for n, v in values.items()), cut
        file.write_bytes(data)


def test_every_flip_is_an_error_or_readable(built: Built) -> None:
    draw = random.Random(7)
    for file in built.files:
        data = file.read_bytes()
        header = len(data) if len(data) < 20_000 else 4000
        for _ in range(FLIPS // len(built.files)):
            damaged = bytearray(data)
            for _ in range(draw.choice((1, 1, 3))):
                damaged[draw.randrange(header)] = draw.choice((0, 1, 0x7F, 0x80, 0xFF, draw.randrange(256)))
            file.write_bytes(damaged)
            read_all(built)
        file.write_bytes(data)


def read_all(built: Built) -> dict[str, np.ndarray] | None:
    """Every value, or None when the checkpoint was refused with a one-line InputError. Anything else escapes and fails."""
    try:
        checkpoint = open_checkpoint(built.path, built.base)
        values = {name: checkpoint.read(name) for name in checkpoint.entries}
        checkpoint.reader.close()
    except InputError as err:
        if err.file is None or not str(err).isprintable():
            raise AssertionError(repr(str(err))) from err
        return None
    assert sum(v.nbytes for v in values.values()) < 64 << 20
    return values
