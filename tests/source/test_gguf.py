"""GGUF: every block type decodes as the gguf library decodes it, and headers that lie are refused."""

from __future__ import annotations

import builtins
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from begat.errors import InputError, MissingExtraError
from begat.source import dtypes, open_checkpoint
from begat.source.gguf import GGML_TYPES

gguf = pytest.importorskip("gguf")
BLOCK_TYPES = [k for k in gguf.GGML_QUANT_SIZES if k in gguf.quants._type_traits and k.name not in ("F32", "F16", "BF16")]


def text(value: str) -> bytes:
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def info(name: str, shape: tuple[int, ...], kind: int, offset: int) -> bytes:
    """A tensor info; `shape` in numpy order."""
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape[::-1], kind, offset)


def build(
    file: Path, infos: list[bytes], data: bytes = b"", meta: list[bytes] | None = None, version: int = 3, align: int = 32
) -> Path:
    head = b"GGUF" + struct.pack("<IQQ", version, len(infos), len(meta or [])) + b"".join(meta or []) + b"".join(infos)
    file.write_bytes(head + bytes(-len(head) % align) + data)
    return file


@pytest.mark.parametrize("kind", BLOCK_TYPES, ids=lambda k: k.name)
def test_block_types_decode_as_the_library_does(tmp_path: Path, kind: Any) -> None:
    block, block_bytes = gguf.GGML_QUANT_SIZES[kind]
    rng = np.random.default_rng(int(kind))
    rows, cols = 37, 2 * block
    packed = rng.integers(0, 256, size=(rows, 2 * block_bytes), dtype=np.uint8)
    packed = np.minimum(packed, 0x3B) if kind.name not in ("MXFP4", "NVFP4") else packed  # keep half-precision scales finite
    file = build(tmp_path / "m.gguf", [info("w", (rows, cols), int(kind), 0)], packed.tobytes())
    checkpoint = open_checkpoint(file)
    with np.errstate(all="ignore"):
        want = gguf.quants.dequantize(packed, kind)
    assert checkpoint.entries["w"].dtype == kind.name
    assert np.array_equal(checkpoint.read("w"), want, equal_nan=True)
    some = np.array([36, 0, 17, 18, 17])
    assert np.array_equal(checkpoint.read("w", some), want[some], equal_nan=True)
    assert np.array_equal(checkpoint.read("w", some, slice(3, block + 1)), want[some, 3 : block + 1], equal_nan=True)
    assert np.array_equal(checkpoint.raw("w", some), packed[some])


#: levels a value can take under one scale and minimum
LEVELS = {
    "Q4_0": 16,
    "Q4_1": 16,
    "Q5_0": 32,
    "Q5_1": 32,
    "Q8_0": 256,
    "Q2_K": 4,
    "Q3_K": 8,
    "Q4_K": 16,
    "Q5_K": 32,
    "Q6_K": 64,
    "TQ1_0": 3,
    "TQ2_0": 4,
    "MXFP4": 15,
    "NVFP4": 15,
    "IQ4_NL": 16,
    "IQ4_XS": 16,
    "IQ1_S": 3,
    "IQ1_M": 3,
    "IQ2_XXS": 8,
    "IQ2_XS": 8,
    "IQ2_S": 8,
    "IQ3_XXS": 16,
    "IQ3_S": 16,
}


@pytest.mark.parametrize("kind", BLOCK_TYPES, ids=lambda k: k.name)
def test_runs_that_share_a_scale(kind: Any) -> None:
    """Within a run of `grid` values there are no more than the type's levels; in runs twice as long there are."""
    dtypes.register_block_types()
    block, block_bytes = gguf.GGML_QUANT_SIZES[kind]
    grid, levels = dtypes.DTYPES[kind.name].grid, LEVELS[kind.name]
    packed = np.random.default_rng(1).integers(0, 256, size=(200, block_bytes), dtype=np.uint8)
    with np.errstate(all="ignore"):
        values = gguf.quants.dequantize(packed, kind)
    values = values[np.isfinite(values).all(axis=1)]
    assert len(values) > 50
    assert distinct(values, grid) <= levels
    if grid < block and levels < 2 * grid:
        assert distinct(values, 2 * grid) > levels


def distinct(values: np.ndarray, run: int) -> int:
    return max(len(np.unique(piece)) for piece in values.reshape(-1, run))


def test_all_types_of_the_library_are_known() -> None:
    assert {int(k): k.name for k in gguf.GGML_QUANT_SIZES} == GGML_TYPES


def test_version_2_and_alignment(tmp_path: Path) -> None:
    data = np.arange(15, dtype="<f4").tobytes()
    alignment = text("general.alignment") + struct.pack("<II", 4, 256)
    file = build(tmp_path / "m.gguf", [info("w", (3, 5), 0, 0)], data, [alignment], version=2, align=256)
    checkpoint = open_checkpoint(file)
    assert np.array_equal(checkpoint.read("w"), np.arange(15, dtype=np.float32).reshape(3, 5))
    assert checkpoint.config == {"general.alignment": 256}


