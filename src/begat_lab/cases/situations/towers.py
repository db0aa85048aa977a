"""Models of several towers, and models that share one component: an encoder, a vision tower, an
embedding, a projection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from begat_lab.cases.architectures import bert, clip, llama, llava, t5
from begat_lab.cases.edits import parts
from begat_lab.cases.edits.training import finetuned
from begat_lab.cases.edits.vocabulary import of_other
from begat_lab.cases.model import Piece, Toy
from begat_lab.cases.registry import STRANGER, Case, Scene, pairs, situation

_ASKED = ("compare", "inspect", "decompose")


def _encoder(toy: Toy, renamed: bool = False) -> Toy:
    alone = parts.without(
        toy, "tower-taken", lambda n, p: n.startswith(("decoder", "lm_head")), ("text",), architectures=["T5EncoderModel"]
    )
    pieces = {
        ("encoder.embed_tokens.weight" if renamed and n == "shared.weight" else n): replace(
            p, place=replace(p.place, tower="text")
        )
        for n, p in alone.pieces.items()
    }
    return replace(alone, pieces=pieces)


def _only(tower: str, toy: Toy, prefix: str, config: str) -> Toy:
    """One tower of a LLaVA saved alone, under its own names."""
    pieces = {
        n.removeprefix(prefix): replace(p, place=replace(p.place, tower="text"))
        for n, p in toy.pieces.items()
        if n.startswith(prefix)
    }
    return replace(
        toy.derive("tower-taken", pieces, key=tower),
        towers=("text",),
        config=dict(toy.config[config]),
        tokens=toy.tokens if tower == "text" else 0,
    )


@situation("towers")
def build() -> Iterator[Case]:
    """Towers alone and together."""
    alone: tuple[tuple[str, str, Callable[[Toy], Toy]], ...] = (
        ("encoder-alone", "a T5's encoder saved alone", _encoder),
        ("encoder-alone-renamed", "the same, the embedding under its own name", lambda t: _encoder(t, True)),
        ("encoder-alone-tuned", "the same, trained on", lambda t: finetuned(_encoder(t), 1411, 0.05)),
    )
    for name, about, child in alone:
        yield from pairs(f"towers/{name}", about, lambda: t5(1400), child, lambda: t5(1401))
        yield from pairs(
            f"towers/gated-{name}", about + " (version 1.1)", lambda: t5(1402, gated=True), child, lambda: t5(1403, gated=True)
        )
    yield from pairs(
        "towers/vision-alone",
        "a LLaVA's vision tower saved alone",
        lambda: llava(1404),
        lambda t: _only("vision", t, "vision_tower.", "vision_config"),
        lambda: llava(1405),
    )
    yield from pairs(
        "towers/text-alone",
        "a LLaVA's language model saved alone",
        lambda: llava(1404),
        lambda t: _only("text", t, "language_model.", "text_config"),
        lambda: llava(1405),
    )
    yield from pairs(
        "towers/vision-added", "a vision tower put before a Llama", lambda: llama(1406), _with_eyes, lambda: llama(1407)
    )
    for name, about, scene in _shared():
        yield Case(f"towers/{name}", "towers", about, _ASKED, partial(_both, scene, False))
        yield Case(f"towers/{name}{STRANGER}", "towers", f"strangers: {about}", _ASKED, partial(_both, scene, True))


def _both(make: Callable[[bool], tuple[Toy, Toy]], apart: bool) -> Scene:
    a, b = make(apart)
    return Scene({"a": a, "b": b})


def _with_eyes(toy: Toy) -> Toy:
    other = llava(1408)
    pieces = {
        n: toy.pieces[n.removeprefix("language_model.")] if n.startswith("language_model.") else p
        for n, p in other.pieces.items()
    }
    steps = other.steps | toy.steps
    return replace(other, steps=steps, pieces=pieces, config=dict(other.config) | {"text_config": dict(toy.config)}).derive(
        "tower-added"
    )


def _shared() -> Iterator[tuple[str, str, Callable[[bool], tuple[Toy, Toy]]]]:
    """Models that share one component of a third; with True, two that took it from two different
    ones.
    """

    def source(make: Callable[..., Toy], apart: bool) -> tuple[Toy, Toy]:
        return make(1420), make(1421 if apart else 1420)

    def of_llava(operation: str, which: Callable[[str, Piece], bool]) -> Callable[[bool], tuple[Toy, Toy]]:
        def both(apart: bool) -> tuple[Toy, Toy]:
            x, y = source(llava, apart)
            return parts.taken(llava(1422), x, operation, which), parts.taken(llava(1423), y, operation, which)

        return both

    def tokens(make: Callable[..., Toy]) -> Callable[[bool], tuple[Toy, Toy]]:
        def both(apart: bool) -> tuple[Toy, Toy]:
            x, y = source(make, apart)
            return of_other(make(1422), x), of_other(make(1423), y)

        return both

    yield (
        "only-vision",
        "two LLaVAs that share a vision tower and nothing else",
        of_llava("tower-taken", lambda n, p: n.startswith("vision_tower")),
    )
    yield (
        "only-text",
        "two LLaVAs that share a language model and nothing else",
        of_llava("tower-taken", lambda n, p: n.startswith("language_model")),
    )
    yield (
        "only-projection",
        "two LLaVAs that share a frozen random projection",
        of_llava("projection-taken", lambda n, p: "projector" in n),
    )
    yield "only-embedding-llama", "two Llamas that share a table of tokens and no layer", tokens(llama)
    yield "only-embedding-bert", "two encoders that share a table of tokens and no layer", tokens(bert)
    yield "only-tower-clip", "a LLaVA that took a CLIP tower, and that tower", _clip_taken


def _clip_taken(apart: bool) -> tuple[Toy, Toy]:
    eyes = clip(1430)
    moved = {f"vision_tower.{n}": replace(p, place=replace(p.place, tower="vision")) for n, p in eyes.pieces.items()}
    under = replace(eyes, pieces=moved, towers=("vision",))
    return (clip(1431) if apart else eyes), parts.taken(
        llava(1432, dtype="float32"), under, "tower-taken", lambda n, p: n.startswith("vision_tower")
    )
