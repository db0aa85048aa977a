"""Attacks through packed weights: helpers of any shape, type and value, and configs that lie. See README.md in this folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from begat.canon.resolve import resolve
from begat.errors import InputError
from begat.source import open_checkpoint

SIZES = (0, 1, 2, 3, 4, 8, 12, 32, 96)
TYPES = (np.int32, np.int64, np.uint8, np.float16, np.float32)
ENDS = (
    "qweight",
    "qzeros",
    "scales",
    "g_idx",
    "weight_packed",
    "weight_scale",
    "weight_shape",
    "weight_zero_point",
    "weight_g_idx",
)
NOTES: tuple[Any, ...] = (
    None, [], {"quant_method": "gptq"}, {"quant_method": "awq"}, {"quant_method": ["gptq"]}, {"quant_method": "gptq", "bits": True},
    {"quant_method": "gptq", "bits": 4, "group_size": -1}, {"quant_method": "gptq", "bits": 4, "group_size": 10**30},
    {"quant_method": "gptq", "bits": 4, "group_size": "32"}, {"quant_method": "awq", "version": 7, "bits": {}},
    {"quant_method": "gptq", "checkpoint_format": {"a": 1}}, {"quant_method": "compressed-tensors", "bits": 4},
)  # fmt: skip


def values(r: np.random.Generator, end: str) -> np.ndarray:
    """Mostly plausible, so that the checks behind the first are reached too."""
    plain: dict[str, tuple[tuple[int, ...], type]] = {
        "qweight": ((12, 32), np.int32), "qzeros": ((3, 4), np.int32), "scales": ((3, 32), np.float16), "g_idx": ((96,), np.int32),
        "weight_packed": ((32, 12), np.int32), "weight_scale": ((32, 3), np.float16), "weight_shape": ((2,), np.int64),
        "weight_zero_point": ((4, 3), np.int32), "weight_g_idx": ((96,), np.int32),
    }  # fmt: skip
    shape, dtype = plain[end]
    if r.random() < 0.12:
        shape = tuple(int(n) for n in r.choice(SIZES, size=r.integers(0, 4)))
    if r.random() < 0.1:
        dtype = TYPES[r.integers(len(TYPES))]
    if end == "weight_shape" and shape == (2,) and r.random() < 0.7:
        return np.array([32, 96], dtype=dtype)
    if end == "g_idx" and r.random() < 0.7:
        return np.zeros(shape, dtype)
    low, high = (-(2**31), 2**31) if r.random() < 0.5 else (0, 3)
    with np.errstate(over="ignore"):
        return np.asarray(r.integers(low, high, size=shape)).astype(dtype)


def test_56_packed_weights_whose_helpers_are_anything(tmp_path: Path) -> None:
    r = np.random.default_rng(0)
    lines: list[str] = []
    outcomes: dict[str, int] = {"read": 0, "packed": 0, "refused": 0}
    for _ in range(500):
        kind = bool(r.integers(2))
        ends = [
            end for end in ENDS if end.startswith("weight") == kind and r.random() < (0.2 if end == "weight_g_idx" else 0.95)
        ] or ["qweight"]
        if r.random() < 0.05:
            ends.append("weight")
        save_file({f"model.layers.0.mlp.up_proj.{end}": np.ones((4, 4), np.float32) if end == "weight" else values(r, end)
                   for end in dict.fromkeys(ends)}, tmp_path / "model.safetensors")  # fmt: skip
        (tmp_path / "config.json").write_text(
            json.dumps({"quantization_config": NOTES[r.integers(len(NOTES))] if r.random() < 0.5 else None})
        )
        try:
            checkpoint = open_checkpoint(tmp_path)
            model = resolve(checkpoint)
            for name, entry in checkpoint.entries.items():
                assert checkpoint.read(name).shape == (entry.rows, entry.cols)
            for key, t in model.tensors.items():
                assert model.read(key).shape == t.shape
        except InputError as err:
            outcomes["refused"] += 1
            lines.append(str(err))
        else:
            read = any(entry.scaling is not None for entry in checkpoint.entries.values())
            outcomes["read" if read else "packed"] += 1
        finally:
            checkpoint.reader.close()
    assert not any("\n" in line for line in lines)
    assert min(outcomes.values()) > 20, outcomes
