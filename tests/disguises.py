"""Function-preserving changes of toy Llamas in numpy: what alignment has to see through, and the null's redrawn orders.

Enters: tensors of `builders.llama` and its config.  Leaves: new tensors. The lab has the same changes for real models (`begat_lab/disguises`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from builders import Tensors, llama, reordered_units

#: what a config says of a mixture of four experts, under Mixtral's names
MIXTURE: dict[str, Any] = {"model_type": "mixtral", "architectures": ["MixtralForCausalLM"], "num_local_experts": 4}
_ATTENTION = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")


def _layers(tensors: Tensors) -> list[str]:
    return sorted({n.partition(".self_attn")[0] for n in tensors if ".self_attn" in n})


def _mlp_readers(tensors: Tensors, layer: str) -> list[str]:
    """Matrices of a layer's MLP or experts, the router with them, that read the residual stream."""
    ends = ("mlp.gate_proj.weight", "mlp.up_proj.weight", "block_sparse_moe.gate.weight", ".w1.weight", ".w3.weight")
    return [n for n in tensors if n.startswith(layer + ".") and n.endswith(ends)]


def folded(tensors: Tensors) -> Tensors:
    """T5: norm gains moved into the matrices that read behind them."""
    out = dict(tensors)
    for p in _layers(tensors):
        for norm, readers in (
            ("input_layernorm", [f"{p}.{n}.weight" for n in _ATTENTION]), ("post_attention_layernorm", _mlp_readers(tensors, p)),
        ):  # fmt: skip
            gain = out[f"{p}.{norm}.weight"]
            out |= {n: out[n] * gain for n in readers}
            out[f"{p}.{norm}.weight"] = np.ones_like(gain)
    out["lm_head.weight"] = out["lm_head.weight"] * out["model.norm.weight"]
    out["model.norm.weight"] = np.ones_like(out["model.norm.weight"])
    return out


def turned(tensors: Tensors, q_DD: np.ndarray) -> Tensors:
    """T3 (or T1 for a permutation matrix, T5 included): the residual stream of gain-free weights in another basis."""
    out = folded(tensors)
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        out[name] = out[name] @ q_DD
    for p in _layers(tensors):
        readers = [*(f"{p}.{n}.weight" for n in _ATTENTION), *_mlp_readers(tensors, p)]
        writers = [n for n in tensors if n.startswith(p + ".") and n.endswith(("o_proj.weight", "down_proj.weight", ".w2.weight"))]
        out |= {n: out[n] @ q_DD for n in readers} | {n: q_DD.T @ out[n] for n in writers}
    return {n: np.ascontiguousarray(w, dtype=np.float32) for n, w in out.items()}


def rotation(rng: np.random.Generator, width: int) -> np.ndarray:
    """A random rotation."""
    return np.linalg.qr(rng.standard_normal((width, width)))[0].astype(np.float32)


def permutation(rng: np.random.Generator, width: int) -> np.ndarray:
    """A random permutation matrix."""
    return np.eye(width, dtype=np.float32)[:, rng.permutation(width)]


def reordered_heads(tensors: Tensors, config: dict[str, Any], rng: np.random.Generator, *, heads: bool = True) -> Tensors:
    """T4, by orders alone: value dims inside every head, and key/value heads with the query heads they serve."""
    out, c = dict(tensors), config
    kv, group, size = c["num_key_value_heads"], c["num_attention_heads"] // c["num_key_value_heads"], c["head_dim"]
    for p in _layers(tensors):
        order = rng.permutation(kv) if heads else np.arange(kv)
        dims = np.stack([rng.permutation(size) for _ in range(kv)])
        q, k, v = (out[f"{p}.self_attn.{n}_proj.weight"] for n in "qkv")
        out[f"{p}.self_attn.q_proj.weight"] = q.reshape(kv, group * size, -1)[order].reshape(q.shape)
        out[f"{p}.self_attn.k_proj.weight"] = k.reshape(kv, size, -1)[order].reshape(k.shape)
        v_KCD = np.stack([v.reshape(kv, size, -1)[h][dims[h]] for h in range(kv)])
        out[f"{p}.self_attn.v_proj.weight"] = v_KCD[order].reshape(v.shape)
        o = out[f"{p}.self_attn.o_proj.weight"]
        o_DKGC = o.reshape(len(o), kv, group, size)
        o_DKGC = np.stack([o_DKGC[:, h][..., dims[h]] for h in range(kv)], axis=1)
        out[f"{p}.self_attn.o_proj.weight"] = o_DKGC[:, order].reshape(o.shape)
    return {n: np.ascontiguousarray(w) for n, w in out.items()}


