"""Dequantised values against the tools' own functions, on files as the tools write them (`fixtures/make_quantised.py`)."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from begat.source import open_checkpoint

FILES = Path(__file__).parent / "fixtures" / "quantised"
CASES = sorted(p.name for p in FILES.iterdir())
ROUNDED = {"bfloat16": ml_dtypes.bfloat16, "float16": np.float16}


def expected(case: str) -> tuple[dict[str, np.ndarray], str]:
    with np.load(FILES / case / "expected.npz") as found:
        return {k: found[k] for k in found.files if k != "dtype"}, str(found["dtype"])


def test_every_layout_is_there() -> None:
    assert {c.split("-")[0] for c in CASES} == {"bitsandbytes", "compressed", "transformers", "gpt"}
    assert len(CASES) >= 30


@pytest.mark.parametrize("case", CASES)
def test_values_are_the_tools_own(case: str) -> None:
    """Exactly, where the tool keeps float32. Where it rounds, within one step of its type: it rounds scales and products on the way."""
    values, dtype = expected(case)
    checkpoint = open_checkpoint(FILES / case)
    assert not checkpoint.unread
    assert set(checkpoint.entries) == set(values), "helpers are no weights"
    for name, want in values.items():
        entry, got = checkpoint.entries[name], checkpoint.read(name)
        got = got.reshape(entry.shape)
        got = got.swapaxes(-1, -2) if entry.transposed else got
        assert got.shape == want.shape
        if case == "bitsandbytes-int8":  # (q * max) * (1 / 127) there, q * (max / 127) here
            assert np.allclose(got, want, rtol=3e-7, atol=0)
            continue
        if not dtype:
            assert np.array_equal(got, want)
            continue
        kind = ROUNDED[dtype]
        step = float(ml_dtypes.finfo(kind).eps)
        assert np.all(np.abs(got - want) <= step * np.abs(want)), float(np.max(np.abs(got - want) / np.maximum(np.abs(want), 1e-9)))
        if case.startswith("bitsandbytes"):  # rounded once, at the end
            assert np.array_equal(got.astype(kind).astype(np.float32), want)


@pytest.mark.parametrize("case", CASES)
def test_some_rows_and_columns_are_those_of_the_whole(case: str) -> None:
    checkpoint = open_checkpoint(FILES / case)
    rng = np.random.default_rng(1)
    for name, entry in checkpoint.entries.items():
        whole = checkpoint.read(name)
        rows = rng.integers(0, entry.rows, size=9)
        cols = rng.integers(0, entry.cols, size=7)
        assert np.array_equal(checkpoint.read(name, rows), whole[rows])
        assert np.array_equal(checkpoint.read(name, rows, cols), whole[rows][:, cols])
        assert np.array_equal(checkpoint.read(name, range(1, entry.rows, 2), slice(3, -2)), whole[1::2, 3:-2])
        assert checkpoint.read(name, np.empty(0, dtype=np.int64)).shape == (0, entry.cols)
        scales = checkpoint.reader.scales(entry, rows, cols)
        assert scales.shape == (9, 7) and np.isfinite(scales).all() and (scales > 0).all()
