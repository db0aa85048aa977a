"""Run the order tests of every axis within a byte budget, stopping early.

Enters: two canonical models.  Leaves: `AxisResult`s.  Null and e-values: `begat.stats.order`; axes: `begat.signals.axes`.

Reading goes in rounds. Round 0 samples every axis and every layer once, so that each part of the model has its say. Further rounds
add disjoint samples of MLP, expert and chain units while the evidence is short of `ENOUGH` and the budget lasts; the e-value may be
looked at after each (anytime-valid).

Tests are multiplied only where the orders they test were drawn apart. Layers or experts that are copies of each other in both models (tied layers,
up-scaled depth, experts grown from one MLP) share one order, so of such a group one test is counted (`begat.signals.kinship`). To see
copies, sites of one size are sampled at the same indices. Tests of units that stand by index in both models are left out (`by_index.py`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import TYPE_CHECKING

import numpy as np

from begat.canon.model import Canonical
from begat.pipeline.by_index import WHY, WORTH, ByIndex
from begat.pipeline.own import ONE_DRAW, one_draw
from begat.pipeline.sampling import Plan, generator, plan_site, read_views
from begat.signals.axes import AXES, Axis, Site
from begat.signals.kinship import independent, signs, sketch
from begat.signals.order import order_hits
from begat.stats.order import (
    LN10,
    log10_p_alternatives,
    log10_p_bound,
    log10_p_combined,
    log10_p_looks,
    log_e_alternatives,
    log_e_axis,
    log_e_combined,
    log_mean_exp,
)
from begat.types import F32, AxisResult, OrderTest, Progress

if TYPE_CHECKING:
    from hashlib import _Hash as HASH

#: rounds of disjoint samples at most
ROUNDS = 8
#: log10 e-value after which nothing more is read
ENOUGH = 15.0
#: log10 e-value over axes from which it matters whether they may be multiplied
DECIDES = 3.0
#: share of the stored bytes of both models that may be read for the tests, and the floor below which nothing is spared
BUDGET_SHARE = 0.014
BUDGET_FLOOR = 8 << 20


@dataclass(slots=True)
class _AxisState:
    axis: Axis
    rounds: list[list[Plan]]
    reason: str | None
    tests: list[OrderTest] = field(default_factory=list)
    copies: set[tuple[str, int, int]] = field(default_factory=set)

    def counted(self) -> tuple[list[int], list[int]]:
        """Hits and units of the tests that count."""
        tests = [t for t in self.tests if t.counted]
        return [t.hits for t in tests], [t.m for t in tests]

    def log_e(self) -> float:
        hits, units = self.counted()
        if self.axis.combine == "alternatives":
            return log_e_alternatives(hits, units)
        return log_e_axis(hits, units, planned=sum(_place(p.site) not in self.copies for r in self.rounds for p in r))


@dataclass(frozen=True, slots=True)
class ExactResult:
    """All axes, the combined e-value and p bound (None when no test ran).

    digests: sha256 over the sampled values of A and of B, as float32 in the order they were read: they name the weights, as a digest of
    headers does not, and cost nothing beyond what was read.
    notes: what was left out and why, for the report.
    """

    axes: tuple[AxisResult, ...]
    log10_e: float | None
    log10_p: float | None
    rounds: int
    digests: tuple[str, str] = ("", "")
    notes: tuple[str, ...] = ()


def run_axes(a: Canonical, b: Canonical, seed: int, progress: Progress | None = None) -> ExactResult:
    """Sample every axis common to A and B; see the module."""
    total = a.checkpoint.nbytes + b.checkpoint.nbytes
    budget = max(BUDGET_FLOOR, int(BUDGET_SHARE * total))
    states = [_plan_axis(a, b, axis, seed, budget) for _, axis in AXES.items()]
    _thin(states, budget)
    if progress:
        progress.start("order tests", sum(len(s.rounds[0]) for s in states if s.rounds))
    _trim(states, budget)
    planned = max((len(s.rounds) for s in states), default=0)
    rounds, seen, drawn, by_index = 0, (sha256(), sha256()), _Drawn(seed), ByIndex(a, b)
    notes: list[str] = []
    for number in range(planned):
        if number and _combined(states) >= ENOUGH:
            break
        rounds = number + 1
        for state, plan in [(s, p) for s in states if number < len(s.rounds) for p in s.rounds[number]]:
            blocks = [read_views(model, plan) for model in (a, b)]
            test = _test(state, plan, blocks, seen)
            if test is not None:
                state.tests.append(test)
                by_index.add(test, plan)
                if number == 0 and state.axis.combine == "product":
                    drawn.add(state, plan, blocks)
            if progress:
                progress.step()
        if number == 0:
            drawn.leave_copies_out()
        notes += [note for state in states for note in _leave_out(state, by_index)]
    if progress:
        progress.done()
    looks = rounds if planned > 1 else 0
    results = tuple(_result(s, looks) for s in states)
    ran = [r for r in results if r.log10_e is not None]
    digests = (seen[0].hexdigest(), seen[1].hexdigest())
    if not ran:
        return ExactResult(results, None, None, rounds, digests, tuple(notes))
    log10_p = log10_p_combined([r.log10_p for r in ran if r.log10_p is not None])
    log10_e, more = _over_axes(states, a, b)
    return ExactResult(results, log10_e, log10_p, rounds, digests, (*notes, *more))


def _over_axes(states: Sequence[_AxisState], a: Canonical, b: Canonical) -> tuple[float, list[str]]:
    """log10 of the e-value over axes: of models drawn from one random key each the mean, since no axis is independent of another.

    Asked only where the product decides.
    """
    log10_e = _combined(states)
    mean = log_mean_exp([s.log_e() for s in states if s.tests]) / LN10
    if log10_e < DECIDES or mean >= ENOUGH or any(one_draw(m) is None for m in (a, b)):
        return log10_e, []
    return min(log10_e, mean), [f"Axes were averaged, not multiplied: {ONE_DRAW}."]


def _leave_out(state: _AxisState, by_index: ByIndex) -> list[str]:
    """Drop the tests that stand by index; of an axis that loses all of them nothing more is read."""
    if state.log_e() < WORTH * LN10:
        return []
    kept = by_index.keep(state.tests)
    lost = len(state.tests) - len(kept)
    state.tests = kept
    if lost and not kept:
        state.rounds, state.reason = [], WHY
    return [f"{state.axis.title}: {lost} order tests were left out: {WHY}."] if lost else []


def _combined(states: Sequence[_AxisState]) -> float:
    return log_e_combined([s.log_e() for s in states if s.tests]) / LN10


def _plan_axis(a: Canonical, b: Canonical, axis: Axis, seed: int, budget: int) -> _AxisState:
    sites = list(axis.sites(a, b))
    if not sites:
        return _AxisState(axis, [], _why_not(a, b, axis))

    def plans_of(site: Site) -> list[Plan]:
        rng = generator(seed, "units", site.units)  # one for all sites of a size: copies can be seen, alternatives agree
        return plan_site(a, b, site, axis.units, 1 if axis.combine == "alternatives" else ROUNDS, rng)

    rounds: list[list[Plan]] = [[] for _ in range(ROUNDS)]
    for site in _some_per_layer(axis, sites, plans_of(sites[0]), seed, budget):
        for number, plan in enumerate(plans_of(site)):
            rounds[number].append(plan)
    while rounds and not rounds[-1]:
        rounds.pop()
    return _AxisState(axis, rounds, None if rounds else "stored quantisation blocks are too small to sample inside one")


def _some_per_layer(axis: Axis, sites: list[Site], first: list[Plan], seed: int, budget: int) -> list[Site]:
    """All sites, or of an axis with many per layer (experts, heads) as many as a fifth of the budget pays for.

    At least `axis.per_layer` of each layer are kept, others in other layers.
    """
    by_layer: dict[tuple[str, int], list[Site]] = defaultdict(list)
    for site in sites:
        by_layer[site.tower, site.layer].append(site)
    if not axis.per_layer or not first:
        return sites
    keep = max(axis.per_layer, budget // 5 // max(1, first[0].cost) // len(by_layer))
    chosen = []
    for (tower, layer), group in by_layer.items():
        pick = generator(seed, axis.name, "sites", tower, layer).permutation(len(group))[:keep]
        chosen += [group[i] for i in sorted(pick)]
    return chosen


def _thin(states: list[_AxisState], budget: int) -> None:
    """Sample fewer units per test when round 0 alone would exceed the budget (down to 16 of them, never fewer tests)."""
    cost = sum(p.cost for s in states if s.rounds for p in s.rounds[0])
    if cost <= budget:
        return
    keep = max(0.25, budget / cost)
    for state in states:
        for plans in state.rounds:
            for i, plan in enumerate(plans):
                m = max(min(16, len(plan.units)), int(len(plan.units) * keep))
                units = plan.units[np.linspace(0, len(plan.units) - 1, m).astype(int)]
                plans[i] = Plan(plan.site, units, plan.tokens, int(plan.cost * m / len(plan.units)))


def _trim(states: list[_AxisState], budget: int) -> None:
    """Drop the later rounds that the budget cannot pay for. Costs are known before any weight is read, so what is planned
    depends on no data and the e-values need not pay for it.
    """
    spent = 0
    for number in range(ROUNDS):
        cost = sum(p.cost for s in states if number < len(s.rounds) for p in s.rounds[number])
        if number and spent + cost > budget:
            for state in states:
                del state.rounds[number:]
            return
        spent += cost


def _place(site: Site) -> tuple[str, int, int]:
    return site.tower, site.layer, site.expert


class _Drawn:
    """Which tests of the first round were drawn apart, over all axes."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.signs: dict[int, F32] = {}
        self.kinds: dict[tuple[bytes, int], list[tuple[_AxisState, Site, F32, F32]]] = defaultdict(list)

    def add(self, state: _AxisState, plan: Plan, blocks: list[list[F32]]) -> None:
        """Keep a sketch of the units of a test in A and in B."""
        features = sum(view.shape[1] for view in blocks[0])
        if features not in self.signs:
            self.signs[features] = signs(features, generator(self.seed, "signs", features))
        x, y = (sketch(views, self.signs[features]) for views in blocks)
        self.kinds[plan.units.tobytes(), features].append((state, plan.site, x, y))

    def leave_copies_out(self) -> None:
        """Mark every test but the first of each group whose units are copies of each other in both models."""
        for tests in self.kinds.values():
            counts = independent([t[2] for t in tests], [t[3] for t in tests])
            for (state, site, _, _), counted in zip(tests, counts, strict=True):
                if not counted:
                    state.copies.add(_place(site))
        for state in {id(t[0]): t[0] for tests in self.kinds.values() for t in tests}.values():
            state.tests = [replace(t, counted=(t.tower, t.layer, t.expert) not in state.copies) for t in state.tests]
        self.kinds.clear()