def rescaled_units(tensors: Tensors, rng: np.random.Generator) -> Tensors:
    """T6: the up row of every unit scaled and flipped at random, its down column the other way."""
    out = dict(tensors)
    for p in _layers(tensors):
        up, down = (f"{p}.mlp.{n}_proj.weight" for n in ("up", "down"))
        scale = (rng.choice([-1, 1], len(out[up])) * np.exp(rng.standard_normal(len(out[up])))).astype(np.float32)
        out[up], out[down] = out[up] * scale[:, None], out[down] / scale
    return out


def new_embeddings(tensors: Tensors, rng: np.random.Generator) -> Tensors:
    """Embeddings and head drawn anew."""
    names = ("model.embed_tokens.weight", "lm_head.weight")
    return tensors | {n: rng.standard_normal(tensors[n].shape).astype(np.float32) for n in names}


def all_disguised(tensors: Tensors, config: dict[str, Any], rng: np.random.Generator) -> Tensors:
    """T2 to T6 (experts in another order too), and embeddings of its own: no order is left, nor anything that two vocabularies share."""
    mixed = any("block_sparse_moe" in n for n in tensors)
    w = reordered_inside(reordered_experts(tensors, rng), rng) if mixed else rescaled_units(reordered_units(tensors, rng), rng)
    w = reordered_heads(w, config, rng)
    return new_embeddings(turned(w, rotation(rng, config["hidden_size"])), rng)


def strangers_twin(tensors: Tensors, config: dict[str, Any], rng: np.random.Generator) -> Tensors:
    """A model that shares every feature and no order: the worst case of the null. Its residual stream is in another order too."""
    out = reordered_heads(reordered_units(tensors, rng), config, rng)
    return turned(out, permutation(rng, config["hidden_size"]))


def some_layers(tensors: Tensors, keep: list[int]) -> Tensors:
    """The layers named, in that order: pruned or up-scaled depth."""
    out = {n: w for n, w in tensors.items() if ".layers." not in n}
    for new, old in enumerate(keep):
        out |= {n.replace(f".layers.{old}.", f".layers.{new}."): w for n, w in tensors.items() if f".layers.{old}." in n}
    return out


def narrowed(tensors: Tensors, rng: np.random.Generator, units: int) -> Tensors:
    """MLP units left out, the others in their order."""
    out = dict(tensors)
    for p in _layers(tensors):
        kept = np.sort(rng.permutation(len(out[f"{p}.mlp.up_proj.weight"]))[:units])
        out |= {f"{p}.mlp.{n}_proj.weight": out[f"{p}.mlp.{n}_proj.weight"][kept] for n in ("gate", "up")}
        out[f"{p}.mlp.down_proj.weight"] = np.ascontiguousarray(out[f"{p}.mlp.down_proj.weight"][:, kept])
    return out


def mixture(rng: np.random.Generator, config: dict[str, Any], experts: int = 4) -> Tensors:
    """Under Mixtral's names: experts drawn apart."""
    drawn = [llama(rng, **config)[0] for _ in range(experts)]
    out = {n: w for n, w in drawn[0].items() if ".mlp." not in n}
    for p in _layers(drawn[0]):
        out[f"{p}.block_sparse_moe.gate.weight"] = rng.standard_normal((experts, config["hidden_size"])).astype(np.float32)
        for e, w in enumerate(drawn):
            out |= {f"{p}.block_sparse_moe.experts.{e}.{n}.weight": w[f"{p}.mlp.{m}_proj.weight"] for m, n in (("gate", "w1"), ("down", "w2"), ("up", "w3"))}
    return out


def reordered_experts(tensors: Tensors, rng: np.random.Generator) -> Tensors:
    """The experts of every layer in another order, router rows with them."""
    out = dict(tensors)
    for p in _layers(tensors):
        router = f"{p}.block_sparse_moe.gate.weight"
        order = rng.permutation(len(tensors[router]))
        out[router] = tensors[router][order]
        for new, old in enumerate(order):
            out |= {f"{p}.block_sparse_moe.experts.{new}.{n}.weight": tensors[f"{p}.block_sparse_moe.experts.{old}.{n}.weight"] for n in ("w1", "w2", "w3")}
    return out


def reordered_inside(tensors: Tensors, rng: np.random.Generator) -> Tensors:
    """The units of every expert in another order."""
    out = dict(tensors)
    for up in [n for n in tensors if n.endswith(".w3.weight")]:
        order, stem = rng.permutation(len(tensors[up])), up.removesuffix("w3.weight")
        out |= {f"{stem}{n}.weight": tensors[f"{stem}{n}.weight"][order] for n in ("w1", "w3")}
        out[f"{stem}w2.weight"] = np.ascontiguousarray(tensors[f"{stem}w2.weight"][:, order])
    return out
