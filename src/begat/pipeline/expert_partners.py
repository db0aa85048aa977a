"""Which expert of A each expert of B is, at equal layers, before a part of a mixture is said to show nothing.

Enters: two mixtures and their order tests at equal index.  Leaves: `Matched`: an `ExpertMatch` for every expert of B that has a
counterpart, and A posed under B's numbers, for the map, the kind and the parts.  In a frame of another basis: `experts.py`.

Null and assumption. The order of units inside an expert of B is uniform given everything else, A included. Candidates are the
experts of A with the greatest mean, over the sampled units, of their best similarity with any sampled unit there. That number
stays the same in whatever order the sampled units of either stand, and the test looks at the same units, so choosing by it
costs nothing (`tests/stats/test_search.py`). Of several candidates that are tested the mean of the e-values is taken, which pays for
their number. E-values of different experts are averaged, never multiplied: experts may be copies of one another.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from begat.canon.model import Canonical, CanonTensor
from begat.pipeline.by_index import ByIndex
from begat.pipeline.mlps import likest
from begat.pipeline.sampling import Plan, check_finite, generator, plan_site, read_views
from begat.signals.axes import AXES, Site
from begat.signals.axes.base import is_symmetric
from begat.signals.axes.mlp_units import unit_views, units_of
from begat.signals.order import order_hits, unit_rows
from begat.stats.order import LN10, log_e_single, log_mean_exp
from begat.types import F32, AxisResult, ExpertMatch, OrderTest, TensorKey
from begat.verdict import POLICY

# Shape suffixes: E experts of A, M sampled units, K features or their projections

#: experts of A that are tested for one of B; candidates of a layer where not every expert is read
_TESTED, _CANDIDATES = 4, 32
#: experts of B that are looked at in a layer where not every expert is read
_EXPERTS = 4
#: features from which units are projected to so many numbers
_WIDE, _PROJECTED = 512, 256
#: likeness from which a candidate is worth a test, as a share of the best; likeness from which two experts are no strangers
_NEAR, _LIKE = 0.5, 0.5
#: cosine by which one partner must lead for it to be named alone; cosine of experts of one model that are alike
_LEAD, _SIBLINGS = 0.1, 0.3
Place = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Matched:
    """What was found.

    Attributes:
        matches: experts of B with a counterpart in A, those at their own index included where their layer was looked at.
        looked: experts of B that were looked for, by (tower, layer): expert → "found", "alike" (resembles one, units in another
            order), "none", or "spare" (B has more experts than A, and A's are others' as far as was looked).
        posed: A under B's numbers in these layers; None where nothing was looked at.
        left: (tower, layer) → experts of A that no expert of B holds, where every expert was looked for.
    """

    matches: tuple[ExpertMatch, ...]
    looked: dict[Place, dict[int, str]]
    posed: Canonical | None
    left: dict[Place, tuple[int, ...]] = field(default_factory=dict)

    def only_a(self, a: Canonical) -> frozenset[TensorKey] | None:
        """Keys of A's experts that B lacks; None where not every expert was looked for."""
        if not self.left:
            return None
        return frozenset(k for k in a.tensors if k.expert in self.left.get((k.tower, k.layer), ()))

    def only_b(self, b: Canonical) -> frozenset[TensorKey] | None:
        """Keys of B's experts of which A has none; None where not every expert was looked for."""
        if not self.left:
            return None
        return frozenset(k for k in b.tensors if self.looked.get((k.tower, k.layer), {}).get(k.expert, "found") in ("none", "spare"))


NOTHING_LOOKED_AT = Matched((), {}, None)


def match_experts(a: Canonical, b: Canonical, axes: Sequence[AxisResult], seed: int, every: bool) -> Matched:
    """Look for the experts of every layer whose experts do not all sit at their own index.

    Args:
        axes: the order tests at equal index.
        every: read some units of every expert, not of a few of each layer.
    """
    tests: list[tuple[ExpertMatch, OrderTest]] = []
    looked: dict[Place, dict[int, str]] = {}
    left: dict[Place, tuple[int, ...]] = {}
    by_index = ByIndex()
    for place in _places(a, b, axes):
        layer = _Layer(a, b, place, seed, every, by_index)
        if layer.plan is None:
            continue
        found, states = layer.match()
        tests += found
        looked[place] = states
        if every:
            left[place] = tuple(sorted(set(layer.theirs) - {e for m, _ in found for e in m.experts_a}))
    if not looked:
        return NOTHING_LOOKED_AT
    matches = _not_by_index(tests, looked, by_index)
    in_place = all(m.experts_a in ((m.expert_b,), ()) for m in matches) and all(experts_of(a, p) == experts_of(b, p) for p in looked)
    return Matched(tuple(matches), looked, None if in_place else _posed(a, b, matches, looked), left)


