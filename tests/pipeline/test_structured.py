"""Independent models initialised by one public rule: alike in everything, and no relatives by any way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.linalg import hadamard

import begat
from begat.pipeline.fingerprints import compare_fingerprints
from begat.pipeline.sketch import sketch
from builders import llama, noisy, write

SHAPE: dict[str, Any] = {"hidden_size": 64, "num_hidden_layers": 4, "intermediate_size": 128, "num_attention_heads": 4, "num_key_value_heads": 2,
                         "head_dim": 16, "vocab_size": 160}  # fmt: skip


def table(rule: str, rows: int, width: int) -> np.ndarray:
    if rule == "identity":
        out = np.eye(rows, width) + sum(np.eye(rows, width, k=-width * j) for j in range(1, rows // width + 1))
    elif rule == "hadamard":
        out = np.tile(hadamard(256)[: min(rows, 256), :width] / 8, (rows // 256 + 1, 1))[:rows]
    else:
        at, freq = np.arange(rows)[:, None], 10000 ** (-np.arange(0, width, 2) / width)[None, :]
        out = np.concatenate([np.sin(at * freq), np.cos(at * freq)], axis=1)
    return np.asarray(out, dtype=np.float32)


def model(folder: Path, seed: int, mlp: str = "", embedding: str = "") -> Path:
    """MLPs and embeddings by a rule ("" = drawn), with noise of its own as training leaves it."""
    rng = np.random.default_rng(seed)
    tensors, config = llama(rng, **SHAPE)

    def ruled(x: np.ndarray) -> np.ndarray:
        return (x + 0.05 * x.std() * rng.standard_normal(x.shape)).astype(np.float32)

    for i in range(SHAPE["num_hidden_layers"] if mlp else 0):
        p = f"model.layers.{i}.mlp."
        for k, name in enumerate(("gate", "up")):
            tensors[f"{p}{name}_proj.weight"] = ruled(np.roll(table(mlp, 128, 64), 3 * k + i, axis=1))
        tensors[f"{p}down_proj.weight"] = ruled(np.roll(table(mlp, 128, 64), 11 + i, axis=1).T)
    if embedding:
        tensors["model.embed_tokens.weight"] = ruled(table(embedding, 160, 64))
        tensors["lm_head.weight"] = ruled(table(embedding, 160, 64))
    write(folder, tensors, config)
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"type": "WordLevel", "vocab": {f"t{i}": i for i in range(160)}}}))
    return folder


@pytest.mark.parametrize(
    ("mlp", "embedding"),
    [("identity", ""), ("identity", "identity"), ("hadamard", ""), ("hadamard", "identity"), ("", "hadamard"), ("", "sinusoid"), ("sinusoid", "sinusoid")],
)
def test_one_rule_makes_no_relatives(tmp_path: Path, mlp: str, embedding: str) -> None:
    a, b = (model(tmp_path / str(seed), seed, mlp, embedding) for seed in (1, 2))
    found = begat.compare(a, b)
    assert found.verdict in ("no-evidence", "cannot-test")
    assert found.log10_e is None or found.log10_e < 3
    assert found.alignment is None or found.alignment.views is None or not found.alignment.views.shown
    kept = compare_fingerprints(sketch(a), sketch(b), search=True)
    assert kept.log10_e is None or kept.log10_e < 3
    assert (kept.slots or 0) < 8


def test_children_of_a_ruled_model_are_still_found(tmp_path: Path) -> None:
    """Its attention and residual stream were drawn."""
    a = model(tmp_path / "a", 1, "hadamard")
    from safetensors.numpy import load_file

    child = noisy(load_file(a / "model.safetensors"), np.random.default_rng(5), 0.05)
    b = write(tmp_path / "b", child, json.loads((a / "config.json").read_text()))
    found = begat.compare(a, b)
    assert found.log10_e is not None and found.log10_e > 20
