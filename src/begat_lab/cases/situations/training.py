"""What training, and what only looks like it, leaves: fine-tunes far and near, parts, averages, noise; twins and siblings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from begat_lab.cases.architectures import bert, gpt2, llama
from begat_lab.cases.edits import training as edit
from begat_lab.cases.edits.parts import zeroed
from begat_lab.cases.model import Toy
from begat_lab.cases.registry import STRANGER, Case, Scene, pairs, situation

_SIZES: dict[str, Any] = {"layers": 3, "width": 64, "units": 128}


def _plain() -> Iterator[tuple[str, str, Callable[[Toy], Toy]]]:
    for share in (0.01, 0.3, 1.0):
        yield f"tuned-{share:g}", f"fine-tuned, every matrix changed by {share:.0%}", lambda t, s=share: edit.finetuned(t, 911, s)
    for share in (0.03, 0.1, 0.5):
        yield f"noised-{share:g}", f"white noise of {share:.0%} on every tensor", lambda t, s=share: edit.noised(t, 912, s)
    yield "tuned-mlp", "only the MLPs trained", lambda t: edit.finetuned(t, 913, 0.1, "trained-in-part", lambda n, p: ".mlp." in n)
    yield "tuned-last", "only the last layer and the head trained", lambda t: edit.finetuned(t, 914, 0.1, "trained-in-part", lambda n, p: p.place.layer == 2 or "head" in n)
    yield "tuned-norms", "only the norms trained", lambda t: edit.finetuned(t, 915, 0.5, "trained-in-part", lambda n, p: not p.is_matrix)
    yield "averaged", "an average over the last steps", lambda t: edit.averaged(t, 916)
    yield "zeroed", "the smallest third of every matrix's weights set to zero", lambda t: zeroed(t, 0.33)


@situation("training")
def build() -> Iterator[Case]:
    """Llamas; twins and siblings of three architectures."""
    for name, about, child in _plain():
        yield from pairs(f"training/{name}", about, lambda: llama(900, **_SIZES), child, lambda: llama(901, **_SIZES))
    yield from pairs("training/averaged-beside", "raw and averaged weights in one file", lambda: llama(900, **_SIZES), _beside, lambda: llama(901, **_SIZES))
    for make in (llama, bert, gpt2):
        for share in (0.5, 2.0):
            yield Case(f"training/twins-{make.__name__}-{share:g}", "training", f"grown apart from one start, changed by {share:g} of their size",
                       ("compare", "inspect", "decompose"), lambda m=make, s=share: _twins(m, s))  # fmt: skip
        yield Case(f"training/siblings-{make.__name__}", "training", "fine-tuned apart from one parent", ("compare", "inspect", "decompose"), lambda m=make: _siblings(m))
        yield Case(f"training/siblings-{make.__name__}{STRANGER}", "training", "a stranger against a fine-tune", ("compare", "inspect", "decompose"),
                   lambda m=make: Scene({"a": edit.finetuned(m(920), 921, 0.2), "b": edit.finetuned(m(922), 921, 0.2)}))  # fmt: skip


def _twins(make: Callable[..., Toy], share: float) -> Scene:
    start = edit.initialised(make(930), 931)
    return Scene({"a": edit.grown(start, 932, share), "b": edit.grown(start, 933, share)})


def _siblings(make: Callable[..., Toy]) -> Scene:
    parent = make(920)
    return Scene({"a": edit.finetuned(parent, 923, 0.2), "b": edit.finetuned(parent, 924, 0.2)})


def _beside(toy: Toy) -> Toy:
    mean = edit.averaged(toy, 917)
    both = dict(toy.pieces) | {f"ema_model.{n}": p for n, p in mean.pieces.items()}
    return replace(mean, pieces=both)