def _not_by_index(
    found: list[tuple[ExpertMatch, OrderTest]], looked: dict[Place, dict[int, str]], by_index: ByIndex
) -> list[ExpertMatch]:
    """The matches whose units do not stand by index in both models."""
    kept = {id(t) for t in by_index.keep([test for _, test in found])}
    for match, test in found:
        if id(test) not in kept:
            looked[match.tower, match.layer][match.expert_b] = "alike"
    return [match for match, test in found if id(test) in kept]


def experts_of(model: Canonical, place: Place) -> list[int]:
    """Numbers of the routed experts of a layer."""
    return sorted(k.expert for k in model.tensors if (k.tower, k.layer) == place and k.role == "expert.up.weight")


def _places(a: Canonical, b: Canonical, axes: Sequence[AxisResult]) -> list[Place]:
    """Layers with experts in both, that are not as many or not all found at their own index."""
    both = [{(k.tower, k.layer) for k in m.tensors if k.role == "expert.up.weight"} for m in (a, b)]
    tests = [t for x in axes if x.axis == "expert-units" for t in x.tests]
    lost = {(t.tower, t.layer) for t in tests if log_e_single(t.hits, t.m) / LN10 < POLICY.part_log10_e}
    return [p for p in sorted(both[0] & both[1])
            if is_symmetric(a, b, p[0], "expert-units") and (p in lost or experts_of(a, p) != experts_of(b, p))]  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Test:
    """An order test of two experts; cosine at equal index; equal: every sampled value is."""

    hits: int
    m: int
    log_e: float
    cosine: float
    equal: bool


class _Layer:
    """One layer's experts, their sampled units read once."""

    def __init__(self, a: Canonical, b: Canonical, place: Place, seed: int, every: bool, by_index: ByIndex) -> None:
        self.a, self.b, self.place, self.seed, self.every, self.by_index = a, b, place, seed, every, by_index
        self.theirs, self.mine = experts_of(a, place), experts_of(b, place)
        if not every:
            pick = generator(seed, "expert-units", "sites", *place).permutation(len(self.mine))[:_EXPERTS]
            self.mine = sorted(self.mine[i] for i in pick)
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
        plans = plan_site(x, y, site, AXES["expert-units"].units, 1, generator(self.seed, "units", units))
        return plans[0] if plans else None

    def _one(self, side: str, expert: int) -> Canonical:
        """The model with this expert as its expert 0 of the layer, and nothing else."""
        model = self.a if side == "a" else self.b
        keys = [TensorKey(*self.place, f"expert.{part}.{kind}", expert) for part in ("gate", "up", "down") for kind in ("weight", "bias")]
        tensors = {replace(k, expert=0): replace(model.tensors[k], key=replace(k, expert=0)) for k in keys if k in model.tensors}
        return replace(model, tensors=tensors)

    def _blocks(self, side: str, expert: int) -> list[F32]:
        assert self.plan is not None
        return read_views(self._one(side, expert), self.plan)

    def _sketch(self, side: str, expert: int) -> F32:
        """Unit rows [M, K] of an expert, projected where they are wide; the same whatever order its units stand in, but for that order."""
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
        """Experts of A of equal shape; where not every expert is read, those whose router rows are most alike, and the one at the same index."""
        fits = [e for e in self.theirs if self._shape("a", e) == self._shape("b", expert)]
        if self.every or len(fits) <= _CANDIDATES:
            return fits
        key = TensorKey(*self.place, "moe.router.weight")
        rows = [m.read(key) if key in m.tensors else None for m in (self.a, self.b)]
        if rows[0] is None or rows[1] is None or rows[0].shape[1] != rows[1].shape[1] or max(*fits, expert) >= min(map(len, (rows[0], rows[1]))):
            return sorted({*fits[:_CANDIDATES], *({expert} & set(fits))})
        check_finite(self.a, key, rows[0])
        check_finite(self.b, key, rows[1])
        near = [fits[i] for i in likest(rows[1][expert], rows[0][fits], _CANDIDATES)]
        return sorted({*near, *({expert} & set(fits))})

    def _shape(self, side: str, expert: int) -> list[tuple[int, ...]]:
        return [t.shape for t in self._one(side, expert).tensors.values()]

    def _likeness(self, expert: int, candidates: Sequence[int]) -> list[float]:
        """Mean over B's units of their best similarity with any of A's, for every candidate."""
        mine_MK = self._sketch("b", expert)
        return [float(np.sort((self._sketch("a", e) @ mine_MK.T).max(axis=0)).mean(dtype=np.float64)) for e in candidates]

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
        log_e = log_mean_exp([t.log_e for t in tests.values()])
        needed = POLICY.part_log10_e + math.log10(len(self.mine))
        holds = sorted((e for e in tried if tests[e].log_e / LN10 >= needed), key=lambda e: -tests[e].cosine)
        if not holds or log_e / LN10 < needed:
            return "none" if best < _LIKE and (self.every or len(self.theirs) <= _CANDIDATES) else "alike"
        named = self._named(expert, holds, tests)
        top = tests[named[0] if named else holds[0]]
        assert self.plan is not None
        test = OrderTest("expert-units", *self.place, expert, top.m, top.hits, 0.0, 0)
        none = np.empty(0, dtype=np.int64)
        self.by_index.look(test, [self._blocks("a", named[0] if named else holds[0]), own], self.plan.units, none)
        return ExpertMatch(*self.place, expert, named, top.equal and len(named) == 1, top.hits, top.m, log_e / LN10, top.cosine), test

    def _named(self, expert: int, holds: list[int], tests: dict[int, _Test]) -> tuple[int, ...]:
        """Of A's experts in whose order the units of one of B stand (most alike first), those that it is or was made of; () where several are alike.

        An equal one is it; so is one that leads. Several that do not resemble each other are the parts of a mean.
        """
        equal = [e for e in holds if tests[e].equal]
        if equal:
            return (expert,) if expert in equal else (equal[0],)
        near = [e for e in holds if tests[e].cosine >= tests[holds[0]].cosine - _LEAD]
        if len(near) == 1:
            return (near[0],)
        unlike = all(abs(self._cosine(x, y)) < _SIBLINGS for i, x in enumerate(near) for y in near[:i])
        return tuple(sorted(near)) if unlike else ()

    def _cosine(self, x: int, y: int) -> float:
        return float(np.einsum("mk,mk->", self._sketch("a", x), self._sketch("a", y))) / len(self._sketch("a", x))

    def _test(self, other: int, own: list[F32]) -> _Test:
        """One of A's experts against one of B's, whose units are `own`."""
        blocks = self._blocks("a", other)
        hits = order_hits(blocks, own)
        x, y = (np.concatenate([v.ravel() for v in side]).astype(np.float64) for side in (blocks, own))
        cosine = float(x @ y) / max(float(np.linalg.norm(x) * np.linalg.norm(y)), 1e-30)
        equal = all(np.array_equal(u, v) for u, v in zip(blocks, own, strict=True))
        return _Test(hits.hits, hits.m, log_e_single(hits.hits, hits.m) if hits.m > 1 else 0.0, cosine, equal)


