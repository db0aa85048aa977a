"""Releases held against references: what `audit` is asked about. The release is "b", the reference "a"."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
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
    for name, about, child in (
        ("tuned", "a fine-tune", lambda t: training.finetuned(t, 2110)), ("copied", "a copy", parts.copied), ("rounded", "a rounded copy", lambda t: encoded.written_back(t, 4, 32)),
        ("disguised", "a disguised copy", lambda t: units.units_reordered(t, 2111)), ("shallow", "a copy with a layer left out", lambda t: ordered(t, [0, 2], "layers-left-out")),
        ("renamed", "a copy under names that say nothing", lambda t: parts.renamed(t, lambda k, n: f"x.{k}")),
    ):  # fmt: skip
        for card, text in (("said", _SAID), ("scratch", _SCRATCH), ("other", _OTHER)):
            if card != "scratch" and name not in ("tuned", "rounded"):
                continue
            yield Case(f"releases/{name}-{card}", "releases", f"{about}; card: {card}", ("audit",), lambda c=child, t=text: _scene(llama(2100, **_SIZES), c, t))
            yield Case(f"releases/{name}-{card}{STRANGER}", "releases", f"a stranger as the reference; {about}", ("audit",),
                       lambda c=child, t=text: _scene(llama(2100, **_SIZES), c, t, llama(2101, **_SIZES)))  # fmt: skip
    yield Case("releases/twin", "releases", "a twin of the reference", ("audit",), _twin)
    yield Case("releases/mixture", "releases", "a fine-tuned mixture", ("audit",), lambda: _scene(qwen_moe(2102), lambda t: training.finetuned(t, 2112), _SCRATCH))


def _files(card: str) -> Mapping[str, Mapping[str, str]]:
    return {"b": {"README.md": card}}


def _scene(parent: Toy, child: Callable[[Toy], Toy], card: str, reference: Toy | None = None) -> Scene:
    return Scene({"a": parent if reference is None else reference, "b": child(parent)}, files=_files(card))


def _twin() -> Scene:
    start = training.initialised(llama(2103, **_SIZES), 2113)
    return Scene({"a": training.grown(start, 2114), "b": training.grown(start, 2115)}, files=_files(_SCRATCH))
