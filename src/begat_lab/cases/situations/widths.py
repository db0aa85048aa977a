"""Widths changed: units left out, repeated, split; depth and width together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from begat_lab.cases.architectures import bert, llama
from begat_lab.cases.edits import layers, units
from begat_lab.cases.edits.training import finetuned
from begat_lab.cases.model import Toy
from begat_lab.cases.registry import Case, pairs, situation

_SIZES: dict[str, Any] = {"layers": 4, "units": 160}
_WAYS: tuple[tuple[str, str, Callable[[Toy], Toy]], ...] = (
    ("left-out", "a quarter of the units left out", lambda t: units.units_left_out(t, 1, 0.75)),
    ("left-out-tuned", "half the units left out, then trained on", lambda t: finetuned(units.units_left_out(t, 2, 0.5), 3, 0.05)),
    ("repeated", "every unit twice", lambda t: units.units_repeated(t, 4)),
    ("split", "every unit split in two", lambda t: units.units_split(t, 5)),
    (
        "depth-and-width",
        "a layer and a quarter of the units left out",
        lambda t: units.units_left_out(layers.ordered(t, [0, 2, 3], "layers-left-out"), 6, 0.75),
    ),
)


@situation("widths")
def build() -> Iterator[Case]:
    """Llamas, a BERT, and strangers of other widths."""
    for name, about, child in _WAYS:
        yield from pairs(f"widths/{name}", about, lambda: llama(1100, **_SIZES), child, lambda: llama(1101, **_SIZES))
    yield from pairs(
        "widths/bert-left-out",
        "units of a BERT left out",
        lambda: bert(1102),
        lambda t: units.units_left_out(t, 7, 0.75),
        lambda: bert(1103),
    )
    yield from pairs(
        "widths/other-width",
        "a fine-tune, against a stranger of another width",
        lambda: llama(1104, **_SIZES),
        lambda t: finetuned(t, 8),
        lambda: llama(1105, width=96, heads=6, units=224, layers=5),
    )
    yield from pairs(
        "widths/other-width-no-tokenizer",
        "the same, no tokenizer beside either",
        lambda: llama(1104, tokens=0, **_SIZES),
        lambda t: finetuned(t, 9),
        lambda: llama(1105, width=96, heads=6, units=224, layers=5, tokens=0),
    )