# --- A under B's numbers ---------------------------------------------------------------------------------------


def _posed(a: Canonical, b: Canonical, matches: Sequence[ExpertMatch], looked: dict[Place, dict[int, str]]) -> Canonical:
    """A with the experts of the layers looked at under B's numbers, and router rows with them."""
    first = {(m.tower, m.layer, m.expert_b): m.experts_a[0] for m in matches if m.experts_a}
    tensors = {k: t for k, t in a.tensors.items() if (k.tower, k.layer) not in looked or not (k.expert >= 0 or k.role.startswith("moe.router"))}
    for place, states in looked.items():
        used = {other for (*where, _), other in first.items() if tuple(where) == place}
        source = {e: first.get((*place, e), e) for e in states if (*place, e) in first or e not in used}
        for expert, other in source.items():
            for key in [k for k in a.tensors if (k.tower, k.layer) == place and k.expert == other]:
                new = replace(key, expert=expert)
                tensors[new] = replace(a.tensors[key], key=new)
        if len(source) == len(experts_of(b, place)):
            tensors |= dict(_routers(a, place, [source[e] for e in sorted(source)]))
    return replace(a, tensors=dict(sorted(tensors.items())))


def _routers(a: Canonical, place: Place, order: list[int]) -> Iterator[tuple[TensorKey, CanonTensor]]:
    """Router tensors of a layer of A with the rows of its experts in this order; none where they do not speak of all of them."""
    at = np.asarray(order, dtype=np.int64)
    for key, t in a.tensors.items():
        if (key.tower, key.layer) == place and key.role.startswith("moe.router") and t.shape[0] > max(order):
            shape = (len(at), *t.shape[1:])
            if t.transposed:
                cols = np.arange(a.checkpoint.entries[t.name].cols)[slice(None) if t.cols is None else t.cols]
                yield key, replace(t, shape=shape, cols=cols[at])
            else:
                yield key, replace(t, shape=shape, rows=np.asarray(t.rows, dtype=np.int64)[at])
