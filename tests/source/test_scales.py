"""Scales beside fp8 and int8 weights: DeepSeek blocks, compressed-tensors, bitsandbytes; shapes decide."""

from __future__ import annotations

import json
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from begat.source import open_checkpoint
from begat.source.scale_names import parse
from begat.types import Checkpoint, Unread

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
    """An unknown layout is far likelier than damage: the weight is not read, and nothing else is said of it."""
    checkpoint = saved(tmp_path, {"a.weight": fp8(6, 8), "a.weight_scale": np.ones(shape, np.float32)})
    assert checkpoint.unread["a.weight"] == Unread("scales whose shape does not fit the weight", 48)
    assert set(checkpoint.entries) == {"a.weight", "a.weight_scale"}


def test_scales_without_quantised_weight_stay(tmp_path: Path) -> None:
    checkpoint = saved(tmp_path, {"a.weight": np.ones((2, 3), np.float32), "a.weight_scale": np.ones(2, np.float32)})
    assert set(checkpoint.entries) == {"a.weight", "a.weight_scale"}
    assert checkpoint.skipped == ()


def exponents(*shape: int) -> np.ndarray:
    return RNG.integers(115, 130, size=shape, dtype=np.uint8)


def told(folder: Path, tensors: dict[str, np.ndarray], note: dict | None = None) -> Checkpoint:
    (folder / "config.json").write_text(json.dumps({} if note is None else {"quantization_config": note}))
    return saved(folder, tensors)


@pytest.mark.parametrize(
    "note",
    [
        None,
        {"quant_method": "mxfp8"},
        {"quant_method": "fp8", "scale_fmt": "ue8m0"},
        {"quant_method": "compressed-tensors", "format": "mxfp8-quantized"},
        {"quant_method": "compressed-tensors", "format": "mixed-precision", "config_groups": {"g": {"format": "mxfp8-quantized"}}},
        {"quant_method": "compressed-tensors", "config_groups": {"g": {"weights": {"scale_dtype": "torch.uint8"}}}},
    ],
)
def test_byte_scales_are_exponents_where_the_layout_says_so(tmp_path: Path, note: dict | None) -> None:
    weight, scale = fp8(6, 96), exponents(6, 3)
    checkpoint = told(tmp_path, {"a.weight": weight, "a.weight_scale": scale}, note)
    want = weight.astype(np.float32) * np.repeat(2.0 ** (scale.astype(np.float32) - 127), 32, 1)
    assert np.array_equal(checkpoint.read("a.weight"), want)


def test_the_greatest_exponent_is_no_number_and_the_least_is_one(tmp_path: Path) -> None:
    weight, scale = np.ones((1, 64), ml_dtypes.float8_e4m3fn), np.array([[255, 0]], np.uint8)
    values = told(tmp_path, {"a.weight": weight, "a.weight_scale": scale}).read("a.weight")
    assert np.isnan(values[0, :32]).all() and (values[0, 32:] == np.float32(2.0**-127)).all()


@pytest.mark.parametrize(
    ("weight", "scale", "note"),
    [
        (fp8(64, 64), exponents(2, 2), None),
        (fp8(6, 96), exponents(6, 1), None),
        (fp8(6, 96), exponents(1), None),
        (fp8(6, 96), exponents(6, 3), {"quant_method": "somebody's"}),
        (fp8(6, 96), exponents(6, 3).astype(np.int8), {"quant_method": "mxfp8"}),
        (fp8(6, 96), exponents(6, 3).astype(np.int32), None),
        (fp8(6, 96), fp8(6, 6), None),
        (RNG.integers(-9, 9, size=(6, 96), dtype=np.int8), exponents(6, 3), {"quant_method": "compressed-tensors"}),
        (RNG.integers(-9, 9, size=(6, 96), dtype=np.int8), exponents(6, 6), None),
        (RNG.integers(-9, 9, size=(6, 96), dtype=np.int8), exponents(6, 3).view(ml_dtypes.float8_e8m0fnu), None),
        (RNG.integers(-9, 9, size=(6, 96), dtype=np.int8), np.ones((6, 1), np.float32), {"quant_method": "gemma"}),
    ],
)
def test_scales_that_may_mean_anything_are_refused(tmp_path: Path, weight: np.ndarray, scale: np.ndarray, note: dict | None) -> None:
    checkpoint = told(tmp_path, {"a.weight": weight, "a.weight_scale": scale}, note)
    assert checkpoint.unread["a.weight"].parameters in (weight.size, 2 * weight.size)
    assert checkpoint.entries["a.weight"].scaling is None


