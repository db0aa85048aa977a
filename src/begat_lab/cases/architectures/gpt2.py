"""GPT-2: weights stored as [in, out], query, key and value fused, biases, learned positions."""

from __future__ import annotations

from begat_lab.cases.draw import Draft
from begat_lab.cases.model import Toy
from begat_lab.cases.truth import Place


def gpt2(
    seed: int,
    *,
    width: int = 64,
    layers: int = 4,
    heads: int = 4,
    vocabulary: int = 256,
    positions: int = 64,
    dtype: str = "float32",
) -> Toy:
    """A GPT-2."""
    draft = Draft(seed, "gpt2", width)
    draft.table("transformer.wte.weight", vocabulary, Place("text", -1, component="embedding"))
    draft.matrix(
        "transformer.wpe.weight",
        (positions, width),
        Place("text", -1, component="positions"),
        ("position", "residual"),
        "embedding",
    )
    for layer in range(layers):
        at, p = Place("text", layer), f"transformer.h.{layer}."
        for name, ins, outs, axes, group in (
            ("attn.c_attn", width, 3 * width, ("residual", "fused"), "attention"),
            ("attn.c_proj", width, width, ("head*value", "residual"), "attention"),
            ("mlp.c_fc", width, 4 * width, ("residual", "unit"), "MLP"),
            ("mlp.c_proj", 4 * width, width, ("unit", "residual"), "MLP"),
        ):
            draft.matrix(f"{p}{name}.weight", (ins, outs), at, axes, group)
            draft.bias(f"{p}{name}.bias", outs, at, axes[1])
        for norm in ("ln_1", "ln_2"):
            draft.gain(f"{p}{norm}.weight", width, at)
            draft.bias(f"{p}{norm}.bias", width, at, "residual")
    draft.gain("transformer.ln_f.weight", width, Place("text", -1, component="norm"))
    draft.bias("transformer.ln_f.bias", width, Place("text", -1, component="norm"), "residual")
    config = {
        "model_type": "gpt2",
        "architectures": ["GPT2LMHeadModel"],
        "n_embd": width,
        "n_layer": layers,
        "n_head": heads,
        "vocab_size": vocabulary,
        "n_positions": positions,
    }
    return draft.done(config, ("text",), vocabulary, dtype)
