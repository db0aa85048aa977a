"""Write the speed benchmark's models: Llama-shaped, 254M parameters, bf16, one safetensors file each (509 MB).

Enters: a folder.  Leaves: FOLDER/{parent,child,stranger,rotated,hidden,replaced,shallow}: child = parent + 5 % relative noise on every tensor; stranger has the
same recipe (a per-layer scale and norm gains with a common depth trend) and another seed; rotated = child with its gains folded and its residual stream
rotated; hidden = that with the units of every MLP, the heads and the value dims of every head in another order too; replaced =
that with embeddings of its own; shallow = that with 12 of the 16 layers.
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


def rotated(child: dict[str, np.ndarray], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """T5 and T3: gains folded, the residual stream turned."""
    q_DD = np.linalg.qr(rng.standard_normal((WIDTH, WIDTH)))[0].astype(np.float32)
    gains = {name: w.astype(np.float32) for name, w in child.items() if w.ndim == 1}
    out = {}
    for name, w in child.items():
        if w.ndim == 1:
            out[name] = np.ones_like(w)
            continue
        layer = name.rpartition(".self_attn.")[0] or name.rpartition(".mlp.")[0]
        x = w.astype(np.float32)
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            out[name] = (q_DD.T @ x).astype(ml_dtypes.bfloat16)
            continue
        norm = {".self_attn.": "input_layernorm", ".mlp.": "post_attention_layernorm"}
        gain = next((gains[f"{layer}.{n}.weight"] for part, n in norm.items() if part in name), None)
        gain = gains["model.norm.weight"] if name == "lm_head.weight" else gain
        out[name] = ((x if gain is None else x * gain) @ q_DD).astype(ml_dtypes.bfloat16)
    return out


def reordered(child: dict[str, np.ndarray], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """T2 and the orders of T4: MLP units, key-value heads with their query heads, value dims inside heads."""
    out, size = dict(child), WIDTH // HEADS
    for i in range(LAYERS):
        p = f"model.layers.{i}."
        units = rng.permutation(FFN)
        out |= {p + n: out[p + n][units] for n in ("mlp.gate_proj.weight", "mlp.up_proj.weight")}
        out[p + "mlp.down_proj.weight"] = np.ascontiguousarray(out[p + "mlp.down_proj.weight"][:, units])
        heads = rng.permutation(KV_HEADS)
        dims = np.stack([rng.permutation(size) for _ in heads])
        value = (heads[:, None] * size + dims).ravel()
        group = HEADS // KV_HEADS
        query = (heads[:, None, None] * group + np.arange(group)[None, :, None]) * size + np.arange(size)
        read = (heads[:, None, None] * group + np.arange(group)[None, :, None]) * size + dims[:, None, :]
        key = (heads[:, None] * size + np.arange(size)).ravel()
        for name, at in (("q", query.ravel()), ("k", key), ("v", value)):
            out[f"{p}self_attn.{name}_proj.weight"] = out[f"{p}self_attn.{name}_proj.weight"][at]
        out[p + "self_attn.o_proj.weight"] = np.ascontiguousarray(out[p + "self_attn.o_proj.weight"][:, read.ravel()])
    return out


def replaced(child: dict[str, np.ndarray], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """New embeddings and a new head."""
    names = ("model.embed_tokens.weight", "lm_head.weight")
    return child | {n: (0.02 * rng.standard_normal(child[n].shape, np.float32)).astype(ml_dtypes.bfloat16) for n in names}


def shallow(child: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Every fourth layer left out."""
    at = {old: new for new, old in enumerate(i for i in range(LAYERS) if i % 4 != 3)}
    out = {}
    for name, w in child.items():
        head, _, rest = name.partition(".layers.")
        old, _, tail = rest.partition(".")
        if not rest:
            out[name] = w
        elif int(old) in at:
            out[f"{head}.layers.{at[int(old)]}.{tail}"] = w
    return out


def write(folder: Path, tensors: dict[str, np.ndarray], layers: int = LAYERS) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(CONFIG | {"num_hidden_layers": layers}))


def main(folder: Path) -> None:
    if all((folder / name / "config.json").exists() for name in ("parent", "child", "stranger", "rotated", "hidden", "replaced", "shallow")):
        return
    parent = model(np.random.default_rng(1))
    write(folder / "parent", parent)
    child = noisy(parent, np.random.default_rng(2), 0.05)
    del parent
    write(folder / "child", child)
    write(folder / "rotated", rotated(child, np.random.default_rng(4)))
    hidden = rotated(reordered(child, np.random.default_rng(5)), np.random.default_rng(6))
    del child
    write(folder / "hidden", hidden)
    last = replaced(hidden, np.random.default_rng(7))
    del hidden
    write(folder / "replaced", last)
    last = shallow(last)
    write(folder / "shallow", last, 12)
    del last
    write(folder / "stranger", model(np.random.default_rng(3)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
