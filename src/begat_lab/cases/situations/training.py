"""What training, and what only looks like it, leaves: fine-tunes far and near, parts, averages,
noise; twins and siblings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from begat_lab.cases.architectures import bert, gpt2, llama
from begat_lab.cases.edits import training as edit
from begat_lab.cases.edits.parts import zeroed
from begat_lab.cases.model import Toy
from begat_lab.cases.registry import STRANGER, Case, Scene, pairs, situation

_SIZES: dict[str, Any] = {"layers": 3, "width": 64, "units": 128}
_ASKED = ("compare", "inspect", "decompose")


def _plain() -> Iterator[tuple[str, str, Callable[[Toy], Toy]]]:
    for share in (0.01, 0.3, 1.0):
        yield (
            f"tuned-{share:g}",
            f"fine-tuned, every matrix changed by {share:.0%}",
            partial(edit.finetuned, seed=911, share=share),
        )
    for share in (0.03, 0.1, 0.5):
        yield f"noised-{share:g}", f"white noise of {share:.0%} on every tensor", partial(edit.noised, seed=912, share=share)
    yield (
        "tuned-mlp",
        "only the MLPs trained",
        lambda t: edit.finetuned(t, 913, 0.1, "trained-in-part", lambda n, p: ".mlp." in n),
    )
    yield (
        "tuned-last",
        "only the last layer and the head trained",
        lambda t: edit.finetuned(t, 914, 0.1, "trained-in-part", lambda n, p: p.place.layer == 2 or "head" in n),
    )
    yield (
        "tuned-norms",
        "only the norms trained",
        lambda t: edit.finetuned(t, 915, 0.5, "trained-in-part", lambda n, p: not p.is_matrix),
    )
    yield "averaged", "an average over the last steps", lambda t: edit.averaged(t, 916)
    yield "zeroed", "the smallest third of every matrix's weights set to zero", lambda t: zeroed(t, 0.33)


@situation("training")
def build() -> Iterator[Case]:
    """Llamas; twins and siblings of three architectures."""
    for name, about, child in _plain():
        yield from pairs(f"training/{name}", about, lambda: llama(900, **_SIZES), child, lambda: llama(901, **_SIZES))
    yield from pairs(
        "training/averaged-beside",
        "raw and averaged weights in one file",
        lambda: llama(900, **_SIZES),
        _beside,
        lambda: llama(901, **_SIZES),
    )
    makers: tuple[tuple[str, Callable[..., Toy]], ...] = (("llama", llama), ("bert", bert), ("gpt2", gpt2))
    for name, make in makers:
        for share in (0.5, 2.0):
            yield Case(
                f"training/twins-{name}-{share:g}",
                "training",
                f"grown apart from one start, changed by {share:g} of their size",
                _ASKED,
                partial(_twins, make, share),
            )
        yield Case(
            f"training/siblings-{name}", "training", "fine-tuned apart from one parent", _ASKED, partial(_siblings, make, 920)
        )
        yield Case(
            f"training/siblings-{name}{STRANGER}",
            "training",
            "a stranger against a fine-tune",
            _ASKED,
            partial(_siblings, make, 920, 922),
        )


def _twins(make: Callable[..., Toy], share: float) -> Scene:
    start = edit.initialised(make(930), 931)
    return Scene({"a": edit.grown(start, 932, share), "b": edit.grown(start, 933, share)})


def _siblings(make: Callable[..., Toy], one: int, other: int | None = None) -> Scene:
    return Scene({"a": edit.finetuned(make(one), 923, 0.2), "b": edit.finetuned(make(one if other is None else other), 924, 0.2)})


def _beside(toy: Toy) -> Toy:
    """The averaged weights beside the raw ones, as training scripts save them."""
    mean = edit.averaged(toy, 917)
    second = {f"ema_model.{n}": replace(p, place=replace(p.place, tower="ema_model")) for n, p in mean.pieces.items()}
    return mean.derive("copy-beside", dict(toy.pieces) | second, towers=("text", "ema_model"))
