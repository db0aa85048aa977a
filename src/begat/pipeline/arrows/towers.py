"""Towers: one model has a tower more than the other (vision beside text).

No arrow: a text model that equals the text tower of a larger one may be what that was built on, or what was taken out of it.
"""

from __future__ import annotations

from collections.abc import Iterator

from begat.pipeline.arrows.base import ARROWS, Pair, Sign


@ARROWS.add("towers")
def towers(pair: Pair) -> Iterator[Sign]:
    """`child` has towers that `parent` lacks."""
    mine, theirs = ({k.tower for k in m.tensors} for m in (pair.child, pair.parent))
    more = sorted(mine - theirs)
    if more and theirs < mine and len(pair.child.tensors) > len(pair.parent.tensors):
        yield Sign("tower-more", f"one has {', '.join(more)} beside {', '.join(sorted(theirs))}")
