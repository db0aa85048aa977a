"""Vocabularies extended, padded, cut, reordered, transplanted, new."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from begat_lab.cases.architectures import bert, gpt2, llama
from begat_lab.cases.edits import vocabulary as edit
from begat_lab.cases.edits.parts import embeddings_new
from begat_lab.cases.edits.training import finetuned
from begat_lab.cases.model import Toy
from begat_lab.cases.registry import Case, pairs, situation

_EDITS: tuple[tuple[str, str, Callable[[Toy], Toy]], ...] = (
    ("extended-4", "four tokens added", lambda t: edit.resized(t, 260, "mean", 1)),
    ("extended-44", "44 tokens added, then trained on", lambda t: finetuned(edit.resized(t, 300, "mean", 2), 611, 0.05)),
    ("padded", "rows of zeros added for the hardware's sake", lambda t: edit.resized(t, 320, "zero")),
    ("cut", "the last tokens cut off", lambda t: edit.resized(t, 252, "first")),
    ("pruned", "a third of the tokens left out, the rest in order", lambda t: edit.resized(t, 170, "some", 3)),
    ("reordered", "every token at another row", lambda t: edit.reordered(t, 4)),
    ("new", "embeddings and head drawn anew, same tokenizer", lambda t: embeddings_new(t, 5)),
    ("new-without-tokenizer", "embeddings and head drawn anew, no tokenizer beside", lambda t: embeddings_new(t, 6, tokens=0)),
)


@situation("vocabulary")
def build() -> Iterator[Case]:
    """Llamas with a head of their own, and with a tied one; BERT and GPT-2."""
    for tied in (False, True):
        sizes: dict[str, Any] = {"tied": tied, "layers": 3}
        for name, about, child in _EDITS[: 8 if not tied else 5]:
            yield from pairs(
                f"vocabulary/{name}{'-tied' if tied else ''}",
                about,
                partial(llama, 600, **sizes),
                child,
                partial(llama, 601, **sizes),
            )
    makers: tuple[tuple[str, Callable[..., Toy]], ...] = (("bert", bert), ("gpt2", gpt2))
    for name, make in makers:
        yield from pairs(
            f"vocabulary/{name}-extended",
            "tokens added",
            partial(make, 602),
            lambda t: edit.resized(t, 288, "mean", 7),
            partial(make, 603),
        )
    yield from pairs(
        "vocabulary/transplanted",
        "the tables of tokens of a third model",
        lambda: llama(604, layers=3),
        lambda t: edit.of_other(t, llama(605, layers=3)),
        lambda: llama(606, layers=3),
    )
