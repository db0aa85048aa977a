"""The experts of one layer of two mixtures, each of B's held against A's.

Enters: two mixtures, a (tower, layer).  Leaves: an `ExpertMatch` and the order test it rests on for
every expert of B that has a counterpart. Null and assumption: `expert_partners.py`, who asks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from begat.canon.model import Canonical
from begat.pipeline.by_index import ByIndex
from begat.pipeline.expert_pose import Place, experts_of
from begat.pipeline.mlps import likest
from begat.pipeline.sampling import Plan, check_finite, generator, plan_site, read_views
from begat.signals.axes import AXES, Site
from begat.signals.axes.mlp_units import unit_views, units_of
from begat.signals.order import order_hits, unit_rows
from begat.stats.order import LN10, log_e_single, log_mean_exp
from begat.types import F32, ExpertMatch, OrderTest, TensorKey
from begat.verdict import POLICY

_PARTS = ("gate", "up", "down")
# Shape suffixes: E experts of A, M sampled units, K features or their projections

#: experts of A that are tested for one of B; candidates of a layer where not every expert is read
_TESTED, _CANDIDATES = 8, 32
#: experts of B that are looked at in a layer where not every expert is read
_EXPERTS = 4
#: features from which units are projected to so many numbers
_WIDE, _PROJECTED = 512, 256
#: likeness from which a candidate is worth a test, as a share of the best; likeness from which two
#: experts are no strangers
_NEAR, _LIKE = 0.3, 0.5
#: cosine by which one partner must lead for it to be named alone; cosine of experts of one model
#: that are alike
_LEAD, _SIBLINGS = 0.1, 0.3


@dataclass(frozen=True, slots=True)
class _Test:
    """An order test of two experts; cosine at equal index; equal: every sampled value is."""

    hits: int
    m: int
    log10_e: float
    cosine: float
    equal: bool


class Layer:
    """One layer's experts, their sampled units read once."""

    def __init__(
        self, a: Canonical, b: Canonical, place: Place, seed: int, every: bool, by_index: ByIndex
    ) -> None:
        self.a, self.b, self.place = a, b, place
        self.seed, self.every, self.by_index = seed, every, by_index
        self.theirs, self.mine = experts_of(a, place), experts_of(b, place)
        if not every:
            pick = generator(seed, "expert-units", "sites", *place).permutation(len(self.mine))
            self.mine = sorted(self.mine[i] for i in pick[:_EXPERTS])
        self.plan = self._plan()
        self._rows: dict[tuple[str, int], F32] = {}

    def match(self) -> tuple[list[tuple[ExpertMatch, OrderTest]], dict[int, str]]:
        """Matches of B's experts with their tests, and what became of each that was looked for."""
        found: list[tuple[ExpertMatch, OrderTest]] = []
        states: dict[int, str] = {}
        for expert in self.mine:
            match = self._partner(expert)
            if isinstance(match, str):
                states[expert] = match
            else:
                found.append(match)
                states[expert] = "found"
        taken = {e for m, _ in found for e in m.experts_a}
        more = len(experts_of(self.b, self.place)) > len(self.theirs)
        if more and (taken == set(self.theirs) or not self.every):
            states = {e: "spare" if s == "none" else s for e, s in states.items()}
        return found, states

    def _plan(self) -> Plan | None:
        """The units that are read of every expert: those that the order test reads."""
        x, y = self._one("a", self.theirs[0]), self._one("b", self.mine[0])
        up = TensorKey(*self.place, "expert.up.weight", 0)
        views = unit_views(x, y, up, "expert")
        units = units_of(x, y, views)
        if units < 2:
            return None
        site = Site(*self.place, 0, units, views)
        plans = plan_site(
            x, y, site, AXES["expert-units"].units, 1, generator(self.seed, "units", units)
        )
        return plans[0] if plans else None

    def _one(self, side: str, expert: int) -> Canonical:
        """The model with this expert as its expert 0 of the layer, and nothing else."""
        model = self.a if side == "a" else self.b
        keys = [
            TensorKey(*self.place, f"expert.{part}.{kind}", expert)
            for part in _PARTS
            for kind in ("weight", "bias")
        ]
        tensors = {
            replace(k, expert=0): replace(model.tensors[k], key=replace(k, expert=0))
            for k in keys
            if k in model.tensors
        }
        return replace(model, tensors=tensors)

    def _blocks(self, side: str, expert: int) -> list[F32]:
        assert self.plan is not None
        return read_views(self._one(side, expert), self.plan)

    def _sketch(self, side: str, expert: int) -> F32:
        """Unit rows [M, K] of an expert, projected where they are wide; the same whatever order its
        units stand in, but for that order.
        """
        if (side, expert) not in self._rows:
            rows_MK = unit_rows(self._blocks(side, expert))
            if rows_MK.shape[1] > _WIDE:
                signs = generator(self.seed, "expert projections", rows_MK.shape[1]).choice(
                    np.array([-1, 1], dtype=np.float32), size=(rows_MK.shape[1], _PROJECTED)
                )
                rows_MK = rows_MK @ signs
                rows_MK /= np.maximum(np.linalg.norm(rows_MK, axis=1, keepdims=True), 1e-30)
            self._rows[side, expert] = rows_MK
        return self._rows[side, expert]

    def _candidates(self, expert: int) -> list[int]:
        """Experts of A of equal shape; where not every expert is read, those whose router rows are
        most alike, and the one at the same index.
        """
        wanted = self._shapes("b", expert)
        fits = [e for e in self.theirs if self._shapes("a", e) == wanted]
        if self.every or len(fits) <= _CANDIDATES:
            return fits
        rows = self._routers()
        near = fits[:_CANDIDATES]
        if rows is not None and max(fits) < len(rows[0]) and expert < len(rows[1]):
            near = [fits[i] for i in likest(rows[1][expert], rows[0][fits], _CANDIDATES)]
        return sorted({*near, *({expert} & set(fits))})

    def _routers(self) -> tuple[F32, F32] | None:
        """Router rows of A and B, None where one has none or they are not equally wide."""
        key, rows = TensorKey(*self.place, "moe.router.weight"), []
        for model in (self.a, self.b):
            if key not in model.tensors:
                return None
            rows.append(model.read(key))
            check_finite(model, key, rows[-1])
        return (rows[0], rows[1]) if rows[0].shape[1] == rows[1].shape[1] else None

    def _shapes(self, side: str, expert: int) -> tuple[tuple[int, ...] | None, ...]:
        model = self.a if side == "a" else self.b
        keys = (TensorKey(*self.place, f"expert.{part}.weight", expert) for part in _PARTS)
        return tuple(model.tensors[k].shape if k in model.tensors else None for k in keys)

    def _likeness(self, expert: int, candidates: Sequence[int]) -> list[float]:
        """Mean over B's units of their best similarity with any of A's, for every candidate."""
        mine_MK = self._sketch("b", expert)
        return [
            float(np.sort((self._sketch("a", e) @ mine_MK.T).max(axis=0)).mean(dtype=np.float64))
            for e in candidates
        ]

    def _partner(self, expert: int) -> tuple[ExpertMatch, OrderTest] | str:
        """The match of one of B's experts and the test that it rests on; else what became of it."""
        candidates = self._candidates(expert)
        if not candidates:
            return "none"
        likeness = dict(zip(candidates, self._likeness(expert, candidates), strict=True))
        best = max(likeness.values())
        order = sorted(candidates, key=lambda e: (-round(likeness[e], 4), e))
        tried = [e for e in order if likeness[e] >= _NEAR * best][:_TESTED]
        own = self._blocks("b", expert)
        tests = {e: self._test(e, own) for e in tried}
        log_e = log_mean_exp([t.log10_e * LN10 for t in tests.values()])
        needed = POLICY.part_log10_e + math.log10(len(self.mine))
        holds = sorted(
            (e for e in tried if tests[e].log10_e >= needed), key=lambda e: -tests[e].cosine
        )
        if not holds or log_e / LN10 < needed:
            seen = self.every or len(self.theirs) <= _CANDIDATES
            return "none" if best < _LIKE and seen else "alike"
        sure = [e for e in holds if tests[e].log10_e >= POLICY.dependence_log10_e]
        named = self._named(expert, sure, tests) if sure else ()
        partner = named[0] if named else holds[0]
        top = tests[partner]
        assert self.plan is not None
        test = OrderTest("expert-units", *self.place, expert, top.m, top.hits, 0.0, 0)
        self.by_index.add(test, self.plan, (self._site(partner), self._site(expert)))
        equal = top.equal and len(named) == 1
        return ExpertMatch(
            *self.place, expert, named, equal, top.hits, top.m, log_e / LN10, top.cosine
        ), test

    def _site(self, expert: int) -> Site:
        """The planned site in another expert of the layer."""
        assert self.plan is not None
        site = self.plan.site
        views = tuple(replace(v, key=replace(v.key, expert=expert)) for v in site.views)
        return replace(site, expert=expert, views=views)

    def _named(self, expert: int, holds: list[int], tests: dict[int, _Test]) -> tuple[int, ...]:
        """Of A's experts in whose order the units of one of B stand (most alike first), those that
        it is or was made of; () where several are alike.

        An equal one is it; so is one that leads. Several that do not resemble each other are the
        parts of a mean.
        """
        equal = [e for e in holds if tests[e].equal]
        if equal:
            return (expert,) if expert in equal else (equal[0],)
        pairs = [self._cosine(x, y) for i, x in enumerate(holds) for y in holds[:i]]
        if max(map(abs, pairs), default=0.0) < _SIBLINGS:
            return tuple(sorted(holds)) if len(holds) < _TESTED else ()
        leads = tests[holds[0]].cosine - tests[holds[1]].cosine >= _LEAD
        return (holds[0],) if leads else ()

    def _cosine(self, x: int, y: int) -> float:
        """Mean cosine of the units of two experts of A, at equal index."""
        rows_MK, others_MK = self._sketch("a", x), self._sketch("a", y)
        return float(np.einsum("mk,mk->", rows_MK, others_MK)) / len(rows_MK)

    def _test(self, other: int, own: list[F32]) -> _Test:
        """One of A's experts against one of B's, whose units are `own`."""
        blocks = self._blocks("a", other)
        hits = order_hits(blocks, own)
        x, y = (
            np.concatenate([v.ravel() for v in side]).astype(np.float64) for side in (blocks, own)
        )
        cosine = float(x @ y) / max(float(np.linalg.norm(x) * np.linalg.norm(y)), 1e-30)
        equal = all(np.array_equal(u, v) for u, v in zip(blocks, own, strict=True))
        log10_e = log_e_single(hits.hits, hits.m) / LN10 if hits.m > 1 else 0.0
        return _Test(hits.hits, hits.m, log10_e, cosine, equal)
