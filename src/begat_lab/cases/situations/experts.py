"""Mixtures: experts left out, reordered, averaged, drawn anew; a dense model copied into experts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from begat_lab.cases.architectures import llama, mixtral, qwen_moe
from begat_lab.cases.edits import experts as edit
from begat_lab.cases.edits.training import finetuned
from begat_lab.cases.edits.units import disguised, units_reordered
from begat_lab.cases.model import Toy
from begat_lab.cases.registry import Case, pairs, situation


def _orders() -> Iterator[tuple[str, str, Callable[[Toy], Toy]]]:
    left, moved = "experts-left-out", "experts-reordered"
    yield "last-left-out", "the last expert left out", lambda t: edit.chosen(t, [[0, 1, 2]] * 3, left)
    yield "first-left-out", "the first expert left out", lambda t: edit.chosen(t, [[1, 2, 3]] * 3, left)
    yield (
        "one-left-out-by-layer",
        "another expert left out in each layer",
        lambda t: edit.chosen(t, [[1, 2, 3], [0, 1, 3], [0, 2, 3]], left),
    )
    yield (
        "half-left-out-tuned",
        "half the experts left out, then trained on",
        lambda t: finetuned(edit.chosen(t, [[1, 3], [0, 2], [0, 3]], left), 711, 0.05),
    )
    yield "swapped", "two experts swapped", lambda t: edit.chosen(t, [[1, 0, 2, 3]] * 3, moved)
    yield (
        "reordered",
        "the experts of every layer in another order",
        lambda t: edit.chosen(t, [[2, 0, 3, 1], [3, 2, 1, 0], [1, 3, 0, 2]], moved),
    )
    yield "averaged", "experts averaged in pairs", edit.averaged_in_pairs
    yield (
        "repeated",
        "two experts used twice, the router's rows with them",
        lambda t: edit.chosen(t, [[0, 1, 2, 3, 0, 1]] * 3, "experts-repeated"),
    )
    yield "half-redrawn", "two experts of every layer drawn anew", lambda t: edit.drawn_anew(t, [1, 3], 712)
    yield "all-redrawn", "all experts drawn anew, attention kept", lambda t: edit.drawn_anew(t, [0, 1, 2, 3], 713)


@situation("experts")
def build() -> Iterator[Case]:
    """Under two ways of naming experts."""
    makers: tuple[tuple[str, Callable[..., Toy]], ...] = (("qwen-moe", qwen_moe), ("mixtral", mixtral))
    for kind, make in makers:
        for name, about, child in _orders():
            if make is mixtral and name in ("last-left-out", "half-redrawn", "all-redrawn"):
                continue
            yield from pairs(f"experts/{kind}-{name}", about, partial(make, 700), child, partial(make, 701))
    yield from pairs(
        "experts/upcycled",
        "a dense model's MLPs copied into experts",
        lambda: llama(702, layers=3),
        lambda t: edit.upcycled(t, 714),
        lambda: llama(703, layers=3),
    )
    yield from pairs(
        "experts/reordered-units",
        "the units of every expert in another order",
        lambda: qwen_moe(704),
        lambda t: units_reordered(t, 715),
        lambda: qwen_moe(705),
    )
    yield from pairs(
        "experts/disguised",
        "experts and all else reordered, residual stream rotated",
        lambda: qwen_moe(704),
        lambda t: disguised(edit.chosen(t, [[2, 0, 3, 1]] * 3, "experts-reordered"), 716),
        lambda: qwen_moe(705),
    )
