"""Mamba: no attention, no MLP; one recurrence a layer."""

from __future__ import annotations

import numpy as np

from begat_lab.cases.draw import Draft
from begat_lab.cases.model import Toy
from begat_lab.cases.truth import Place


def mamba(
    seed: int, *, width: int = 64, layers: int = 4, vocabulary: int = 256, state: int = 8, rank: int = 4, dtype: str = "float32"
) -> Toy:
    """A Mamba. `A_log` starts alike in all models and hardly moves, as in trained ones."""
    inner, draft = 2 * width, Draft(seed, "mamba", width)
    draft.table("backbone.embeddings.weight", vocabulary, Place("text", -1, component="embedding"))
    for layer in range(layers):
        at, p = Place("text", layer), f"backbone.layers.{layer}."
        for name, shape, axes in (
            ("in_proj", (2 * inner, width), ("ssm2", "residual")),
            ("x_proj", (rank + 2 * state, inner), ("rank", "ssm")),
            ("dt_proj", (inner, rank), ("ssm", "rank")),
            ("out_proj", (width, inner), ("residual", "ssm")),
        ):
            draft.matrix(f"{p}mixer.{name}.weight", shape, at, axes, "other")
        draft.matrix(p + "mixer.conv1d.weight", (inner, 1, 4), at, ("ssm", "one", "tap"), "other")
        draft.bias(p + "mixer.conv1d.bias", inner, at, "ssm")
        draft.bias(p + "mixer.dt_proj.bias", inner, at, "ssm")
        draft.raw(p + "mixer.A_log", np.log(np.tile(np.arange(1, state + 1, dtype=np.float32), (inner, 1))), at, ("ssm", "state"))
        draft.raw(p + "mixer.D", np.ones(inner, np.float32), at, ("ssm",))
        draft.gain(p + "norm.weight", width, at)
    draft.gain("backbone.norm_f.weight", width, Place("text", -1, component="norm"))
    config = {
        "model_type": "mamba",
        "architectures": ["MambaForCausalLM"],
        "hidden_size": width,
        "num_hidden_layers": layers,
        "state_size": state,
        "time_step_rank": rank,
        "intermediate_size": inner,
        "vocab_size": vocabulary,
        "conv_kernel": 4,
    }
    return draft.done(config, ("text",), vocabulary, dtype)