def _test(state: _AxisState, plan: Plan, blocks: list[list[F32]], seen: tuple[HASH, HASH]) -> OrderTest | None:
    for digest, views in zip(seen, blocks, strict=True):
        for view in views:
            digest.update(np.ascontiguousarray(view).data)
    hits = order_hits(*blocks)
    if hits.m < 2:
        return None
    place = _place(plan.site)
    counted = place not in state.copies
    return OrderTest(state.axis.name, *place, hits.m, hits.hits, hits.noise_sd, hits.features, counted)


def _result(state: _AxisState, looks: int) -> AxisResult:
    axis, tests = state.axis, state.tests
    hits, units = state.counted()
    if not tests:
        reason = state.reason or "every sampled unit is constant (no weights to compare)"
        return AxisResult(axis.name, axis.title, (), 0, 0, 0.0, None, None, axis.null, reason)
    if axis.combine == "alternatives":
        p, expected = log10_p_alternatives(hits, units), 1.0
        shown = max(tests, key=lambda t: t.hits)
        sampled, total = shown.m, shown.hits
    else:
        p, expected = log10_p_looks(log10_p_bound(hits, units), looks), float(len(hits))
        sampled, total = sum(units), sum(hits)
    return AxisResult(axis.name, axis.title, tuple(tests), sampled, total, expected, state.log_e() / LN10, p, axis.null)


def _why_not(a: Canonical, b: Canonical, axis: Axis) -> str:
    """Why an axis has no common site, in words."""
    for name, model in (("A", a), ("B", b)):
        for geometry in model.geometry.values():
            if axis.name in geometry.asymmetric:
                return f"{name}: {geometry.asymmetric[axis.name]}"
    without = [(name, m) for name, m in (("A", a), ("B", b)) if next(axis.sites(m, m), None) is None]
    for name, model in without:
        if model.checkpoint.unread:  # packed weights may be of this kind
            return f"none was read of {name}, some of whose weights are not decoded"
        if model.unmapped:  # so may tensors of unknown names
            return f"none was found in {name}, some of whose tensors have unknown names"
    if len(without) == 2:
        return "neither has any"
    return f"{without[0][0]} has none" if without else "A and B have none of equal shape"
