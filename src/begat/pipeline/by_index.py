"""Leave out order tests whose units stand by index in both models.

Enters: order tests and which units of which tensors they saw.  Leaves: which tests count for
nothing, and that in words.  Scores of scattered units: `begat.signals.indexed`; of neighbours and
of layers together: `own.py`; who asks: `exact.py`, `search.py` and the routes.

A test proves something where the order of its units could be any in one of the two models. So each
model is asked alone, and only where both stand by index something is left out:

- one test, where one and the same pattern shows in its units in both;
- all tests of an axis in a tower, where a pattern shows in all of them together, or in half of
  those looked at singly; then also tests of that tower with too few units to be looked at.

Nothing is asked before an axis has some evidence (`WORTH`), and how closely depends on where it
comes from: where half of the units of a test match, a few tests are looked at; where it is spread
thinly over many tests, all are.

Why e-values keep their mean: under the null one model's order is uniform given everything else,
whatever the other is. That model's answer is then yes with chance below `ALPHA`, so but for that
chance nothing is left out. Where something is, the lower of both e-values counts, so that leaving
out can only cost evidence. `ALPHA` is what a true child of a model without any pattern may lose an
axis to; simulated in `tests/signals/test_ownorder.py`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from begat.canon.model import Canonical
from begat.pipeline.own import FULL, QUICK, fixed_by_index
from begat.pipeline.sampling import Plan, read_regular, read_view
from begat.signals.axes import Site
from begat.signals.indexed import INDEXED, LEAST, TOGETHER, index_scores, indexed
from begat.types import F64, I64, OrderTest

#: chance that a true child loses an axis for nothing, per axis
ALPHA = 1e-3
#: log10 e-value of an axis from which its orders are looked at: eight axes below it stay below 10^6
WORTH = 0.7
#: tests looked at singly where half of their units match, and where few do
_FEW, _MANY = 2, 16
#: hits from which a test is worth a look
_FOUND = 3
WHY = (
    "in both models the units stand in an order that their index fixes (initialised by index, masked, sorted, or alike at one index from layer to layer), "
    "so that standing at the same index proves nothing"
)


@dataclass(frozen=True, slots=True)
class Seen:
    """What a test saw: its site in A and in B under their own keys, the units, the rows sampled of tables."""

    test: OrderTest
    sites: tuple[Site, Site]
    units: I64
    tokens: I64


class ByIndex:
    """Remembers what tests saw; says afterwards what to leave out. Each question is put once."""

    def __init__(self, a: Canonical, b: Canonical) -> None:
        self.models = (a, b)
        self._seen: dict[tuple[object, ...], Seen] = {}
        self._answers: dict[tuple[object, ...], bool] = {}
        self._towers: set[str] = set()

    def add(self, test: OrderTest, plan: Plan, sites: tuple[Site, Site] | None = None) -> None:
        """Remember a test; `sites`: its site in A and in B, where they are not the plan's."""
        self._seen[_key(test)] = Seen(test, sites or (plan.site, plan.site), plan.units, plan.tokens)

    def keep(self, tests: Sequence[OrderTest]) -> list[OrderTest]:
        """The tests (of one axis that has evidence) that may count."""
        towers = defaultdict(list)
        for t in tests:
            if t.m >= LEAST or t.tower not in self._towers:
                towers[t.tower].append(t)
        out: list[OrderTest] = []
        for tower, found in towers.items():
            kept = self._of_tower(found)
            self._towers |= set() if kept else {tower}
            out += kept
        return out

    def _of_tower(self, tests: list[OrderTest]) -> list[OrderTest]:
        strong = _strong(tests)
        looked = sorted((t for t in strong or tests if t.m >= LEAST and t.hits >= _FOUND), key=lambda t: -t.hits)
        looked = looked[: _FEW if strong else _MANY]
        wrong = self._singly(looked)
        if wrong is None or 2 * len(wrong) >= max(1, len(looked)) or self._together(strong or tests, not strong):
            return []
        return [t for t in tests if t not in wrong]

    def _singly(self, tests: Sequence[OrderTest]) -> list[OrderTest] | None:
        """Tests in which both models stand by one pattern; None where all together do."""
        mine = [self._scores(t, 0) for t in tests]
        if not any(x.size and x.max() >= INDEXED for x in mine) and not _pooled(mine):
            return []
        theirs = [self._scores(t, 1) for t in tests]
        if _pooled(mine, theirs):
            return None
        return [t for t, x, y in zip(tests, mine, theirs, strict=True) if indexed(x, y)]

    def _scores(self, test: OrderTest, side: int) -> F64:
        seen, model = self._seen[_key(test)], self.models[side]
        views = seen.sites[side].views
        scores = index_scores([read_view(model, v, seen.units, seen.tokens) for v in views], seen.units, seen.tokens)
        tables = [v for v in views if v.take == "tokens"]
        if not tables:
            return scores
        rows = min(model.tensors[v.key].shape[0] for v in tables)
        more, at = read_regular(model, Plan(seen.sites[side], seen.units, seen.tokens, 0), rows)
        return np.concatenate([scores, index_scores(more, seen.units, at)])

    def _together(self, tests: Sequence[OrderTest], full: bool) -> bool:
        """In both models the units of all these tests follow a pattern."""
        return all(self._fixed(side, tests, full) for side in (0, 1))

    def _fixed(self, side: int, tests: Sequence[OrderTest], full: bool) -> bool:
        asked = (side, tests[0].axis, tests[0].tower, full, frozenset(t.layer for t in tests))
        if asked not in self._answers:
            sites = [self._seen[_key(t)].sites[side] for t in tests]
            self._answers[asked] = fixed_by_index(self.models[side], sites, FULL if full else QUICK) is not None
        return self._answers[asked]


def _key(test: OrderTest) -> tuple[object, ...]:
    """A test, whether it is counted or not."""
    return test.axis, test.tower, test.layer, test.expert, test.m, test.hits, test.noise_sd, test.features


def _strong(tests: Sequence[OrderTest]) -> list[OrderTest]:
    """The tests in which half of the units match, where nearly all evidence is theirs."""
    half = [t for t in tests if 2 * t.hits >= t.m and t.hits >= min(_FOUND, t.m)]
    excess = [sum(max(0, t.hits - 1) for t in found) for found in (half, tests)]
    return half if excess[0] >= 0.8 * excess[1] else []


def _pooled(*sides: Sequence[F64]) -> bool:
    """One pattern shows in all looks of every side together."""
    if len({x.shape for looks in sides for x in looks}) != 1 or len(sides[0]) < 2:
        return False
    z = [np.sum(looks, axis=0) / np.sqrt(len(looks)) for looks in sides]
    return bool((np.min(z, axis=0) >= TOGETHER).any())
