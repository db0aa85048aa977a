"""Independent models whose orders one index fixes, or one random key ties, are not accused; children of others are found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import begat
from begat.canon.resolve import resolve
from begat.pipeline.fingerprints import compare_fingerprints
from begat.pipeline.own import one_draw
from begat.pipeline.sketch import sketch
from begat.source import open_checkpoint
from builders import Tensors, llama, noisy, write

SHAPE: dict[str, Any] = {"hidden_size": 64, "num_hidden_layers": 12, "intermediate_size": 256, "num_attention_heads": 4, "num_key_value_heads": 2,
                         "head_dim": 16, "vocab_size": 128}  # fmt: skip
CLEAR = ("no-evidence", "cannot-test")


def patterned(folder: Path, seed: int, rule: str, strength: float) -> Path:
    tensors, config = llama(np.random.default_rng(seed), **SHAPE)
    table = np.tile(np.eye(64), (4, 1)) * 8 if rule == "identity" else np.random.default_rng(0).standard_normal((256, 64))
    for i in range(SHAPE["num_hidden_layers"]):
        for n in ("gate", "up"):
            key = f"model.layers.{i}.mlp.{n}_proj.weight"
            w = tensors[key]
            tensors[key] = (w + strength * w.std() * np.roll(table, i, 1)).astype(np.float32)
    return write(folder, tensors, config)


@pytest.mark.parametrize(("rule", "strength"), [("identity", 0.25), ("table", 0.25), ("table", 1.0)])
def test_orders_fixed_by_index_accuse_nobody(tmp_path: Path, rule: str, strength: float) -> None:
    a, b = (patterned(tmp_path / str(seed), seed, rule, strength) for seed in (1, 2))
    found = begat.compare(a, b)
    assert found.verdict in CLEAR
    assert found.log10_e is None or found.log10_e < 2


def one_key(folder: Path, seed: int, noise: float) -> Path:
    shapes, config = llama(np.random.default_rng(1), **(SHAPE | {"num_hidden_layers": 4}))

    def draw(w: np.ndarray) -> np.ndarray:
        return (0.02 * np.random.default_rng(seed).standard_normal(w.shape)).astype(np.float32)

    tensors: Tensors = {k: draw(w) if w.ndim > 1 else 0.5 + 5 * draw(w) for k, w in shapes.items()}
    return write(folder, noisy(tensors, np.random.default_rng(seed + 1), noise), config)


@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_models_of_one_random_key_accuse_nobody(tmp_path: Path, noise: float) -> None:
    a, b = (one_key(tmp_path / str(seed), seed, noise) for seed in (100, 200))
    assert one_draw(resolve(open_checkpoint(a))) is not None
    found = begat.compare(a, b)
    assert found.verdict in CLEAR
    assert found.log10_e is None or found.log10_e < 2
    kept = compare_fingerprints(sketch(a), sketch(b), search=True)
    assert kept.log10_e is None or kept.log10_e < 3


def test_ordinary_and_upscaled_parents_keep_their_children(tmp_path: Path) -> None:
    tensors, config = llama(np.random.default_rng(3), **SHAPE)
    for name in list(tensors):
        if ".layers." in name:
            layer = int(name.split(".")[2])
            tensors[name] = tensors[name.replace(f".{layer}.", f".{layer // 2 * 2}.")]
    parent = noisy(tensors, np.random.default_rng(4), 0.1)
    a = write(tmp_path / "a", parent, config)
    assert one_draw(resolve(open_checkpoint(a))) is None
    found = begat.compare(a, write(tmp_path / "b", noisy(parent, np.random.default_rng(5), 0.3), config))
    assert found.verdict not in CLEAR
    assert any(x.axis == "mlp-units" and x.tests for x in found.axes)
