"""Other shapes than Llama's: every method gives a number or a reason, among themselves and across."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("scipy", reason="the lab needs scipy: pip install begat[lab]")

from begat_lab.methods import METHODS, Model, open_model
from builders import Tensors, write
from lab.methods.toys import PROBE_NT

D, LAYERS = 48, 4


def _fill(rng: np.random.Generator, shapes: dict[str, tuple[int, ...]]) -> Tensors:
    return {n: (0.05 * rng.standard_normal(s) + (len(s) == 1)).astype(np.float32) for n, s in shapes.items()}


def gpt2(rng: np.random.Generator) -> tuple[Tensors, dict[str, Any]]:
    shapes: dict[str, tuple[int, ...]] = {"wte.weight": (100, D), "wpe.weight": (32, D), "ln_f.weight": (D,), "ln_f.bias": (D,)}
    for p in (f"h.{i}." for i in range(LAYERS)):
        modules = {"attn.c_attn": (D, 3 * D), "attn.c_proj": (D, D), "mlp.c_fc": (D, 4 * D), "mlp.c_proj": (4 * D, D)}
        shapes |= {f"{p}{n}.weight": s for n, s in modules.items()} | {f"{p}{n}.bias": s[1:] for n, s in modules.items()}
        shapes |= {f"{p}{n}.{leaf}": (D,) for n in ("ln_1", "ln_2") for leaf in ("weight", "bias")}
    return _fill(rng, shapes), {"model_type": "gpt2", "n_embd": D, "n_head": 4, "n_layer": LAYERS}


def mixture(rng: np.random.Generator) -> tuple[Tensors, dict[str, Any]]:
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (100, D), "model.norm.weight": (D,)}
    for p in (f"model.layers.{i}." for i in range(LAYERS)):
        attention = {"q_proj": (D, D), "k_proj": (D // 2, D), "v_proj": (D // 2, D), "o_proj": (D, D)}
        shapes |= {f"{p}self_attn.{n}.weight": s for n, s in attention.items()} | {f"{p}mlp.gate.weight": (4, D)}
        expert = {"gate_proj": (24, D), "up_proj": (24, D), "down_proj": (D, 24)}
        shapes |= {f"{p}mlp.experts.{e}.{n}.weight": s for e in range(4) for n, s in expert.items()}
        shapes |= {f"{p}{n}.weight": (D,) for n in ("input_layernorm", "post_attention_layernorm")}
    config = {"model_type": "qwen3_moe", "hidden_size": D, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 12,
              "num_hidden_layers": LAYERS, "num_experts": 4}  # fmt: skip
    return _fill(rng, shapes), config


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Model]:
    root = tmp_path_factory.mktemp("families")
    return {
        f"{make.__name__} {seed}": open_model(write(root / f"{make.__name__}-{seed}", *make(np.random.default_rng(seed))), PROBE_NT)
        for make in (gpt2, mixture)
        for seed in (0, 1)
    }


@pytest.mark.parametrize("name", list(METHODS))
def test_a_number_or_a_reason(name: str, models: dict[str, Model]) -> None:
    for a in models.values():
        for b in models.values():
            score = METHODS[name].score(a, b)
            assert (score.value is None) == bool(score.reason)


@pytest.mark.parametrize("name", ["std-correlation", "gain-cosine-centred", "position-cosine", "awm", "mdir", "ghostspec-corr"])
@pytest.mark.parametrize("family", ["gpt2", "mixture"])
def test_attention_methods_need_no_llama(name: str, family: str, models: dict[str, Model]) -> None:
    itself, stranger = (METHODS[name].score(models[f"{family} 0"], models[f"{family} {b}"]).value for b in (0, 1))
    assert itself is not None and stranger is not None
    assert itself > stranger
