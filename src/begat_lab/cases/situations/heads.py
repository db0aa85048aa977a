"""Output heads: new, untied, exchanged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from begat_lab.cases.architectures import llama, t5
from begat_lab.cases.edits import parts
from begat_lab.cases.edits.training import finetuned
from begat_lab.cases.model import Toy
from begat_lab.cases.registry import Case, pairs, situation


@situation("heads")
def build() -> Iterator[Case]:
    """What is identical but for the head, and what is not."""
    ways: tuple[tuple[bool, str, str, Callable[[Toy], Toy]], ...] = (
        (False, "new", "a head drawn anew, all else equal", lambda t: parts.head_new(t, 1)),
        (False, "new-tuned", "a head drawn anew, then trained on", lambda t: finetuned(parts.head_new(t, 2), 3, 0.05)),
        (False, "classifier", "a classifier in the head's place", lambda t: parts.classifier(t, 4)),
        (
            False,
            "left-out",
            "the head left out",
            lambda t: parts.without(t, "head-replaced", lambda n, p: p.place.component == "head", tie_word_embeddings=True),
        ),
        (True, "untied", "a head of its own, a copy of the embedding", parts.untied),
        (True, "untied-new", "a head of its own, drawn anew", lambda t: parts.untied(t, 5)),
    )
    for tied, name, about, child in ways:
        yield from pairs(
            f"heads/{name}", about, partial(llama, 650, tied=tied, layers=3), child, partial(llama, 651, tied=tied, layers=3)
        )
    yield from pairs(
        "heads/t5-new",
        "a T5 with another head",
        lambda: t5(652, gated=True),
        lambda t: parts.head_new(t, 6),
        lambda: t5(653, gated=True),
    )
