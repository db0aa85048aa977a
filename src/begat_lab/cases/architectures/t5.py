"""T5: an encoder and a decoder that share one table of tokens."""

from __future__ import annotations

from begat_lab.cases.draw import Draft
from begat_lab.cases.model import Toy
from begat_lab.cases.truth import Place

#: the decoder is the tower that speaks, as in begat's reports
_TOWERS = {"decoder": "text", "encoder": "encoder"}


def t5(
    seed: int,
    *,
    width: int = 64,
    layers: int = 2,
    units: int = 256,
    heads: int = 4,
    vocabulary: int = 256,
    gated: bool = False,
    dtype: str = "float32",
) -> Toy:
    """A T5; `gated` as from version 1.1 on."""
    draft = Draft(seed, "t5", width)
    draft.table("shared.weight", vocabulary, Place("text", -1, component="embedding"))
    for side, tower in _TOWERS.items():
        for layer in range(layers):
            _block(draft, f"{side}.block.{layer}.layer.", Place(tower, layer), width, units, side == "decoder", gated)
        bias = f"{side}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
        draft.matrix(bias, (32, heads), Place(tower, 0), ("bucket", "head"), "attention")
        draft.gain(f"{side}.final_layer_norm.weight", width, Place(tower, -1, component="norm"))
    if gated:
        draft.matrix(
            "lm_head.weight", (vocabulary, width), Place("text", -1, component="head"), ("token", "residual"), "output head"
        )
    config = {
        "model_type": "t5",
        "architectures": ["T5ForConditionalGeneration"],
        "d_model": width,
        "d_kv": width // heads,
        "num_heads": heads,
        "d_ff": units,
        "num_layers": layers,
        "num_decoder_layers": layers,
        "vocab_size": vocabulary,
        "tie_word_embeddings": not gated,
        "feed_forward_proj": "gated-gelu" if gated else "relu",
    }
    return draft.done(config, ("text", "encoder"), vocabulary, dtype)


def _block(draft: Draft, p: str, at: Place, width: int, units: int, cross: bool, gated: bool) -> None:
    last = 2 if cross else 1
    for j, name in ((0, "SelfAttention"), (1, "EncDecAttention"))[:last]:
        for n, axes in (
            ("q", ("head*dim", "residual")),
            ("k", ("kv*dim", "residual")),
            ("v", ("kv*value", "residual")),
            ("o", ("residual", "head*value")),
        ):
            draft.matrix(f"{p}{j}.{name}.{n}.weight", (width, width), at, axes, "attention")
        draft.gain(f"{p}{j}.layer_norm.weight", width, at)
    for n in ("wi_0", "wi_1") if gated else ("wi",):
        draft.matrix(f"{p}{last}.DenseReluDense.{n}.weight", (units, width), at, ("unit", "residual"), "MLP")
    draft.matrix(f"{p}{last}.DenseReluDense.wo.weight", (width, units), at, ("residual", "unit"), "MLP")
    draft.gain(f"{p}{last}.layer_norm.weight", width, at)
