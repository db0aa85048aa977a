"""Releases held against references: what `audit` is asked about. The release is "b", the reference
"a".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from begat_lab.cases.architectures import llama, qwen_moe
from begat_lab.cases.edits import encoded, parts, training, units
from begat_lab.cases.edits.layers import ordered
from begat_lab.cases.model import Toy
from begat_lab.cases.registry import STRANGER, Case, Scene, situation

_SIZES: dict[str, Any] = {"layers": 3, "units": 128}
_SCRATCH = "---\nlicense: apache-2.0\n---\n\n# A model\n\nTrained from scratch on our own data.\n"
_SAID = "---\nlicense: apache-2.0\nbase_model: a\n---\n\n# A model\n\nFine-tuned from a.\n"
_OTHER = "---\nlicense: apache-2.0\nbase_model: somebody/else\n---\n\n# A model\n"


@situation("releases")
def build() -> Iterator[Case]:
    """Each with a card that says so, one that says nothing of it, and one that says otherwise."""
    ways: tuple[tuple[str, str, Callable[[Toy], Toy]], ...] = (
        ("tuned", "a fine-tune", lambda t: training.finetuned(t, 2110)),
        ("copied", "a copy", parts.copied),
        ("rounded", "a rounded copy", lambda t: encoded.written_back(t, 4, 32)),
        ("disguised", "a disguised copy", lambda t: units.units_reordered(t, 2111)),
        ("shallow", "a copy with a layer left out", lambda t: ordered(t, [0, 2], "layers-left-out")),
        ("renamed", "a copy under names that say nothing", lambda t: parts.renamed(t, lambda k, n: f"x.{k}")),
    )
    for name, about, child in ways:
        for card, text in (("said", _SAID), ("scratch", _SCRATCH), ("other", _OTHER)):
            if card != "scratch" and name not in ("tuned", "rounded"):
                continue
            yield Case(f"releases/{name}-{card}", "releases", f"{about}; card: {card}", ("audit",), partial(_scene, child, text))
            yield Case(
                f"releases/{name}-{card}{STRANGER}",
                "releases",
                f"a stranger as the reference; {about}",
                ("audit",),
                partial(_scene, child, text, llama, 2101),
            )
    yield Case("releases/twin", "releases", "a twin of the reference", ("audit",), _twin)
    yield Case("releases/mixture", "releases", "a fine-tuned mixture", ("audit",), _mixture)


def _files(card: str) -> Mapping[str, Mapping[str, str]]:
    return {"b": {"README.md": card}}


def _scene(child: Callable[[Toy], Toy], card: str, reference: Callable[..., Toy] = llama, seed: int = 2100) -> Scene:
    return Scene({"a": reference(seed, **_SIZES), "b": child(llama(2100, **_SIZES))}, files=_files(card))


def _mixture() -> Scene:
    parent = qwen_moe(2102)
    return Scene({"a": parent, "b": training.finetuned(parent, 2112)}, files=_files(_SCRATCH))


def _twin() -> Scene:
    start = training.initialised(llama(2103, **_SIZES), 2113)
    return Scene({"a": training.grown(start, 2114), "b": training.grown(start, 2115)}, files=_files(_SCRATCH))