def test_int8_in_the_order_of_a_kernel_is_refused(tmp_path: Path) -> None:
    weight = RNG.integers(-127, 128, size=(6, 8), dtype=np.int8)
    checkpoint = saved(tmp_path, {"a.weight": weight, "a.SCB": np.ones(6, np.float32), "a.weight_format": np.ones((), np.uint8)})
    assert checkpoint.unread["a.weight"] == Unread("bitsandbytes int8 in the order of a kernel", 48)


def small(*shape: int) -> np.ndarray:
    return RNG.normal(scale=0.1, size=shape).astype(ml_dtypes.float8_e4m3fn)


def test_a_plain_cast_is_read_as_it_is_and_said_so(tmp_path: Path) -> None:
    tensors = {"a.weight": small(6, 8), "a.bias": small(6), "norm.weight": np.ones(6, np.float32)}
    checkpoint = saved(tmp_path, tensors)
    assert np.array_equal(checkpoint.read("a.weight"), tensors["a.weight"].astype(np.float32))
    assert not checkpoint.unread
    assert any("without scales" in note for note in checkpoint.notes)


@pytest.mark.parametrize(
    ("more", "note"),
    [
        ({}, {"quant_method": "fp8"}),
        ({"b.weight": fp8(4, 4), "b.weight_scale": np.ones(1, np.float32)}, None),
        ({"b.weight": fp8(4, 4), "b.weight_scale": np.ones(3, np.float32)}, None),
        ({"a.some_scale": np.ones(1, np.float32)}, None),
        ({"a.wscales": np.ones(1, np.float32), "a.weight_amax": np.ones(1, np.float32)}, None),
        ({"scaled_fp8": np.zeros(2, np.float32)}, None),
        ({f"{i}.weight": (RNG.normal(size=(8, 8)) * 90).astype(ml_dtypes.float8_e4m3fn) for i in range(5)}, None),
    ],
)
def test_fp8_without_the_scale_it_needs_is_not_read(tmp_path: Path, more: dict[str, np.ndarray], note: dict | None) -> None:
    checkpoint = told(tmp_path, {"a.weight": small(6, 8)} | more, note)
    assert checkpoint.unread["a.weight"] == Unread("fp8 numbers without the scale they need", 48)
    assert not any("without scales" in n for n in checkpoint.notes)


def test_the_config_says_how_long_a_block_is_where_several_would_fit(tmp_path: Path) -> None:
    weight, scale = fp8(160, 96), RNG.uniform(0.5, 2, size=(2, 1)).astype(np.float32)
    checkpoint = told(tmp_path, {"a.weight": weight, "a.weight_scale_inv": scale}, {"quant_method": "fp8", "weight_block_size": [80, 96]})
    assert np.array_equal(checkpoint.read("a.weight"), weight.astype(np.float32) * np.repeat(scale, 80, 0))


def test_modelopt_nvfp4(tmp_path: Path) -> None:
    codes = RNG.integers(0, 256, size=(6, 32), dtype=np.uint8)
    scale = RNG.uniform(1, 400, size=(6, 4)).astype(ml_dtypes.float8_e4m3fn)
    whole = np.float32(0.003)
    checkpoint = saved(tmp_path, {"a.weight": codes, "a.weight_scale": scale, "a.weight_scale_2": np.asarray(whole)})
    table = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, 0, -0.5, -1, -1.5, -2, -3, -4, -6], np.float32)
    values = table[np.stack([codes & 15, codes >> 4], axis=-1).reshape(6, 64)]
    assert np.array_equal(checkpoint.read("a.weight"), values * np.repeat(scale.astype(np.float32) * whole, 16, 1))


def test_the_table_of_names_is_strict() -> None:
    one = {"from": "x", "replaces": "", "ending": "_s", "over": 1, "of": ["I8"]}
    good = {"scale": [one], "beside": [], "exponents": {}}
    assert parse(good)[0][0].ending == "_s"
    for bad in ({**one, "to": 1}, {**one, "of": ["I7"]}, {**one, "over": 0}, {k: v for k, v in one.items() if k != "over"}):
        with pytest.raises(ValueError, match=r"scales\.toml"):
            parse(good | {"scale": [bad]})
    with pytest.raises(ValueError, match=r"scales\.toml"):
        parse(good | {"other": []})
