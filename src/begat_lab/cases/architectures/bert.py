"""BERT: post-norm, biases everywhere, positions and token types."""

from __future__ import annotations

from begat_lab.cases.draw import Draft
from begat_lab.cases.model import Toy
from begat_lab.cases.truth import Place


def bert(
    seed: int,
    *,
    width: int = 64,
    layers: int = 4,
    units: int = 256,
    heads: int = 4,
    vocabulary: int = 256,
    dtype: str = "float32",
) -> Toy:
    """A BERT with its pooler."""
    draft = Draft(seed, "bert", width)
    draft.table("bert.embeddings.word_embeddings.weight", vocabulary, Place("text", -1, component="embedding"))
    for name, rows, what in (("position", 64, "positions"), ("token_type", 2, "types")):
        draft.matrix(
            f"bert.embeddings.{name}_embeddings.weight",
            (rows, width),
            Place("text", -1, component=what),
            ("row", "residual"),
            "embedding",
        )
    _norm(draft, "bert.embeddings.LayerNorm", width, Place("text", -1, component="norm"))
    for layer in range(layers):
        at, p = Place("text", layer), f"bert.encoder.layer.{layer}."
        for name, outs, ins, axes, group in (
            ("attention.self.query", width, width, ("head*dim", "residual"), "attention"),
            ("attention.self.key", width, width, ("kv*dim", "residual"), "attention"),
            ("attention.self.value", width, width, ("kv*value", "residual"), "attention"),
            ("attention.output.dense", width, width, ("residual", "head*value"), "attention"),
            ("intermediate.dense", units, width, ("unit", "residual"), "MLP"),
            ("output.dense", width, units, ("residual", "unit"), "MLP"),
        ):
            draft.matrix(f"{p}{name}.weight", (outs, ins), at, axes, group)
            draft.bias(f"{p}{name}.bias", outs, at, axes[0])
        _norm(draft, p + "attention.output.LayerNorm", width, at)
        _norm(draft, p + "output.LayerNorm", width, at)
    draft.matrix(
        "bert.pooler.dense.weight", (width, width), Place("text", -1, component="pooler"), ("pooled", "residual"), "other"
    )
    draft.bias("bert.pooler.dense.bias", width, Place("text", -1, component="pooler"), "pooled")
    config = {
        "model_type": "bert",
        "architectures": ["BertModel"],
        "hidden_size": width,
        "num_hidden_layers": layers,
        "intermediate_size": units,
        "num_attention_heads": heads,
        "vocab_size": vocabulary,
        "max_position_embeddings": 64,
        "type_vocab_size": 2,
    }
    return draft.done(config, ("text",), vocabulary, dtype)


def _norm(draft: Draft, name: str, width: int, at: Place) -> None:
    draft.gain(name + ".weight", width, at)
    draft.bias(name + ".bias", width, at, "residual")
