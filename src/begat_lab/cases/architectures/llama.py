"""Llama and its mixtures: Qwen3-MoE and Mixtral, which name their experts in two ways."""

from __future__ import annotations

from typing import Any

from begat_lab.cases.draw import Draft
from begat_lab.cases.model import Toy
from begat_lab.cases.truth import Place

_MOE_NAMES = {
    "qwen": ("mlp.experts", ("gate_proj", "up_proj", "down_proj"), "mlp.gate"),
    "mixtral": ("block_sparse_moe.experts", ("w1", "w3", "w2"), "block_sparse_moe.gate"),
}


def llama(
    seed: int,
    *,
    width: int = 64,
    layers: int = 4,
    units: int = 160,
    heads: int = 4,
    kv_heads: int = 2,
    vocabulary: int = 256,
    tied: bool = False,
    dtype: str = "bfloat16",
    experts: int = 0,
    naming: str = "",
    tokens: int | None = None,
    family: str = "llama",
) -> Toy:
    """A dense Llama; with `experts` a mixture named as `naming` says. tokens: entries of its
    tokenizer (default: the vocabulary).
    """
    size, draft = width // heads, Draft(seed, family, width)
    text = Place("text", -1, component="embedding")
    draft.table("model.embed_tokens.weight", vocabulary, text)
    if not tied:
        draft.matrix(
            "lm_head.weight", (vocabulary, width), Place("text", -1, component="head"), ("token", "residual"), "output head"
        )
    draft.gain("model.norm.weight", width, Place("text", -1, component="norm"))
    for layer in range(layers):
        at, p = Place("text", layer), f"model.layers.{layer}."
        for n, rows, axis in (("q", heads, "head*dim"), ("k", kv_heads, "kv*dim"), ("v", kv_heads, "kv*value")):
            draft.matrix(f"{p}self_attn.{n}_proj.weight", (rows * size, width), at, (axis, "residual"), "attention")
        draft.matrix(f"{p}self_attn.o_proj.weight", (width, heads * size), at, ("residual", "head*value"), "attention")
        draft.gain(p + "input_layernorm.weight", width, at)
        draft.gain(p + "post_attention_layernorm.weight", width, at)
        if experts:
            _mixture(draft, p, layer, experts, units, width, naming)
        else:
            mlp(draft, p + "mlp.", ("gate_proj", "up_proj", "down_proj"), at, units, width, "MLP")
    config: dict[str, Any] = {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": width,
        "num_hidden_layers": layers,
        "intermediate_size": units,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": size,
        "vocab_size": vocabulary,
        "tie_word_embeddings": tied,
        "rope_theta": 10000.0,
        "rms_norm_eps": 1e-6,
    }
    if naming == "qwen":
        config |= {
            "model_type": "qwen3_moe",
            "architectures": ["Qwen3MoeForCausalLM"],
            "num_experts": experts,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": units,
        }
    elif naming == "mixtral":
        config |= {
            "model_type": "mixtral",
            "architectures": ["MixtralForCausalLM"],
            "num_local_experts": experts,
            "num_experts_per_tok": 2,
        }
    return draft.done(config, ("text",), vocabulary if tokens is None else tokens, dtype)


def qwen_moe(seed: int, *, experts: int = 4, layers: int = 3, units: int = 96, **sizes: Any) -> Toy:
    """A Qwen3-MoE."""
    return llama(seed, experts=experts, layers=layers, units=units, naming="qwen", family="qwen-moe", **sizes)


def mixtral(seed: int, *, experts: int = 4, layers: int = 3, units: int = 96, **sizes: Any) -> Toy:
    """A Mixtral."""
    return llama(seed, experts=experts, layers=layers, units=units, naming="mixtral", family="mixtral", **sizes)


def mlp(draft: Draft, prefix: str, names: tuple[str, str, str], at: Place, units: int, width: int, group: str) -> None:
    """Gate, up and down."""
    for name in names[:2]:
        draft.matrix(f"{prefix}{name}.weight", (units, width), at, ("unit", "residual"), group)
    draft.matrix(f"{prefix}{names[2]}.weight", (width, units), at, ("residual", "unit"), group)


def _mixture(draft: Draft, p: str, layer: int, experts: int, units: int, width: int, naming: str) -> None:
    stem, names, router = _MOE_NAMES[naming]
    draft.matrix(f"{p}{router}.weight", (experts, width), Place("text", layer), ("expert", "residual"), "experts")
    for e in range(experts):
        mlp(draft, f"{p}{stem}.{e}.", (names[0], names[1], names[2]), Place("text", layer, e), units, width, "experts")
