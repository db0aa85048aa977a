"""Leave out order tests whose units stand by index in both models.

Enters: order tests that found something, with the features they saw.  Leaves: which tests count for nothing, and that in words.  The scores and their
null: `begat.signals.indexed`; who asks: `exact.py`.

Only tests with some hits are looked at, the first `_LOOKS` of every axis. Of these a test is left out when both models show one pattern in
it, or in the looks of its axis together. When half of an axis's looks are left out, so is the axis; and where one axis is, so are tests of its
tower with too few units to be looked at. Whether a pattern is there is asked of each model alone, and under the null of the order
test (one of the two orders is uniform) the answer is no but for a negligible chance, so that e-values keep their mean.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from begat.signals.indexed import LEAST, index_scores, indexed
from begat.types import F32, F64, I64, OrderTest

#: tests of an axis that are looked at, and the hits from which one is worth a look
_LOOKS, _FOUND = 3, 3
WHY = (
    "in both models the units stand in an order that their index fixes (initialised by index, masked, or sorted), so that standing at the same index "
    "proves nothing"
)


@dataclass(frozen=True, slots=True)
class _Look:
    test: OrderTest
    a: F64
    b: F64


class ByIndex:
    """Collects looks while tests run; says afterwards what to leave out."""

    def __init__(self) -> None:
        self._looks: dict[str, list[_Look]] = {}

    def look(
        self, test: OrderTest, blocks: Sequence[Sequence[F32]], units: I64, tokens: I64,
        regular: Callable[[], tuple[Sequence[Sequence[F32]], I64]] | None = None,
    ) -> None:  # fmt: skip
        """Look at the units of a test that found something.

        Args:
            regular: reads the same units at neighbouring rows, where their rows were sampled: (blocks of A and of B, those rows).
        """
        looks = self._looks.setdefault(test.axis, [])
        if len(looks) < _LOOKS and test.m >= LEAST and test.hits >= _FOUND:
            looks.append(_Look(test, *scores_of(blocks, units, tokens, regular)))

    def keep(self, tests: Sequence[OrderTest]) -> list[OrderTest]:
        """The tests (of any axes) that may count."""
        wrong = {axis: _wrong(looks) for axis, looks in self._looks.items()}
        axes = {axis for axis, found in wrong.items() if 2 * len(found) >= max(1, len(self._looks[axis]))}
        places = {t.tower for axis in axes for t in wrong[axis]}
        singles = {id(t) for found in wrong.values() for t in found}
        return [
            t for t in tests
            if id(t) not in singles and not (t.axis in axes and t.tower in places) and not (t.m < LEAST and t.tower in places)
        ]  # fmt: skip


def scores_of(
    blocks: Sequence[Sequence[F32]], units: I64, tokens: I64, regular: Callable[[], tuple[Sequence[Sequence[F32]], I64]] | None
) -> list[F64]:  # fmt: skip
    """Scores of each model's units, at the rows sampled and at neighbouring ones."""
    scores = [index_scores(views, units, tokens) for views in blocks]
    if regular is None:
        return scores
    more, rows = regular()
    return [np.concatenate([s, index_scores(views, units, rows)]) for s, views in zip(scores, more, strict=True)]


def _wrong(looks: Sequence[_Look]) -> list[OrderTest]:
    """Looks in which both models stand by one pattern, each by itself or all together."""
    found = [x.test for x in looks if indexed(x.a, x.b)]
    sizes = {(x.a.shape, x.b.shape) for x in looks}
    if len(looks) > 1 and len(sizes) == 1:
        together = [np.sum([getattr(x, side) for x in looks], axis=0) / np.sqrt(len(looks)) for side in ("a", "b")]
        if indexed(*together):
            return [x.test for x in looks]
    return found
