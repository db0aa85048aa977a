"""Unit rows of two models in one frame, each read and mapped once, and what a search over many places keeps of them.

Enters: jobs' poses and plans.  Leaves: blocks and standardised rows, sketches to see copies by, hits.  Who plans the tests: `search.py`.

A search holds every layer against every layer, so of wide rows only `_THIN` random projections are kept for it: a test may use any
function of the features that looks at no position (`begat.stats.order`), and the cosines of projections are those of the rows give or take 1/sqrt(_THIN).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from begat.canon.model import Canonical
from begat.pipeline.pose import KEPT_BYTES, Features, Kept, Pose
from begat.pipeline.sampling import Plan, generator
from begat.signals.kinship import signs, sketch_of
from begat.signals.order import order_hits, strict_hits, unit_rows, varies
from begat.types import F32

#: numbers that are mapped in one product
_BATCH = KEPT_BYTES // 32
#: tests from which on a search keeps projections of rows wider than this, in place of the rows
_MANY, _THIN = 1024, 512


@dataclass(frozen=True, slots=True)
class _Light:
    """Of one place: its sketch, whether every unit varies, and in a large search its rows, projected where they are wide."""

    sketch: F32
    whole: bool
    x_MK: F32 | None


class Rows:
    """Unit rows of X and Y in one frame (q_x, q_y: maps of their residual streams), each made once; those expected next are mapped together."""

    def __init__(self, features: Features, q_x: F32 | None, q_y: F32 | None, seed: int) -> None:
        self.features, self.q_x, self.q_y, self.seed = features, q_x, q_y, seed
        self._kept: Kept[tuple[object, ...], tuple[list[F32], F32, bool]] = Kept()
        self._light: dict[tuple[object, ...], _Light] = {}
        self._expected: list[tuple[Pose, Plan]] = []
        self._places: dict[tuple[object, ...], int] = {}
        self._signs: dict[tuple[str, int], F32] = {}
        self._many = False

    def expect(self, wanted: Sequence[tuple[Pose, Plan]], tests: int) -> None:
        """What will be asked for of the mapped model, in about the order in which it will be, in so many tests."""
        self._expected, self._many = list(wanted), tests >= _MANY
        self._places = {self._key(*w): i for i, w in reversed(list(enumerate(self._expected)))}

    @staticmethod
    def _key(posed: Pose, plan: Plan) -> tuple[object, ...]:
        real = tuple((posed.real[v.key], v.take, v.start, v.stride, v.offsets) for v in plan.site.views)
        return id(posed.model), real, plan.units.tobytes()

    def of(self, posed: Pose, plan: Plan, q_DE: F32 | None) -> tuple[list[F32], F32, bool]:
        """(blocks, unit rows, every unit varies)."""
        at = self._key(posed, plan)
        if at in self._kept:
            return self._kept[at]
        batch = {at: (posed, plan)}
        if q_DE is not None and at in self._places:
            room = _BATCH // max(1, q_DE.shape[0] * len(plan.units) * len(plan.site.views))
            batch |= {k: w for w in self._expected[self._places[at] :][:room] if (k := self._key(*w)) not in self._kept}
        found = self.features.many([(p, x.site.views, x.units) for p, x in batch.values()], q_DE)
        made = [(blocks, unit_rows(blocks), bool(varies(blocks).all())) for blocks in found]
        for key, one in reversed(list(zip(batch, made, strict=True))):
            self._kept.keep(key, one, 2 * sum(b.nbytes for b in one[0]))
            self._light.setdefault(key, self._lightened(one))
        return made[0]

    def sketch(self, posed: Pose, plan: Plan, q_DE: F32 | None) -> F32:
        """`kinship.sketch` of a place, with one set of signs for all of a width."""
        return self._light_of(posed, plan, q_DE).sketch

    def hits(self, x: Pose, y: Canonical, plan: Plan) -> tuple[int, int]:
        """(units, hits) of one test: X posed as the place of Y that the plan reads."""
        sides = (x, plan, self.q_x), (as_it_is(y, plan), plan, self.q_y)
        mine, theirs = (self._light_of(*side) for side in sides)
        if mine.whole and theirs.whole:
            x_MK, y_MK = (side.x_MK if side.x_MK is not None else self.of(*at)[1] for side, at in zip((mine, theirs), sides, strict=True))
            if x_MK.shape == y_MK.shape and len(x_MK) > 1:
                return len(x_MK), strict_hits(x_MK @ y_MK.T)
        found = order_hits(*(self.of(*at)[0] for at in sides))
        return found.m, found.hits

    def _light_of(self, posed: Pose, plan: Plan, q_DE: F32 | None) -> _Light:
        at = self._key(posed, plan)
        if at not in self._light:
            self.of(posed, plan, q_DE)
        return self._light[at]

    def _lightened(self, one: tuple[list[F32], F32, bool]) -> _Light:
        _, x_MD, whole = one
        width = x_MD.shape[1]
        sketch = sketch_of(x_MD, self._signs_of("signs", width))
        return _Light(sketch, whole, None if not self._many else x_MD if width <= _THIN else self._projected(x_MD))

    def _projected(self, x_MD: F32) -> F32:
        """Rows of length 1 in `_THIN` random directions."""
        out: F32 = x_MD @ self._signs_of("thin", x_MD.shape[1])
        length = np.linalg.norm(out, axis=1, keepdims=True)
        turned: F32 = np.divide(out, length, out=np.zeros_like(out), where=length > 0)
        return turned

    def _signs_of(self, purpose: str, width: int) -> F32:
        at = (purpose, width)
        if at not in self._signs:
            rng = generator(self.seed, purpose, width)
            wide = rng.choice(np.array([-1, 1], dtype=np.float32), size=(width, _THIN)) if purpose == "thin" else signs(width, rng)
            self._signs[at] = wide
        return self._signs[at]


def as_it_is(model: Canonical, plan: Plan) -> Pose:
    """A model under its own keys, as far as a plan reads it."""
    return Pose(model, model, {v.key: v.key for v in plan.site.views})
