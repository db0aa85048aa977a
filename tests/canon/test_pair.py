"""Towers that are the same network under two names are paired by shapes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

import begat
from begat.canon.pair import pair_towers
from begat.canon.resolve import resolve
from begat.source import open_checkpoint
from builders import llama, noisy, write

RNG = np.random.default_rng(2)


def clip(rng: np.random.Generator, layers: int = 3, width: int = 64) -> dict[str, np.ndarray]:
    out = {}
    for i in range(layers):
        p = f"vision_model.encoder.layers.{i}."
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            out[f"{p}self_attn.{name}.weight"] = rng.standard_normal((width, width)).astype(np.float32)
            out[f"{p}self_attn.{name}.bias"] = rng.standard_normal(width).astype(np.float32)
        out[p + "mlp.fc1.weight"] = rng.standard_normal((4 * width, width)).astype(np.float32)
        out[p + "mlp.fc1.bias"] = rng.standard_normal(4 * width).astype(np.float32)
        out[p + "mlp.fc2.weight"] = rng.standard_normal((width, 4 * width)).astype(np.float32)
        out[p + "mlp.fc2.bias"] = rng.standard_normal(width).astype(np.float32)
        for name in ("layer_norm1", "layer_norm2"):
            out[f"{p}{name}.weight"] = rng.standard_normal(width).astype(np.float32)
            out[f"{p}{name}.bias"] = rng.standard_normal(width).astype(np.float32)
    return out


def save(folder: Path, tensors: dict[str, np.ndarray]) -> Path:
    folder.mkdir(parents=True)
    save_file(tensors, folder / "model.safetensors")
    return folder


def test_a_lone_vision_tower_finds_itself_in_a_multimodal_model(tmp_path: Path) -> None:
    vision = clip(RNG)
    text, _ = llama(RNG)
    both = {f"vision_tower.{n}": w for n, w in noisy(vision, RNG, 0.05).items()} | {
        f"language_model.{n}": w for n, w in text.items()
    }
    v = begat.compare(save(tmp_path / "clip", vision), save(tmp_path / "vlm", both))
    assert v.verdict == "derived-or-shared-initialisation"
    assert {t.tower for x in v.axes for t in x.tests} == {"vision"}


def test_a_text_model_finds_itself_too(tmp_path: Path) -> None:
    text, config = llama(RNG)
    both = {f"vision_tower.{n}": w for n, w in clip(RNG).items()} | {
        f"language_model.{n}": w for n, w in noisy(text, RNG, 0.05).items()
    }
    v = begat.compare(write(tmp_path / "text", text, config), save(tmp_path / "vlm", both))
    assert v.verdict == "derived-or-shared-initialisation"


def test_one_shared_tower_of_two_is_partly_derived(tmp_path: Path) -> None:
    """Two multimodal models with one vision tower and language models of their own."""
    vision = clip(RNG)

    def model(name: str) -> Path:
        text, _ = llama(RNG)
        tensors = {f"vision_tower.{n}": w for n, w in noisy(vision, RNG, 0.03).items()}
        return save(tmp_path / name, tensors | {f"language_model.{n}": w for n, w in text.items()})

    v = begat.compare(model("a"), model("b"))
    assert v.verdict == "partly-derived"
    assert "vision" in v.sentence


def test_equal_names_are_left_alone(tmp_path: Path) -> None:
    text, config = llama(RNG)
    a = resolve(open_checkpoint(write(tmp_path / "a", text, config)))
    b = resolve(open_checkpoint(write(tmp_path / "b", noisy(text, RNG, 0.1), config)))
    assert pair_towers(a, b) == (a, b)
