"""A decomposition of a child whose tensors have no counterpart under known names.

Enters: the canonical models of child, parents and base.  Leaves: a `Decomposition`: a copy, where a
parent holds the same tensors by content (`same_content.py`), else "cannot-test" with the reason and
what would make it possible.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from begat.canon.model import Canonical
from begat.errors import printable
from begat.pipeline.same_content import same_content
from begat.pipeline.untestable import no_known_tensor
from begat.pipeline.words import shape_words
from begat.recipes import Decomposition


def no_counterpart(
    child: Canonical,
    parents: Sequence[Canonical],
    base: Canonical | None,
    names: Sequence[str],
    unmatched: tuple[str, ...],
    mode: str,
    start: float,
    replay: Mapping[str, Any],
) -> Decomposition:
    """The result where nothing can be fitted.

    Args:
        names: of the child and the parents.
        unmatched: tensors of the child. mode: "sampled" or "full".
        start: `time.perf_counter()` at the beginning.
    """
    me = f"“{printable(names[0], 80)}”"
    equal = [same_content(child.checkpoint, p.checkpoint) for p in parents]
    found = next((i for i, e in enumerate(equal) if e is not None), None)
    if found is None:
        method, sentence = "cannot-test", f"{me} could not be tested: {_why(child, parents, base)}."
    else:
        other = f"“{printable(names[1 + found], 80)}”"
        method, sentence = (
            "copy",
            f"{me} holds the weights of {other}: every stored tensor is equal.",
        )
    everyone = [child, *parents, *(() if base is None else (base,))]
    read = sum(m.checkpoint.reader.bytes_read for m in everyone)
    return Decomposition(
        child=printable(child.checkpoint.path, 400),
        parents=tuple(printable(p.checkpoint.path, 400) for p in parents),
        base=None if base is None else printable(base.checkpoint.path, 400),
        method=method,
        sentence=sentence,
        form="plain" if base is None else "task",
        coefficients=(),
        spread=(),
        residual=0.0 if method == "copy" else 1.0,
        condition=1.0,
        parts=(),
        low_rank=(),
        arc=None,
        sparse=None,
        adapter=(),
        matched=0,
        unmatched=unmatched,
        caveats=(),
        mode=mode,
        bytes_read=read + sum(e.bytes_read for e in equal if e is not None),
        seconds=time.perf_counter() - start,
        replay=replay,
    )


def _why(child: Canonical, parents: Sequence[Canonical], base: Canonical | None) -> str:
    if not child.tensors:
        return no_known_tensor("the child", child)
    named = [(f"P{i}", p) for i, p in enumerate(parents, 1)]
    if not any(p.tensors for p in parents):
        return "; ".join(no_known_tensor(name, p) for name, p in named)
    if base is not None and not base.tensors:
        return no_known_tensor("the base", base)
    shapes = "; ".join(f"{name} is {shape_words(p)}" for name, p in named)
    return (
        f"none of its tensors has a counterpart of equal shape in any parent (the child is {shape_words(child)}; {shapes}); "
        "a recipe needs parents of its shape, begat compare looks behind changes of shape too"
    )
