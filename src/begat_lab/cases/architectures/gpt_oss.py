"""gpt-oss: fused, biased experts, one stack a layer; released with its experts in MXFP4
(`edits/encoded.py`).
"""

from __future__ import annotations

from begat_lab.cases.architectures.llama import llama
from begat_lab.cases.draw import Draft
from begat_lab.cases.model import Toy
from begat_lab.cases.truth import Place


def gpt_oss(
    seed: int,
    *,
    width: int = 64,
    layers: int = 2,
    units: int = 64,
    experts: int = 4,
    vocabulary: int = 256,
    dtype: str = "bfloat16",
) -> Toy:
    """A gpt-oss with its experts in plain numbers, [expert, in, out]."""
    heads, kv_heads = 4, 2
    plain, draft = (
        llama(seed, width=width, layers=layers, units=units, vocabulary=vocabulary, family="gpt-oss"),
        Draft(seed, "gpt-oss", width),
    )
    draft.pieces |= {n: p for n, p in plain.pieces.items() if ".mlp." not in n}
    size = width // heads
    for layer in range(layers):
        at, p = Place("text", layer), f"model.layers.{layer}."
        draft.matrix(p + "mlp.router.weight", (experts, width), at, ("expert", "residual"), "experts")
        draft.bias(p + "mlp.router.bias", experts, at, "expert")
        draft.bias(p + "self_attn.sinks", heads, at, "head")
        for n, outs in (("q", heads * size), ("k", kv_heads * size), ("v", kv_heads * size), ("o", width)):
            draft.bias(f"{p}self_attn.{n}_proj.bias", outs, at, n)
        for name, ins, outs, axes in (
            ("gate_up_proj", width, 2 * units, ("expert", "residual", "unit2")),
            ("down_proj", units, width, ("expert", "unit", "residual")),
        ):
            draft.matrix(f"{p}mlp.experts.{name}", (experts, ins, outs), at, axes, "experts")
            draft.matrix(f"{p}mlp.experts.{name}_bias", (experts, outs), at, ("expert", axes[2]), "norms and biases")
    config = dict(plain.config) | {
        "model_type": "gpt_oss",
        "architectures": ["GptOssForCausalLM"],
        "num_local_experts": experts,
        "num_experts_per_tok": 2,
    }
    return draft.done(config, ("text",), vocabulary, dtype)
