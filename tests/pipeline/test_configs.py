"""Equal weights under configs that disagree: the headline and the claims name what; spellings and unknown keys do not count."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import begat
from begat.canon.function import config_differences
from builders import BF16, LLAMA, llama, write

SHAPE: dict[str, Any] = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96, "vocab_size": 96}
BASE = {"rope_theta": 500000.0, "rms_norm_eps": 1e-6, "hidden_act": "silu", "rope_scaling": None}
TENSORS, CONFIG = llama(np.random.default_rng(0), **SHAPE)
OTHERS = {
    "rope_theta": 10000.0, "num_hidden_layers": 1, "tie_word_embeddings": True, "rms_norm_eps": 1e-5, "hidden_act": "gelu",
    "rope_scaling": {"rope_type": "linear", "factor": 4.0},
}  # fmt: skip


@pytest.mark.parametrize("key", OTHERS)
def test_the_headline_names_what_differs(tmp_path: Path, key: str) -> None:
    a = write(tmp_path / "a", TENSORS, CONFIG | BASE)
    v = begat.compare(a, write(tmp_path / "b", TENSORS, CONFIG | BASE | {key: OTHERS[key]}))
    assert v.verdict == "identical" and f"{key} is" in v.sentence
    assert [c.subject for c in v.claims if c.about == "config"] == [key]


def test_configs_that_agree_are_not_mentioned(tmp_path: Path) -> None:
    a = write(tmp_path / "a", TENSORS, CONFIG | BASE)
    same = {"rope_theta": 500000, "torch_dtype": "float32", "transformers_version": "5.0", "rope_scaling": {"rope_type": "default"}}
    for n, config in enumerate((CONFIG | BASE | same, CONFIG, {})):
        v = begat.compare(a, write(tmp_path / f"b{n}", TENSORS, config))
        assert v.verdict == "identical" and "config" not in v.sentence
    v = begat.compare(a, write(tmp_path / "c", TENSORS, CONFIG | BASE | {"rope_theta": 10000.0}, BF16))
    assert v.verdict == "re-encoded" and "rope_theta is 500000 in A and 10000 in B" in v.sentence


def test_spellings_of_one_thing() -> None:
    new = {"rope_parameters": {"rope_type": "default", "rope_theta": 500000.0}, "text_config": {"num_hidden_layers": 5, "rms_norm_eps": 1e-6}}
    assert config_differences(LLAMA | BASE, {"rope_theta": 500000, "n_layer": 5}) == ()
    assert [d.meaning for d in config_differences(LLAMA | BASE, {"rope_parameters": {"rope_theta": 1e4}})] == ["rotary base"]
    assert config_differences(LLAMA | BASE, new) == ()
    gguf = {"general.architecture": "llama", "llama.rope.freq_base": 10000.0, "llama.block_count": 5}
    assert [(d.meaning, d.b) for d in config_differences(LLAMA | BASE, gguf)] == [("rotary base", "10000")]


def test_an_adapter_on_its_own_base_says_what_it_follows_from(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    base, other = write(tmp_path / "base", TENSORS, CONFIG), write(tmp_path / "other", llama(rng, **SHAPE)[0], CONFIG)
    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_"
    rows = TENSORS["model.layers.0.self_attn.q_proj.weight"].shape
    lora = {f"{name}A.weight": 0.01 * rng.standard_normal((2, rows[1])), f"{name}B.weight": rng.standard_normal((rows[0], 2))}
    home = write(tmp_path / "adapter", {n: w.astype(np.float32) for n, w in lora.items()})
    (home / "model.safetensors").rename(home / "adapter_model.safetensors")
    (home / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 2, "lora_alpha": 2}')
    assert "follows from --base" in begat.compare(home, base, base=base).sentence
    assert "follows from --base" not in begat.compare(home, other, base=base).sentence
