"""Disguises that keep the function: units, heads, the residual stream, all together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from begat_lab.cases.architectures import llama
from begat_lab.cases.edits import units as edit
from begat_lab.cases.edits.parts import embeddings_new
from begat_lab.cases.edits.training import finetuned
from begat_lab.cases.model import Toy
from begat_lab.cases.registry import Case, pairs, situation

_SIZES: dict[str, Any] = {"width": 96, "layers": 5, "units": 160, "heads": 6, "kv_heads": 2, "vocabulary": 200}


def _ways() -> Iterator[tuple[str, str, Callable[[Toy], Toy]]]:
    yield "units", "MLP units reordered", lambda t: edit.units_reordered(t, 1)
    yield "heads", "heads and value dims reordered", lambda t: edit.heads_reordered(t, 2)
    yield "heads-alone", "heads reordered, value dims in place", lambda t: edit.heads_reordered(t, 3, values=False)
    yield "residual-permuted", "dims of the residual stream reordered", lambda t: edit.turned(t, 4, permute=True)
    yield "residual-rotated", "the residual stream rotated", lambda t: edit.turned(t, 5)
    yield "units-rescaled", "units reordered and rescaled", lambda t: edit.units_rescaled(edit.units_reordered(t, 6), 7)
    yield "units-and-heads", "units and heads reordered", lambda t: edit.heads_reordered(edit.units_reordered(t, 8), 9)
    yield "all", "units, heads and the residual stream", lambda t: edit.disguised(t, 10)
    yield "all-tuned", "the same, then trained on", lambda t: finetuned(edit.disguised(t, 11), 12, 0.05)
    yield (
        "all-values-in-place",
        "units, heads and the residual stream, value dims in place",
        lambda t: edit.disguised(t, 13, values=False),
    )
    yield "all-rescaled", "all, units rescaled as well", lambda t: edit.disguised(t, 14, rescale=True)
    yield (
        "all-new-embeddings",
        "all, with embeddings of its own and no tokenizer",
        lambda t: embeddings_new(edit.disguised(t, 15), 16, tokens=0),
    )
    yield "all-units-split", "all, every unit split in two", lambda t: edit.disguised(edit.units_split(t, 17), 18)


@situation("disguises")
def build() -> Iterator[Case]:
    """Llamas of five layers."""
    for name, about, child in _ways():
        yield from pairs(f"disguises/{name}", about, lambda: llama(1000, **_SIZES), child, lambda: llama(1001, **_SIZES))
