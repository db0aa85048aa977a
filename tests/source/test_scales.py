"""Scales beside fp8 and int8 weights: DeepSeek blocks, compressed-tensors, bitsandbytes; shapes decide."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from begat.errors import InputError
from begat.source import open_checkpoint
from begat.types import Checkpoint

RNG = np.random.default_rng(0)


def saved(folder: Path, tensors: dict[str, np.ndarray]) -> Checkpoint:
    save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, folder / "model.safetensors")
    return open_checkpoint(folder / "model.safetensors")


def fp8(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32).astype(ml_dtypes.float8_e4m3fn)


def spread(scale: np.ndarray, block: tuple[int, int], shape: tuple[int, int]) -> np.ndarray:
    return np.repeat(np.repeat(scale, block[0], 0), block[1], 1)[: shape[0], : shape[1]]


@pytest.mark.parametrize("shape", [(256, 384), (300, 200), (576, 130), (128, 128), (512, 16384)])
def test_deepseek_blocks(tmp_path: Path, shape: tuple[int, int]) -> None:
    weight = fp8(*shape)
    grid = (-(-shape[0] // 128), -(-shape[1] // 128))
    scale = RNG.uniform(0.5, 2, size=grid).astype(np.float32)
    checkpoint = saved(tmp_path, {"a.weight": weight, "a.weight_scale_inv": scale})
    want = weight.astype(np.float32) * spread(scale, (128, 128), shape)
    assert np.array_equal(checkpoint.read("a.weight"), want)
    some = np.array([shape[0] - 1, 0, 5])
    assert np.array_equal(checkpoint.read("a.weight", some, slice(100, 129)), want[some, 100:129])
    assert checkpoint.skipped == (("a.weight_scale_inv", "scale of a.weight"),)
    assert list(checkpoint.entries) == ["a.weight"]


@pytest.mark.parametrize("scale_shape", [(), (1,), (6, 1), (6,), (6, 4)])
def test_compressed_tensors(tmp_path: Path, scale_shape: tuple[int, ...]) -> None:
    weight = RNG.integers(-127, 128, size=(6, 512), dtype=np.int8)
    scale = RNG.uniform(0.5, 2, size=scale_shape).astype(ml_dtypes.bfloat16)
    checkpoint = saved(tmp_path, {"a.weight": weight, "a.weight_scale": scale, "a.input_scale": np.ones(1, np.float32)})
    wide = np.asarray(scale, dtype=np.float32).reshape(scale.shape if scale.ndim == 2 else (-1, 1))
    assert np.array_equal(checkpoint.read("a.weight"), weight * np.repeat(wide, 512 // wide.shape[1], 1))
    assert dict(checkpoint.skipped) == {"a.weight_scale": "scale of a.weight", "a.input_scale": "scale of activations"}


def test_zero_points_are_subtracted(tmp_path: Path) -> None:
    weight, zero = RNG.integers(-127, 128, size=(6, 8), dtype=np.int8), RNG.integers(-9, 9, size=(6, 1), dtype=np.int8)
    scale = RNG.uniform(0.5, 2, size=(6, 1)).astype(np.float32)
    checkpoint = saved(tmp_path, {"a.weight": weight, "a.weight_scale": scale, "a.weight_zero_point": zero})
    assert np.array_equal(checkpoint.read("a.weight"), (weight.astype(np.float32) - zero) * scale)
    assert list(checkpoint.entries) == ["a.weight"]


def test_bitsandbytes_int8(tmp_path: Path) -> None:
    weight, maximum = RNG.integers(-127, 128, size=(6, 8), dtype=np.int8), RNG.uniform(1, 2, size=6).astype(np.float32)
    checkpoint = saved(tmp_path, {"a.weight": weight, "a.SCB": maximum, "a.weight_format": np.zeros((), np.uint8)})
    assert np.allclose(checkpoint.read("a.weight"), weight * maximum[:, None] / 127, rtol=1e-6)
    assert list(checkpoint.entries) == ["a.weight"]


def test_stacked_experts(tmp_path: Path) -> None:
    weight = fp8(3, 256, 128)
    one, rows, blocks = (RNG.uniform(0.5, 2, size=s).astype(np.float32) for s in ((3, 1, 1), (3, 256, 1), (3, 2, 1)))
    checkpoint = saved(tmp_path, {"a": weight, "a_scale": one, "b": weight, "b_scale": rows, "c": weight, "c_scale_inv": blocks})
    values = weight.astype(np.float32)
    assert np.array_equal(checkpoint.read("a").reshape(values.shape), values * one)
    assert np.array_equal(checkpoint.read("b").reshape(values.shape), values * rows)
    assert np.array_equal(checkpoint.read("c").reshape(values.shape), values * np.repeat(blocks, 128, 1))


@pytest.mark.parametrize("shape", [(5,), (7, 9), (0,), (2, 3, 4)])
def test_scales_that_do_not_fit(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="scale does not fit"):
        saved(tmp_path, {"a.weight": fp8(6, 8), "a.weight_scale": np.ones(shape, np.float32)})


def test_scales_without_quantised_weight_stay(tmp_path: Path) -> None:
    checkpoint = saved(tmp_path, {"a.weight": np.ones((2, 3), np.float32), "a.weight_scale": np.ones(2, np.float32)})
    assert set(checkpoint.entries) == {"a.weight", "a.weight_scale"}
    assert checkpoint.skipped == ()
