"""Layers moved: swapped, cycled, shifted at equal depth, left out, repeated, inserted, of another
model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from begat_lab.cases.architectures import bert, gpt2, llama
from begat_lab.cases.edits import layers as edit
from begat_lab.cases.edits.parts import embeddings_new
from begat_lab.cases.edits.training import finetuned
from begat_lab.cases.edits.units import disguised, turned
from begat_lab.cases.model import Toy
from begat_lab.cases.registry import Case, pairs, situation

_SIZES: dict[str, Any] = {"layers": 6, "units": 128}


def _orders() -> Iterator[tuple[str, str, list[int], str]]:
    yield "swapped", "two layers swapped", [3, 1, 2, 0, 4, 5], "layers-reordered"
    yield "swapped-neighbours", "two neighbouring layers swapped", [0, 1, 3, 2, 4, 5], "layers-reordered"
    yield "reversed", "all layers in reverse", [5, 4, 3, 2, 1, 0], "layers-reordered"
    yield "cycled", "every layer one place on, the last one first", [5, 0, 1, 2, 3, 4], "layers-reordered"
    yield "one-left-out", "one layer left out", [0, 1, 3, 4, 5], "layers-left-out"
    yield "first-left-out", "the first layer left out", [1, 2, 3, 4, 5], "layers-left-out"
    yield "half-left-out", "every other layer left out", [0, 2, 4], "layers-left-out"
    yield "repeated", "depth up-scaled: middle layers used twice", [0, 1, 2, 3, 2, 3, 4, 5], "layers-repeated"
    yield "stacked", "the whole stack twice", [0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5], "layers-repeated"
    yield (
        "repeated-at-equal-depth",
        "one layer left out and one used twice: depth as it was",
        [0, 1, 1, 3, 4, 5],
        "layers-repeated",
    )


@situation("layers")
def build() -> Iterator[Case]:
    """Llamas of six layers, and two other architectures."""
    first, stranger = partial(llama, 500, **_SIZES), partial(llama, 501, **_SIZES)
    for i, (name, about, order, operation) in enumerate(_orders()):
        for way, share in (("", 0.0), ("-tuned", 0.05)):
            if way and name in ("half-left-out", "stacked", "repeated-at-equal-depth", "swapped-neighbours"):
                continue
            yield from pairs(
                f"layers/{name}{way}",
                about + (", then trained on" if way else ""),
                first,
                partial(_moved, order=order, operation=operation, share=share, seed=i),
                stranger,
            )
    for name, about, child in _others():
        yield from pairs(f"layers/{name}", about, first, child, stranger)
    makers: tuple[tuple[str, Callable[..., Toy]], ...] = (("bert", bert), ("gpt2", gpt2))
    for name, make in makers:
        yield from pairs(
            f"layers/{name}-swapped",
            f"two layers of a {name} swapped",
            partial(make, 510),
            lambda t: edit.ordered(t, [2, 1, 0, 3], "layers-reordered"),
            partial(make, 511),
        )


def _moved(toy: Toy, order: list[int], operation: str, share: float, seed: int) -> Toy:
    out = edit.ordered(toy, order, operation)
    return finetuned(out, 520 + seed, share) if share else out


def _others() -> Iterator[tuple[str, str, Callable[[Toy], Toy]]]:
    def shift(t: Toy) -> Toy:
        return finetuned(edit.with_new_layer(t, 0, 530, drop_last=True), 531, 0.05)

    yield "shifted", "an identity layer first and the last one dropped: depth as it was", shift
    yield "shifted-exactly", "the same without training", lambda t: edit.with_new_layer(t, 0, 530, drop_last=True)
    yield "shifted-new-embeddings", "the same, with embeddings of its own", lambda t: embeddings_new(shift(t), 532, tokens=0)
    yield "shifted-rotated", "the same, residual stream rotated", lambda t: turned(shift(t), 533)
    yield "shifted-disguised", "the same, fully disguised", lambda t: disguised(shift(t), 534)
    yield (
        "shifted-late",
        "an identity layer in the middle and the last one dropped",
        lambda t: edit.with_new_layer(t, 4, 535, drop_last=True),
    )
    yield "inserted", "an identity layer put in the middle", lambda t: edit.with_new_layer(t, 3, 536, drop_last=False)
    yield (
        "inserted-trained",
        "a fresh layer put in the middle",
        lambda t: finetuned(edit.with_new_layer(t, 3, 537, False, identity=False), 538, 0.05),
    )
    yield "one-redrawn", "one layer trained anew", lambda t: edit.with_redrawn(t, [2], 539)
    yield "half-redrawn", "the upper half trained anew", lambda t: finetuned(edit.with_redrawn(t, [3, 4, 5], 540), 541, 0.05)
    yield "stitched", "the upper half of another model", lambda t: edit.from_other(t, llama(542, **_SIZES), [3, 4, 5])
