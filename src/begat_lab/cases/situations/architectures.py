"""Every architecture, plainly: a fine-tune and a stranger of the same recipe."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from begat_lab.cases.architectures import ARCHITECTURES, llama
from begat_lab.cases.edits.training import finetuned
from begat_lab.cases.registry import Case, pairs, situation


@situation("architectures")
def build() -> Iterator[Case]:
    """One pair an architecture, and a few shapes of Llama."""
    for i, (name, make) in enumerate(ARCHITECTURES.items()):
        yield from pairs(
            f"architectures/{name}",
            f"a fine-tuned {name}",
            partial(make, 100 + i),
            partial(finetuned, seed=300 + i),
            partial(make, 200 + i),
        )
    shapes: tuple[tuple[str, dict[str, Any]], ...] = (
        ("deep", {"layers": 12, "width": 48, "heads": 3, "kv_heads": 1, "units": 96}),
        ("wide", {"layers": 2, "width": 128, "units": 320}),
        ("tied", {"tied": True}),
        ("half", {"dtype": "float16"}),
        ("single", {"dtype": "float32"}),
    )
    for name, sizes in shapes:
        yield from pairs(
            f"architectures/llama-{name}",
            f"a fine-tuned Llama, {name}",
            partial(llama, 120, **sizes),
            partial(finetuned, seed=320),
            partial(llama, 220, **sizes),
        )
    yield from pairs(
        "architectures/other-kind",
        "a fine-tuned Llama against a model of another architecture",
        partial(llama, 140),
        partial(finetuned, seed=340),
        partial(ARCHITECTURES["gpt2"], 240),
    )
