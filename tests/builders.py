"""Toy checkpoints of known descent, from random weights: what the pipeline's and the command line's tests compare.

Enters: a generator.  Leaves: dicts of arrays under Hugging Face names, and folders.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from safetensors.numpy import save_file

Tensors = dict[str, np.ndarray]
BF16 = ml_dtypes.bfloat16
LLAMA: dict[str, Any] = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 96, "num_hidden_layers": 5, "intermediate_size": 160,
    "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 16, "vocab_size": 200, "tie_word_embeddings": False,
}  # fmt: skip


def llama(rng: np.random.Generator, **changes: Any) -> tuple[Tensors, dict[str, Any]]:
    """Random Llama weights with a depth trend in scales and gains, as trained models of one recipe share one."""
    c = LLAMA | changes
    d, f, v = c["hidden_size"], c["intermediate_size"], c["vocab_size"]
    q, kv = c["num_attention_heads"] * c["head_dim"], c["num_key_value_heads"] * c["head_dim"]
    out: Tensors = {"model.embed_tokens.weight": _w(rng, v, d), "model.norm.weight": _gain(rng, d, 9)}
    if not c["tie_word_embeddings"]:
        out["lm_head.weight"] = _w(rng, v, d)
    for i in range(c["num_hidden_layers"]):
        p = f"model.layers.{i}."
        shapes = {
            "self_attn.q_proj": (q, d), "self_attn.k_proj": (kv, d), "self_attn.v_proj": (kv, d), "self_attn.o_proj": (d, q),
            "mlp.gate_proj": (f, d), "mlp.up_proj": (f, d), "mlp.down_proj": (d, f),
        }  # fmt: skip
        for name, shape in shapes.items():
            out[f"{p}{name}.weight"] = _w(rng, *shape) * np.float32(1 + 0.1 * i)
        for name in ("input_layernorm", "post_attention_layernorm"):
            out[f"{p}{name}.weight"] = _gain(rng, d, i)
    return out, c


def _w(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return (0.05 * rng.standard_normal(shape)).astype(np.float32)


def _gain(rng: np.random.Generator, d: int, layer: int) -> np.ndarray:
    return (0.5 + 0.05 * layer + 0.1 * rng.standard_normal(d)).astype(np.float32)


def noisy(parent: Tensors, rng: np.random.Generator, share: float) -> Tensors:
    """A child: relative noise on every tensor."""
    return {n: (w + share * w.std() * rng.standard_normal(w.shape)).astype(np.float32) for n, w in parent.items()}


def stitched(parent: Tensors, other: Tensors, layers: range) -> Tensors:
    """`parent` with `layers` taken from `other`."""
    return {n: other[n] if _layer(n) in layers else w for n, w in parent.items()}


def reordered_units(parent: Tensors, rng: np.random.Generator) -> Tensors:
    """T2: the units of every MLP reordered, function unchanged."""
    out = dict(parent)
    for i in sorted({_layer(n) for n in parent} - {-1}):
        p = f"model.layers.{i}.mlp."
        order = rng.permutation(len(parent[p + "up_proj.weight"]))
        out |= {p + n: parent[p + n][order] for n in ("gate_proj.weight", "up_proj.weight")}
        out[p + "down_proj.weight"] = np.ascontiguousarray(parent[p + "down_proj.weight"][:, order])
    return out


def upcycled(dense: Tensors, rest: Tensors, rng: np.random.Generator, experts: int = 4) -> Tensors:
    """Under Mixtral's names: every expert a noisy copy of the MLP of `dense`, everything else of `rest`."""
    out = {n: w for n, w in rest.items() if ".mlp." not in n}
    for i in sorted({_layer(n) for n in dense} - {-1}):
        p = f"model.layers.{i}."
        width = dense[f"{p}mlp.up_proj.weight"].shape[1]
        out[p + "block_sparse_moe.gate.weight"] = rng.standard_normal((experts, width)).astype(np.float32)
        for e in range(experts):
            for mine, theirs in (("gate", "w1"), ("down", "w2"), ("up", "w3")):
                w = dense[f"{p}mlp.{mine}_proj.weight"]
                noise = 0.2 * w.std() * rng.standard_normal(w.shape)
                out[f"{p}block_sparse_moe.experts.{e}.{theirs}.weight"] = (w + noise).astype(np.float32)
    return out


def rounded(parent: Tensors, bits: int, group: int) -> Tensors:
    """Round-to-nearest symmetric quantisation of the matrices, stored dequantised."""
    out = dict(parent)
    for name, w in parent.items():
        if w.ndim == 2:
            g = w.reshape(-1, group)
            step = np.abs(g).max(axis=1, keepdims=True) / (2 ** (bits - 1) - 1)
            out[name] = (np.rint(g / step) * step).reshape(w.shape).astype(np.float32)
    return out


def _layer(name: str) -> int:
    parts = name.split(".")
    return int(parts[2]) if name.startswith("model.layers.") else -1


def write(folder: Path, tensors: Tensors, config: dict[str, Any] | None = None, dtype: Any = None) -> Path:
    """Save as one safetensors file with a config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    data = tensors if dtype is None else {n: w.astype(dtype) for n, w in tensors.items()}
    save_file({n: np.ascontiguousarray(w) for n, w in data.items()}, folder / "model.safetensors")
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    return folder
