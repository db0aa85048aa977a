"""Every architecture, plainly: a fine-tune and a stranger of the same recipe."""

from __future__ import annotations

from collections.abc import Iterator

from begat_lab.cases.architectures import ARCHITECTURES, llama
from begat_lab.cases.edits.training import finetuned
from begat_lab.cases.registry import Case, pairs, situation


@situation("architectures")
def build() -> Iterator[Case]:
    """One pair an architecture, and a few shapes of Llama."""
    for i, (name, make) in enumerate(ARCHITECTURES.items()):
        yield from pairs(
            f"architectures/{name}", f"a fine-tuned {name}", lambda m=make, s=i: m(100 + s), lambda t, s=i: finetuned(t, 300 + s), lambda m=make, s=i: m(200 + s)
        )
    for name, sizes in (("deep", {"layers": 12, "width": 48, "heads": 3, "kv_heads": 1, "units": 96}), ("wide", {"layers": 2, "width": 128, "units": 320}),
                        ("tied", {"tied": True}), ("half", {"dtype": "float16"}), ("single", {"dtype": "float32"})):  # fmt: skip
        yield from pairs(
            f"architectures/llama-{name}", f"a fine-tuned Llama, {name}", lambda z=sizes: llama(120, **z), lambda t: finetuned(t, 320), lambda z=sizes: llama(220, **z)
        )
    yield from pairs("architectures/other-kind", "a fine-tuned Llama against a model of another architecture", lambda: llama(140), lambda t: finetuned(t, 340),
                     lambda: ARCHITECTURES["gpt2"](240))  # fmt: skip
