"""Models with a vision tower: CLIP's tower alone, and a LLaVA, which puts one before a Llama."""

from __future__ import annotations

from typing import Any

from begat_lab.cases.architectures.llama import llama
from begat_lab.cases.draw import Draft
from begat_lab.cases.model import Toy
from begat_lab.cases.truth import Place


def clip(
    seed: int, *, width: int = 48, layers: int = 3, heads: int = 4, patch: int = 4, dtype: str = "float32", tower: str = "text"
) -> Toy:
    """CLIP's vision tower saved alone. tower: how begat calls it; alone it is the only trunk."""
    draft, p = Draft(seed, "clip", width), "vision_model."
    draft.matrix(
        p + "embeddings.patch_embedding.weight",
        (width, 3, patch, patch),
        Place(tower, -1, component="patches"),
        ("residual", "colour", "row", "column"),
    )
    draft.matrix(
        p + "embeddings.position_embedding.weight",
        (50, width),
        Place(tower, -1, component="positions"),
        ("position", "residual"),
        "embedding",
    )
    for layer in range(layers):
        at, q = Place(tower, layer), f"{p}encoder.layers.{layer}."
        for name, outs, ins, axes, group in (
            ("self_attn.q_proj", width, width, ("head*dim", "residual"), "attention"),
            ("self_attn.k_proj", width, width, ("kv*dim", "residual"), "attention"),
            ("self_attn.v_proj", width, width, ("kv*value", "residual"), "attention"),
            ("self_attn.out_proj", width, width, ("residual", "head*value"), "attention"),
            ("mlp.fc1", 4 * width, width, ("unit", "residual"), "MLP"),
            ("mlp.fc2", width, 4 * width, ("residual", "unit"), "MLP"),
        ):
            draft.matrix(f"{q}{name}.weight", (outs, ins), at, axes, group)
            draft.bias(f"{q}{name}.bias", outs, at, axes[0])
        for norm in ("layer_norm1", "layer_norm2"):
            draft.gain(f"{q}{norm}.weight", width, at)
            draft.bias(f"{q}{norm}.bias", width, at, "residual")
    config: dict[str, Any] = {
        "model_type": "clip_vision_model",
        "architectures": ["CLIPVisionModel"],
        "hidden_size": width,
        "num_hidden_layers": layers,
        "intermediate_size": 4 * width,
        "num_attention_heads": heads,
        "patch_size": patch,
    }
    return draft.done(config, (tower,), 0, dtype)


def llava(seed: int, *, dtype: str = "bfloat16", **sizes: Any) -> Toy:
    """A LLaVA: vision tower, projector, Llama, all drawn for it."""
    text = llama(seed, dtype=dtype, family="llava", **sizes)
    eyes = clip(seed + 5000, tower="vision", dtype=dtype)
    width, seen = int(text.config["hidden_size"]), int(eyes.config["hidden_size"])
    draft = Draft(seed, "llava-projector", width)
    draft.pieces |= {f"language_model.{n}": p for n, p in text.pieces.items()} | {
        f"vision_tower.{n}": p for n, p in eyes.pieces.items()
    }
    at = Place("text", -1, component="projection")
    draft.matrix("multi_modal_projector.linear_1.weight", (width, seen), at, ("projected", "seen"))
    draft.matrix("multi_modal_projector.linear_2.weight", (width, width), at, ("residual", "projected"))
    for n in ("linear_1", "linear_2"):
        draft.bias(f"multi_modal_projector.{n}.bias", width, at, "projected")
    config = {
        "model_type": "llava",
        "architectures": ["LlavaForConditionalGeneration"],
        "text_config": dict(text.config),
        "vision_config": dict(eyes.config),
    }
    return draft.done(config, ("text", "vision"), text.tokens, dtype)
