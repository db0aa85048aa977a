"""A random model with the shape and the per-tensor moments of a real one: same means and standard deviations, nothing else.

Enters: a checkpoint folder in Hugging Face layout.  Leaves: the stranger's folder. It is *not* a trained stranger (no second model of that shape is
in a package); the lab grows those.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file


def same_shape_stranger(parent: Path, out: Path, seed: int = 17) -> Path:
    if (out / "model.safetensors").exists():
        return out
    rng = np.random.default_rng(seed)
    tensors = {}
    for name, w in sorted(load_file(parent / "model.safetensors").items()):
        x = w.astype(np.float32)
        tensors[name] = (x.mean() + x.std() * rng.standard_normal(x.shape, dtype=np.float32)).astype(np.float16)
    out.mkdir(parents=True, exist_ok=True)
    save_file(tensors, out / "model.safetensors")
    shutil.copy(parent / "config.json", out / "config.json")
    return out
