"""Tiny random Llama-shaped checkpoints for the methods' tests, and the disguises that papers claim to survive.

Enters: a seed.  Leaves: opened `Model`s, and weights changed without changing the function.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from begat_lab.methods.model import Model, open_model
from builders import LLAMA, Tensors, llama, write

SIZES = {"vocab_size": 160, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 4,
         "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16}  # fmt: skip
PROBE_NT = np.random.default_rng(99).integers(SIZES["vocab_size"], size=(24, 8))
_READS = ("q_proj.weight", "k_proj.weight", "v_proj.weight", "gate_proj.weight", "up_proj.weight", "lm_head.weight")
_WRITES = ("o_proj.weight", "down_proj.weight")


def weights(seed: int, **changes: int) -> Tensors:
    """Random weights, scaled so that activations neither vanish nor blow up."""
    return llama(np.random.default_rng(seed), **(SIZES | changes))[0]


def opened(folder: Path, tensors: Tensors, **changes: int) -> Model:
    """Written and opened, with the probe of the tests."""
    return open_model(write(folder, tensors, LLAMA | SIZES | changes), PROBE_NT)


def permuted(parent: Tensors, rng: np.random.Generator) -> Tensors:
    """T1: the residual stream in another order."""
    order = rng.permutation(len(parent["model.norm.weight"]))
    return {n: w[..., order] if not n.endswith(_WRITES) else w[order] for n, w in parent.items()}




def folded(parent: Tensors) -> Tensors:
    """T5: every norm gain moved into the matrices that read it."""
    out = dict(parent)
    for name, gain in parent.items():
        if gain.ndim > 1:
            continue
        out[name] = np.ones_like(gain)
        p = name.rpartition("input_layernorm")[0] or name.rpartition("post_attention_layernorm")[0]
        part = "self_attn." if "input_layernorm" in name else "mlp."
        readers = [p + part + r for r in _READS] if p else ["lm_head.weight"]
        out |= {r: parent[r] * gain for r in readers if r in parent}
    return out


def rotated(parent: Tensors, rng: np.random.Generator) -> Tensors:
    """T5, then T3: the residual stream in another basis."""
    d = len(parent["model.norm.weight"])
    q = np.linalg.qr(rng.standard_normal((d, d)))[0]
    out: Tensors = {}
    for name, w in folded(parent).items():
        turned = w if w.ndim == 1 else q.T @ w if name.endswith(_WRITES) else w @ q
        out[name] = np.ascontiguousarray(turned, dtype=np.float32)
    return out
