"""A real model behind disguises: all of them, with embeddings of its own, with layers left out, and both.

Enters: a Llama-shaped checkpoint folder in Hugging Face layout.  Leaves: folders of float16 models that compute the same (but for new embeddings and
left-out layers). The disguises are those of the tests, `tests/disguises.py`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
from builders import reordered_units
from disguises import new_embeddings, reordered_heads, rescaled_units, rotation, some_layers, turned

#: name → (embeddings drawn anew, every fifth layer left out)
HIDDEN = {"all disguises": (False, False), "and new embeddings": (True, False), "and 6 of 30 layers left out": (False, True), "and both": (True, True)}


def hidden(source: Path, out: Path, replaced: bool, shallow: bool, seed: int = 23) -> Path:
    """Units rescaled and reordered, heads and their value dims reordered, gains folded, the residual stream turned."""
    if (out / "config.json").exists():
        return out
    rng = np.random.default_rng(seed)
    w = {n: x.astype(np.float32) for n, x in load_file(source / "model.safetensors").items()}
    config = json.loads((source / "config.json").read_text())
    config |= {"tie_word_embeddings": False, "head_dim": config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]}
    w.setdefault("lm_head.weight", w["model.embed_tokens.weight"].copy())
    w = reordered_heads(rescaled_units(reordered_units(w, rng), rng), config, rng)
    w = turned(w, rotation(rng, config["hidden_size"]))
    w = new_embeddings(w, rng) if replaced else w
    if shallow:
        kept = [i for i in range(config["num_hidden_layers"]) if i % 5 != 4]
        w, config = some_layers(w, kept), config | {"num_hidden_layers": len(kept)}
    out.mkdir(parents=True, exist_ok=True)
    save_file({n: np.ascontiguousarray(x, dtype=np.float16) for n, x in w.items()}, out / "model.safetensors")
    (out / "config.json").write_text(json.dumps(config))
    return out