def test_metadata_of_every_type(tmp_path: Path) -> None:
    meta = [
        text("s") + struct.pack("<I", 8) + text("é\u2028"),
        text("b") + struct.pack("<IB", 7, 1),
        text("d") + struct.pack("<Id", 12, 0.5),
    ]
    meta.append(text("list") + struct.pack("<IIQ3i", 9, 5, 3, 1, -2, 3))
    meta.append(text("names") + struct.pack("<IIQ", 9, 8, 2) + text("x") + text("y"))
    meta.append(text("nested") + struct.pack("<IIQIQ2B", 9, 9, 1, 7, 2, 0, 1))
    meta.append(text("long") + struct.pack("<IIQ", 9, 0, 5000) + bytes(5000))
    file = build(tmp_path / "m.gguf", [info("w", (2,), 0, 0)], bytes(8), meta)
    assert open_checkpoint(file).config == {
        "s": "é\u2028",
        "b": True,
        "d": 0.5,
        "list": [1, -2, 3],
        "names": ["x", "y"],
        "nested": [[False, True]],
        "long": {"array_length": 5000},
    }


@pytest.mark.parametrize(
    ("infos", "meta", "version", "problem"),
    [
        ([info("w", (3, 5), 0, 0)], [], 1, "unknown GGUF version"),
        ([info("w", (3, 5), 0, 0)], [], 3 << 24, "big-endian"),
        ([info("w", (3, 5), 4, 0)], [], 3, "unknown GGML type"),
        ([info("w", (3, 5), 15, 0)], [], 3, "cannot be decoded"),
        ([info("w", (3, 5), 2, 0)], [], 3, "row length does not suit"),
        ([info("w", (3, 5), 0, 4)], [], 3, "not aligned"),
        ([info("w", (3, 5), 0, 1 << 20)], [], 3, "beyond the end"),
        ([info("w", (1 << 46, 5), 0, 0)], [], 3, "absurdly large"),
        ([info("w", (1 << 30, 5), 0, 0)], [], 3, "beyond the end"),
        ([info("w", (2,), 0, 0), info("w", (2,), 0, 32)], [], 3, "listed twice"),
        ([info("w", (9,), 0, 0), info("v", (2,), 0, 32)], [], 3, "overlaps"),
        ([info("w", (1,) * 9, 0, 0)], [], 3, "too many axes"),
        ([info("w", (2,), 0, 0)], [text("general.alignment") + struct.pack("<II", 4, 0)], 3, "absurd alignment"),
        ([info("w", (2,), 0, 0)], [text("a") + struct.pack("<IB", 7, 1)] * 2, 3, "there twice"),
        ([info("w", (2,), 0, 0)], [text("a") + struct.pack("<I", 13)], 3, "unknown metadata type"),
        ([info("w", (2,), 0, 0)], [text("a") + struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 6], 3, "nesting"),
        ([text("w")[:-1] + b"\xff" + info("w", (2,), 0, 0)[9:]], [], 3, "not valid Unicode"),
    ],
)
def test_headers_that_lie(tmp_path: Path, infos: list[bytes], meta: list[bytes], version: int, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        open_checkpoint(build(tmp_path / "m.gguf", infos, bytes(200), meta, version))


def test_without_the_library_float_weights_still_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def no_gguf(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "gguf":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", no_gguf)
    monkeypatch.setattr(dtypes, "_BLOCK_DECODERS", {})
    monkeypatch.setattr(dtypes, "DTYPES", dict(dtypes.DTYPES))
    monkeypatch.setattr("begat.source.gguf.DTYPES", {k: v for k, v in dtypes.DTYPES.items() if v.block == 1})
    assert open_checkpoint(build(tmp_path / "f.gguf", [info("w", (2,), 0, 0)], bytes(8))).read("w").shape == (1, 2)
    with pytest.raises(MissingExtraError, match=r"begat\[gguf\]"):
        open_checkpoint(build(tmp_path / "q.gguf", [info("w", (2, 32), 8, 0)], bytes(68)))


def test_splits(tmp_path: Path) -> None:
    count = text("split.count") + struct.pack("<IH", 2, 2)
    for i in (1, 2):
        build(tmp_path / f"m-0000{i}-of-00002.gguf", [info(f"w{i}", (2,), 0, 0)], bytes(8), [count])
    assert list(open_checkpoint(tmp_path).entries) == ["w1", "w2"]
    assert list(open_checkpoint(tmp_path / "m-00002-of-00002.gguf").entries) == ["w1", "w2"]
    (tmp_path / "m-00001-of-00002.gguf").rename(tmp_path / "renamed.gguf")
    with pytest.raises(InputError, match="one part of a split model"):
        open_checkpoint(tmp_path / "renamed.gguf")
    with pytest.raises(InputError, match="missing shard"):
        open_checkpoint(tmp_path / "m-00002-of-00002.gguf")
