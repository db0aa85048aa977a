"""Equal weights under configs that disagree: another model, though every value is the same."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from begat_lab.cases.architectures import llama
from begat_lab.cases.edits.parts import copied
from begat_lab.cases.edits.training import finetuned
from begat_lab.cases.registry import Case, pairs, situation


@situation("configs")
def build() -> Iterator[Case]:
    """What loaders read from a config and not from the weights."""
    ways: tuple[tuple[str, str, dict[str, Any]], ...] = (
        ("rotary-base", "another rotary base", {"rope_theta": 1000000.0}),
        ("depth", "fewer layers said than are there", {"num_hidden_layers": 3}),
        ("tied-head", "the head said to be tied, though one is there", {"tie_word_embeddings": True}),
        ("epsilon", "another epsilon in the norms", {"rms_norm_eps": 1e-5}),
        ("window", "a sliding window", {"sliding_window": 128}),
        ("none", "nothing that matters", {"transformers_version": "5.24.0"}),
    )
    for name, about, change in ways:
        yield from pairs(
            f"configs/{name}", f"equal weights, {about}", lambda: llama(1300), partial(copied, **change), lambda: llama(1301)
        )
    yield from pairs(
        "configs/rotary-base-tuned",
        "a fine-tune with another rotary base",
        lambda: llama(1300),
        lambda t: finetuned(copied(t, rope_theta=500000.0), 1302, 0.05),
        lambda: llama(1301),
    )
