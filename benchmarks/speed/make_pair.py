"""Write the speed benchmark's models: Llama-shaped, 254M parameters, bf16, one safetensors file each (509 MB).

Enters: a folder and a seed.  Leaves: FOLDER/{parent,child,stranger}: child = parent + 5 % relative noise on every tensor; stranger has the
same recipe (a per-layer scale and norm gains with a common depth trend) and another seed.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
from safetensors.numpy import save_file

WIDTH, LAYERS, FFN, HEADS, KV_HEADS, VOCAB = 1024, 16, 2816, 16, 8, 32000
CONFIG = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": WIDTH, "num_hidden_layers": LAYERS, "intermediate_size": FFN,
    "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS, "vocab_size": VOCAB, "rope_theta": 10000.0, "rms_norm_eps": 1e-5,
    "tie_word_embeddings": False,
}  # fmt: skip


def shapes() -> dict[str, tuple[int, ...]]:
    kv = WIDTH // HEADS * KV_HEADS
    out: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (VOCAB, WIDTH),
        "model.norm.weight": (WIDTH,),
        "lm_head.weight": (VOCAB, WIDTH),
    }
    for i in range(LAYERS):
        layer = f"model.layers.{i}."
        out |= {
            layer + "input_layernorm.weight": (WIDTH,), layer + "post_attention_layernorm.weight": (WIDTH,),
            layer + "self_attn.q_proj.weight": (WIDTH, WIDTH), layer + "self_attn.k_proj.weight": (kv, WIDTH),
            layer + "self_attn.v_proj.weight": (kv, WIDTH), layer + "self_attn.o_proj.weight": (WIDTH, WIDTH),
            layer + "mlp.gate_proj.weight": (FFN, WIDTH), layer + "mlp.up_proj.weight": (FFN, WIDTH), layer + "mlp.down_proj.weight": (WIDTH, FFN),
        }  # fmt: skip
    return out


def model(rng: np.random.Generator) -> dict[str, np.ndarray]:
    out = {}
    for name, shape in shapes().items():
        layer = int(name.split(".")[2]) if ".layers." in name else 0
        if len(shape) == 1:
            w = 0.4 + 0.02 * layer + 0.1 * rng.standard_normal(shape, np.float32)
        else:
            w = 0.02 * (1 + 0.02 * layer + 0.02 * rng.standard_normal()) * rng.standard_normal(shape, np.float32)
        out[name] = w.astype(ml_dtypes.bfloat16)
    return out


def noisy(parent: dict[str, np.ndarray], rng: np.random.Generator, share: float) -> dict[str, np.ndarray]:
    out = {}
    for name, w in parent.items():
        x = w.astype(np.float32)
        out[name] = (x + share * x.std() * rng.standard_normal(x.shape, np.float32)).astype(ml_dtypes.bfloat16)
    return out


def write(folder: Path, tensors: dict[str, np.ndarray]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(CONFIG))


def main(folder: Path) -> None:
    if all((folder / name / "config.json").exists() for name in ("parent", "child", "stranger")):
        return
    parent = model(np.random.default_rng(1))
    write(folder / "parent", parent)
    write(folder / "child", noisy(parent, np.random.default_rng(2), 0.05))
    del parent
    write(folder / "stranger", model(np.random.default_rng(3)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
