"""LoRA adapters: merged values against numpy, and refusals of everything that is no plain LoRA."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from begat.errors import InputError
from begat.source import open_checkpoint
from begat.types import Checkpoint

RNG = np.random.default_rng(0)


def draw(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


BASE = {"model.q.weight": draw(6, 10), "model.q.bias": draw(6), "h.c_attn.weight": draw(10, 30), "score.weight": draw(2, 6)}
A, B = draw(2, 10), draw(6, 2)
LORA = {"base_model.model.model.q.lora_A.weight": A, "base_model.model.model.q.lora_B.weight": B}
CONFIG = {"peft_type": "LORA", "r": 2, "lora_alpha": 8}


def adapter(
    folder: Path, tensors: dict[str, np.ndarray], config: dict[str, Any], base: dict[str, np.ndarray] | None = None
) -> Checkpoint:
    (folder / "base").mkdir(exist_ok=True)
    (folder / "adapter").mkdir(exist_ok=True)
    save_file(base or BASE, folder / "base" / "model.safetensors")
    save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, folder / "adapter" / "adapter_model.safetensors")
    (folder / "adapter" / "adapter_config.json").write_text(json.dumps(config))
    return open_checkpoint(folder / "adapter", folder / "base")


@pytest.mark.parametrize(
    ("extra", "scale"),
    [
        ({}, 4.0),
        ({"use_rslora": True}, 8 / 2**0.5),
        ({"alpha_pattern": {"q": 3}}, 1.5),
        ({"alpha_pattern": {"^model.q": 3}}, 1.5),
        ({"alpha_pattern": {"other": 3}}, 4.0),
        ({"rank_pattern": {"q": 2}, "r": 64}, 4.0),
        ({"base_model_name_or_path": "/etc/passwd", "fan_in_fan_out": True}, 4.0),
    ],
)
def test_merged_rows(tmp_path: Path, extra: dict[str, Any], scale: float) -> None:
    checkpoint = adapter(tmp_path, LORA, CONFIG | extra)
    want = BASE["model.q.weight"] + scale * (B @ A)
    assert np.allclose(checkpoint.read("model.q.weight"), want, atol=1e-5)
    some = np.array([5, 0, 5])
    assert np.allclose(checkpoint.read("model.q.weight", some, slice(2, 5)), want[some, 2:5], atol=1e-5)
    assert np.allclose(checkpoint.read("model.q.weight", range(5, -1, -2)), want[5::-2], atol=1e-5)
    assert checkpoint.entries["model.q.weight"].dtype == "F32"
    assert checkpoint.raw("model.q.weight", np.array([1])).view("<f4") == pytest.approx(want[1:2], abs=1e-5)
    assert np.array_equal(checkpoint.read("model.q.bias")[0], BASE["model.q.bias"])
    assert checkpoint.raw("model.q.bias").tobytes() == BASE["model.q.bias"].tobytes()
    assert checkpoint.format == "peft"


def test_fan_in_fan_out(tmp_path: Path) -> None:
    a, b = draw(2, 10), draw(30, 2)
    tensors = {"base_model.model.h.c_attn.lora_A.weight": a, "base_model.model.h.c_attn.lora_B.weight": b}
    want = BASE["h.c_attn.weight"] + 4 * (b @ a).T
    checkpoint = adapter(tmp_path, tensors, CONFIG | {"fan_in_fan_out": True})
    assert np.allclose(checkpoint.read("h.c_attn.weight"), want, atol=1e-5)
    assert np.allclose(checkpoint.read("h.c_attn.weight", np.array([9, 1]), slice(3, 7)), want[[9, 1], 3:7], atol=1e-5)


def test_square_conv1d_follows_the_flag(tmp_path: Path) -> None:
    base, a, b = {"h.c_proj.weight": draw(8, 8)}, draw(2, 8), draw(8, 2)
    tensors = {"base_model.model.h.c_proj.lora_A.weight": a, "base_model.model.h.c_proj.lora_B.weight": b}
    for flag, delta in ((False, b @ a), (True, (b @ a).T)):
        checkpoint = adapter(tmp_path, tensors, CONFIG | {"fan_in_fan_out": flag}, base)
        assert np.allclose(checkpoint.read("h.c_proj.weight"), base["h.c_proj.weight"] + 4 * delta, atol=1e-5)


def test_replaced_tensors_and_new_heads(tmp_path: Path) -> None:
    head, bias, new = draw(2, 6), draw(6), draw(3, 6)
    extra = {
        "base_model.model.score.modules_to_save.weight": head,
        "base_model.model.model.q.bias": bias,
        "base_model.model.classifier.weight": new,
    }
    checkpoint = adapter(tmp_path, LORA | extra, CONFIG)
    assert np.array_equal(checkpoint.read("score.weight"), head)
    assert np.array_equal(checkpoint.read("model.q.bias")[0], bias)
    assert np.array_equal(checkpoint.read("classifier.weight"), new)
    assert checkpoint.notes[-1] == "LoRA adapter merged on demand: 1 tensors changed, 3 replaced"


def test_base_names_may_lack_a_prefix(tmp_path: Path) -> None:
    checkpoint = adapter(tmp_path, LORA, CONFIG, {"q.weight": BASE["model.q.weight"]})
    assert np.allclose(checkpoint.read("q.weight"), BASE["model.q.weight"] + 4 * (B @ A), atol=1e-5)


def test_bin_adapters(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    adapter(tmp_path, LORA, CONFIG)
    (tmp_path / "adapter" / "adapter_model.safetensors").unlink()
    torch.save({k: torch.from_numpy(v) for k, v in LORA.items()}, tmp_path / "adapter" / "adapter_model.bin")
    checkpoint = open_checkpoint(tmp_path / "adapter", tmp_path / "base")
    assert np.allclose(checkpoint.read("model.q.weight"), BASE["model.q.weight"] + 4 * (B @ A), atol=1e-5)


def test_without_a_base(tmp_path: Path) -> None:
    adapter(tmp_path, LORA, CONFIG)
    for path in (tmp_path / "adapter", tmp_path / "adapter" / "adapter_model.safetensors"):
        checkpoint = open_checkpoint(path)
        assert checkpoint.format == "peft"
        assert set(checkpoint.entries) == set(LORA)
        assert "give --base" in checkpoint.notes[-1]
    with pytest.raises(InputError, match="base is an adapter itself"):
        open_checkpoint(tmp_path / "adapter", tmp_path / "adapter")


P = "base_model.model.model."


@pytest.mark.parametrize(
    ("tensors", "config", "problem"),
    [
        (LORA, {"peft_type": "IA3"}, "adapter type is not read"),
        (LORA, {}, "adapter type is not read"),
        (LORA, CONFIG | {"use_dora": True}, "use_dora"),
        (LORA, CONFIG | {"init_lora_weights": "pissa_niter_4"}, "changing its base"),
        (LORA, CONFIG | {"lora_alpha": "8"}, "lora_alpha is no number"),
        (LORA, CONFIG | {"lora_alpha": float("nan")}, "lora_alpha is no number"),
        (LORA, CONFIG | {"alpha_pattern": {"(a+)+$": 3}}, "regular expression"),
        (LORA, CONFIG | {"alpha_pattern": [1]}, "no object"),
        (LORA | {P + "q.lora_magnitude_vector": draw(6)}, CONFIG, "kind that is not read"),
        (LORA | {P + "q.lora_B.bias": draw(6)}, CONFIG, "kind that is not read"),
        (LORA | {P + "q.lora_A.default.weight": A}, CONFIG, "two factors"),
        (LORA | {P + "q.weight": draw(6, 10)}, CONFIG, "two adapter parts"),
        (LORA | {P + "q.weight": draw(6, 11)}, CONFIG, "another shape"),
        ({P + "q.lora_A.weight": A}, CONFIG, "only one of two factors"),
        ({P + "z.lora_A.weight": A, P + "z.lora_B.weight": B}, CONFIG, "no tensor this adapter part"),
        ({P + "q.lora_A.weight": A, P + "q.lora_B.weight": draw(6, 3)}, CONFIG, "no matrices of one rank"),
        ({P + "q.lora_A.weight": draw(2, 11), P + "q.lora_B.weight": B}, CONFIG, "does not fit the base"),
        ({P + "q.lora_A.weight": draw(0, 10), P + "q.lora_B.weight": draw(6, 0)}, CONFIG, "no matrices of one rank"),
    ],
)
def test_refusals(tmp_path: Path, tensors: dict[str, np.ndarray], config: dict[str, Any], problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        adapter(tmp_path, tensors, config)
