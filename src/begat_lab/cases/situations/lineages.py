"""Families of several models and a stranger or two: what `tree` and `search` are asked about."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from begat_lab.cases.architectures import bert, gpt2, llama, qwen_moe
from begat_lab.cases.edits import encoded, layers, merging, training, units
from begat_lab.cases.model import Toy
from begat_lab.cases.registry import STRANGER, Case, Scene, situation

_ASKED = ("tree", "search")
_SIZES: dict[str, Any] = {"layers": 4, "units": 128}


@situation("lineages")
def build() -> Iterator[Case]:
    """The first model of each is the one that is searched for."""
    makers: tuple[tuple[str, Callable[..., Toy]], ...] = (
        ("llama", llama),
        ("qwen-moe", qwen_moe),
        ("bert", bert),
        ("gpt2", gpt2),
    )
    for i, (name, make) in enumerate(makers):
        yield Case(
            f"lineages/line-{name}",
            "lineages",
            "parent, child, grandchild, and a stranger",
            _ASKED,
            partial(_among, make, i, False),
        )
        yield Case(
            f"lineages/line-{name}{STRANGER}",
            "lineages",
            "a stranger among parent, child, grandchild",
            _ASKED,
            partial(_among, make, i, True),
        )
        yield Case(
            f"lineages/strangers-{name}{STRANGER}", "lineages", "four strangers", _ASKED, partial(_strangers, make, 2020 + 10 * i)
        )
    yield Case(
        "lineages/siblings",
        "lineages",
        "three fine-tunes of a parent that is not there, and a stranger",
        _ASKED,
        lambda: Scene(_siblings()),
    )
    yield Case("lineages/twins", "lineages", "three models grown from one start, and a stranger", _ASKED, lambda: Scene(_twins()))
    yield Case("lineages/merge", "lineages", "two fine-tunes, their merge and their base", _ASKED, lambda: Scene(_merged()))
    yield Case(
        "lineages/pruned",
        "lineages",
        "a parent, its pruned and its up-scaled child, a rounded copy",
        _ASKED,
        lambda: Scene(_pruned()),
    )
    yield Case("lineages/two-families", "lineages", "two families of two", _ASKED, lambda: Scene(_two()))


def _among(make: Callable[..., Toy], seed: int, stranger_first: bool) -> Scene:
    line = _line(make(2000 + seed), make(2010 + seed))
    return Scene({"stranger": line["stranger"]} | line if stranger_first else line)


def _strangers(make: Callable[..., Toy], seed: int) -> Scene:
    return Scene({f"s{j}": make(seed + j) for j in range(4)})


def _line(parent: Toy, stranger: Toy) -> dict[str, Toy]:
    child = training.finetuned(parent, 2030, 0.1)
    return {"child": child, "parent": parent, "grandchild": training.finetuned(child, 2031, 0.1), "stranger": stranger}


def _siblings() -> dict[str, Toy]:
    parent = llama(2040, **_SIZES)
    return {f"child{i}": training.finetuned(parent, 2041 + i, 0.1) for i in range(3)} | {"stranger": llama(2045, **_SIZES)}


def _twins() -> dict[str, Toy]:
    start = training.initialised(llama(2050, **_SIZES), 2051)
    return {f"twin{i}": training.grown(start, 2052 + i, 1.0) for i in range(3)} | {"stranger": llama(2055, **_SIZES)}


def _merged() -> dict[str, Toy]:
    base = llama(2060, **_SIZES)
    one, two = (training.finetuned(base, 2061 + i, 0.15) for i in range(2))
    return {"merge": merging.linear((one, two), lambda n, p: (0.5, 0.5)), "one": one, "two": two, "base": base}


def _pruned() -> dict[str, Toy]:
    parent = llama(2070, **_SIZES)
    return {
        "parent": parent,
        "shallow": layers.ordered(parent, [0, 1, 3], "layers-left-out"),
        "deep": layers.ordered(parent, [0, 1, 2, 1, 2, 3], "layers-repeated"),
        "narrow": units.units_left_out(parent, 2071, 0.75),
        "rounded": encoded.written_back(parent, 4, 32),
    }


def _two() -> dict[str, Toy]:
    one, two = llama(2080, **_SIZES), llama(2081, **_SIZES)
    return {"a1": one, "a2": training.finetuned(one, 2082), "b1": two, "b2": training.finetuned(two, 2083)}
