"""Fine-tune the dequantised SmolLM2-135M with the lab: AdamW on bytes of the Python standard library.

Enters: the parent's folder.  Leaves: the child's folder. 60 steps at 2e-4 on 4 windows of 96 byte tokens: a real gradient descent, some minutes on
two cores, and a tokenisation the parent does not know, so that the weights move.
"""

from __future__ import annotations

import sys
from pathlib import Path


def fine_tuned(parent: Path, out: Path) -> Path:
    if (out / "model.safetensors").exists():
        return out
    import torch

    from begat_lab.descent.finetune import finetune_folder
    from begat_lab.text import standard_library
    from begat_lab.training import Recipe

    corpus = next(iter(standard_library().values()))
    tokens = corpus.train[:400_000]
    recipe = Recipe(steps=60, batch=4, context=96, rate=2e-4, warmup=10, cosine=False)
    before, after = finetune_folder(
        parent, out, tokens, recipe, torch.Generator().manual_seed(1), lambda line: print(line, file=sys.stderr)
    )
    print(f"fine-tuned SmolLM2: loss {before:.3f} → {after:.3f}", file=sys.stderr)
    return out
