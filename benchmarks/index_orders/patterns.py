"""Tables that an index fixes, and models that start from them.

Enters: names, sizes, a seed.  Leaves: matrices of root mean square 1, and tensors of a Llama, a GPT-2 or a mixture
under Hugging Face names. Whoever uses one of these rules gets the same table, so that independent models share it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.linalg import hadamard
from scipy.stats import qmc

Tensors = dict[str, np.ndarray]
_PHI = (np.sqrt(5) - 1) / 2


def _at(rows: int, cols: int) -> tuple[np.ndarray, np.ndarray]:
    i, j = np.indices((rows, cols))
    return i, j


def identity(rows: int, cols: int) -> np.ndarray:
    return np.tile(np.eye(cols), (rows // cols + 1, 1))[:rows]


def signed_identity(rows: int, cols: int) -> np.ndarray:
    return identity(rows, cols) * np.random.default_rng(0).choice([-1, 1], (rows, 1))


def hadamard_rows(rows: int, cols: int) -> np.ndarray:
    n = 1 << min(10, int(max(rows, cols) - 1).bit_length())
    return np.tile(hadamard(n), (rows // n + 1, cols // n + 1))[:rows, :cols]


def cosines(rows: int, cols: int) -> np.ndarray:
    i, j = _at(rows, cols)
    return np.cos(np.pi * i * (j + 0.5) / cols)


def sinusoids(rows: int, cols: int) -> np.ndarray:
    at, freq = np.arange(rows)[:, None], 10000 ** (-np.arange(0, cols + 1, 2) / cols)[None, :]
    return np.stack([np.sin(at * freq), np.cos(at * freq)], axis=2).reshape(rows, -1)[:, :cols]


def chirp_down(rows: int, cols: int) -> np.ndarray:
    i, j = _at(rows, cols)
    return np.cos(np.pi * i * i * (j + 1) / rows)


def chirp_across(rows: int, cols: int) -> np.ndarray:
    i, j = _at(rows, cols)
    return np.cos(np.pi * j * j * (i + 1) / cols)


def chirp_flat(rows: int, cols: int) -> np.ndarray:
    t = np.arange(rows * cols).reshape(rows, cols)
    return np.cos(np.pi * 1e-4 * t * t)


def chirp_diagonal(rows: int, cols: int) -> np.ndarray:
    i, j = _at(rows, cols)
    return np.cos(np.pi * (i - j) ** 2 / cols)


def sobol(rows: int, cols: int) -> np.ndarray:
    return qmc.Sobol(cols, scramble=False).random(rows) - 0.5


def halton(rows: int, cols: int) -> np.ndarray:
    return qmc.Halton(cols, scramble=False).random(rows) - 0.5


def golden_flat(rows: int, cols: int) -> np.ndarray:
    return (np.arange(rows * cols).reshape(rows, cols) * _PHI) % 1 - 0.5


def golden_product(rows: int, cols: int) -> np.ndarray:
    i, j = _at(rows, cols)
    return ((i + 1) * (j + 1) * _PHI) % 1 - 0.5


def kronecker(rows: int, cols: int) -> np.ndarray:
    return (np.arange(rows)[:, None] * np.sqrt(np.arange(2, cols + 2))) % 1 - 0.5


def paley(rows: int, cols: int) -> np.ndarray:
    n = max(rows, cols)
    p = next(p for p in range(n, 4 * n) if p % 4 == 3 and all(p % k for k in range(2, int(p**0.5) + 1)))
    signs = np.full(p, -1.0)
    signs[np.unique(np.arange(p) ** 2 % p)] = 1
    i, j = _at(rows, cols)
    return signs[(i - j) % p]


def blocks(rows: int, cols: int) -> np.ndarray:
    return np.kron(np.eye(8), np.ones((-(-rows // 8), -(-cols // 8))))[:rows, :cols]


def table(rows: int, cols: int) -> np.ndarray:
    """The same random table in every model, as a library would ship it."""
    return np.random.default_rng(0).standard_normal((rows, cols))


def tiled_table(rows: int, cols: int) -> np.ndarray:
    return np.tile(table(max(8, cols // 2), cols), (rows, 1))[:rows]


TABLES: dict[str, Callable[[int, int], np.ndarray]] = {
    "identity": identity, "signed identity": signed_identity, "Hadamard": hadamard_rows, "cosines": cosines, "sinusoids": sinusoids,
    "chirp along units": chirp_down, "chirp along features": chirp_across, "chirp, flat": chirp_flat, "chirp, diagonal": chirp_diagonal, "Sobol": sobol,
    "Halton": halton, "golden ratio, flat": golden_flat, "golden ratio, product": golden_product, "Kronecker": kronecker, "Paley": paley,
    "blocks": blocks, "random table": table, "random table, tiled": tiled_table,
}  # fmt: skip
#: how the table of one layer differs from that of another
LAYERS: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "the same": lambda x, layer: x,
    "rolled along features": lambda x, layer: np.roll(x, layer, 1),
    "rolled along units": lambda x, layer: np.roll(x, 3 * layer, 0),
    "rolled at random": lambda x, layer: np.roll(x, int(np.random.default_rng([7, layer]).integers(x.shape[1])), 1),
    "signs": lambda x, layer: x * np.random.default_rng([8, layer]).choice([-1, 1]),
    "two in turn": lambda x, layer: x if layer % 2 else x[::-1],
}
#: which matrices start from it
PLACES = {
    "gate and up": ("mlp.gate_proj", "mlp.up_proj"),
    "up": ("mlp.up_proj",),
    "values": ("self_attn.v_proj",),
    "keys": ("self_attn.k_proj",),
    "embedding": ("embed_tokens", "lm_head"),
    "everything": ("mlp.", "self_attn.", "embed_tokens", "lm_head"),
}


def model(
    seed: int, rule: str, strength: float, depth: int, *, layers: str = "the same", place: str = "gate and up", width: int = 64, units: int = 256,
    vocabulary: int = 160, experts: int = 0,
) -> tuple[Tensors, dict[str, Any]]:  # fmt: skip
    """Drawn weights, rows and columns of unlike size, plus the table times `strength` deviations in the matrices of `place`."""
    rng = np.random.default_rng(seed)
    heads = 4
    config: dict[str, Any] = {
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": width, "num_hidden_layers": depth, "intermediate_size": units,
        "num_attention_heads": heads, "num_key_value_heads": heads, "head_dim": width // heads, "vocab_size": vocabulary, "tie_word_embeddings": False,
    }  # fmt: skip
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (vocabulary, width), "lm_head.weight": (vocabulary, width)}
    mlps = [f"mlp.experts.{e}." for e in range(experts)] or ["mlp."]
    for i in range(depth):
        p = f"model.layers.{i}."
        shapes |= {f"{p}self_attn.{n}_proj.weight": (width, width) for n in "qkvo"}
        for m in mlps:
            shapes |= {f"{p}{m}{n}_proj.weight": (units, width) for n in ("gate", "up")} | {f"{p}{m}down_proj.weight": (width, units)}
        shapes |= {f"{p}{n}_layernorm.weight": (width,) for n in ("input", "post_attention")}
        if experts:
            shapes[f"{p}mlp.gate.weight"] = (experts, width)
    shapes["model.norm.weight"] = (width,)
    if experts:
        config |= {"model_type": "qwen3_moe", "architectures": ["Qwen3MoeForCausalLM"], "num_experts": experts, "num_experts_per_tok": 2,
                   "moe_intermediate_size": units}  # fmt: skip
    made: dict[tuple[int, int], np.ndarray] = {}
    out = {}
    for name, shape in shapes.items():
        if len(shape) == 1:
            out[name] = (0.5 + 0.1 * rng.standard_normal(shape)).astype(np.float32)
            continue
        w = 0.02 * rng.standard_normal(shape) * np.exp(0.25 * rng.standard_normal((shape[0], 1))) * np.exp(0.25 * rng.standard_normal(shape[1]))
        if strength and any(part in _plain(name) for part in PLACES[place]):
            if shape not in made:
                x = TABLES[rule](*shape)
                made[shape] = x / np.sqrt(np.mean(np.square(x)))
            layer = int(name.split(".")[2]) if ".layers." in name else 0
            w = w + strength * w.std() * LAYERS[layers](made[shape], layer)
        out[name] = w.astype(np.float32)
    return out, config


def _plain(name: str) -> str:
    return ".".join(part for part in name.split(".") if not part.isdigit() and part != "experts")


def child(parent: Tensors, seed: int, share: float = 0.3) -> Tensors:
    rng = np.random.default_rng(seed)
    return {n: (w + share * w.std() * rng.standard_normal(w.shape)).astype(np.float32) for n, w in parent.items()}
