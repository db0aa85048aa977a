"""Order tests between units whose counterpart is not known, in one frame: layers against layers, dense MLPs against experts.

Enters: two models and a frame (how A's residual stream lies in B's).  Leaves: `Search`: every test with its places in A and B, and one log
e-value that has paid for the search (`begat.stats.search`).  Frames and why the test stays exact in them: `begat.pipeline.frames`.

Models of equal depth and kind are tested layer by layer, or where asked, like all others, every layer of one against every layer of the other; the
MLP of a dense model against the experts of a mixture (mixture against mixture: `experts.py`). X, whose lotteries are multiplied, is the model with
fewer of them: the shallower, else the dense one, else A.  Rows: `rows.py`.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from begat.alignment import PairTest
from begat.canon.model import Canonical
from begat.pipeline.by_index import WORTH, ByIndex
from begat.pipeline.frames import Frame
from begat.pipeline.pose import Features, Pose, pose
from begat.pipeline.rows import Rows, as_it_is
from begat.pipeline.sampling import Plan, generator, plan_site
from begat.signals.axes import AXES, Site
from begat.signals.kinship import alike
from begat.stats.order import LN10, log_e_combined, log_e_single
from begat.stats.search import log_e_search
from begat.types import F32, OrderTest, TensorKey
from begat.verdict.policy import POLICY

Rename = Callable[[TensorKey], TensorKey | None]

#: experts of a layer that a dense MLP is held against, and heads of a layer that are tested
EXPERTS, HEADS = 4, 2
#: axes whose order a frame leaves alone
_UNITS = ("mlp-units", "expert-units")
_WITHIN = ("latent-dims", "kv-heads", "value-dims", "experts", "mlp-units", "expert-units")


@dataclass(frozen=True, slots=True)
class Search:
    """All tests of one frame. `log_e` is the natural log of the e-value over axes."""

    tests: tuple[PairTest, ...]
    log_e: float
    by_axis: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Job:
    """One order test to run: X posed as the place of Y that it is held against."""

    axis: str
    x: Pose
    plan: Plan
    x_at: tuple[int, int]  # layer and expert (or head) in the real X
    y_at: tuple[int, int]

    def real_site(self) -> Site:
        """The site under X's own keys."""
        site = self.plan.site
        views = tuple(replace(v, key=self.x.real[v.key]) for v in site.views)
        return Site(site.tower, *self.x_at, site.units, views, site.label)


def search(a: Canonical, b: Canonical, frame: Frame, seed: int, features: Features, jobs: Sequence[Job] | None = None) -> Search:
    """Run all order tests between A and B in one frame; `jobs`: those of `plan_jobs` instead, in whole or in part, chosen by no order of units."""
    swap = x_is_b(a, b)
    q_x, q_y = (None, frame.q_DE) if swap else (frame.q_DE, None)
    chosen = plan_jobs(a, b, seed) if jobs is None else list(jobs)
    return run(chosen, Rows(features, q_x, q_y, seed), a if swap else b, frame, swap)


def plan_jobs(a: Canonical, b: Canonical, seed: int, everywhere: bool = False) -> list[Job]:
    """All order tests between A and B, the same in every frame; `everywhere`: every layer against every layer, also at equal depth."""
    x, y = (b, a) if x_is_b(a, b) else (a, b)
    return list(_jobs(x, y, everywhere, seed))


def run(jobs: list[Job], seen: Rows, y: Canonical, frame: Frame, swap: bool) -> Search:
    """The tests of all jobs, every lottery of X with each of its candidates; `swap`: X is B."""
    by_axis = sorted(jobs, key=lambda job: job.axis)
    seen.expect([(j.x if seen.q_x is not None else as_it_is(y, j.plan), j.plan) for j in by_axis], len(jobs))
    jobs = _without_copies_of_fitted(seen, jobs, y, frame, swap)
    outcomes = _without_index_orders([(job, *seen.hits(job.x, y, job.plan)) for job in jobs], y)
    copies = _copies(seen, jobs)
    lotteries: dict[str, dict[tuple[int, int], list[float]]] = defaultdict(lambda: defaultdict(list))
    tests = []
    for job, m, hits in outcomes:
        if m < 2:
            continue
        if (job.axis, job.x_at) not in copies:
            lotteries[_lottery_axis(job)][job.x_at].append(log_e_single(hits, m))
        here, there = (job.y_at, job.x_at) if swap else (job.x_at, job.y_at)
        tests.append(PairTest(job.axis, *here, *there, m, hits, counted=(job.axis, job.x_at) not in copies))
    logs = {axis: log_e_search(found) for axis, found in lotteries.items()}
    return Search(tuple(tests), log_e_combined(list(logs.values())), logs)


def _without_index_orders(outcomes: list[tuple[Job, int, int]], y: Canonical) -> list[tuple[Job, int, int]]:
    """The outcomes without tests whose units stand in an order that the index fixes in both models (`by_index.py`)."""
    by_axis: dict[str, list[int]] = defaultdict(list)
    for i, (job, m, _) in enumerate(outcomes):
        if m > 1:
            by_axis[job.axis].append(i)
    lost: set[int] = set()
    for axis, found in by_axis.items():
        lotteries: dict[tuple[int, int], list[float]] = defaultdict(list)
        for job, m, hits in (outcomes[i] for i in found):
            lotteries[job.x_at].append(log_e_single(hits, m))
        if log_e_search(lotteries) < WORTH * LN10:
            continue
        by_index, tests = ByIndex(outcomes[found[0]][0].x.model, y), {}
        for i in found:
            job, m, hits = outcomes[i]
            tests[i] = OrderTest(axis, "text", *job.x_at, m, hits, 0.0, i)
            by_index.add(tests[i], job.plan, (job.real_site(), job.plan.site))
        kept = set(by_index.keep(list(tests.values())))
        lost |= {i for i, test in tests.items() if test not in kept}
    return [outcome for i, outcome in enumerate(outcomes) if i not in lost]


def _lottery_axis(job: Job) -> str:
    """Units of a dense MLP are one lottery whether they are held against an MLP, a shared expert or routed ones."""
    return "mlp-units" if job.axis in ("mlp-units", "expert-units") else job.axis


def x_is_b(a: Canonical, b: Canonical) -> bool:
    """The lotteries that are multiplied are B's."""
    depth = [depth_of(m) for m in (a, b)]
    mixture = [has_experts(m) for m in (a, b)]
    return (depth[1], mixture[1]) < (depth[0], mixture[0])


def depth_of(model: Canonical) -> int:
    """Layers of the text tower."""
    return 1 + max((k.layer for k in model.tensors if k.tower == "text"), default=-1)


def has_experts(model: Canonical) -> bool:
    """The text tower has routed experts."""
    return any(k.expert >= 0 and k.tower == "text" for k in model.tensors)


def _jobs(x: Canonical, y: Canonical, everywhere: bool, seed: int) -> Iterator[Job]:
    depth_x, depth_y = depth_of(x), depth_of(y)
    shifts = range(1 - depth_x, depth_y) if depth_x != depth_y or everywhere else range(1)
    for shift in shifts:
        for posed, expert in _poses(x, y, shift, seed):
            for name in _WITHIN if expert is None else _UNITS:
                yield from _sites(name, posed, y, shift, expert, seed)


def _poses(x: Canonical, y: Canonical, shift: int, seed: int) -> Iterator[tuple[Pose, int | None]]:
    width = y.geometry["text"].width if "text" in y.geometry else None

    def shifted(key: TensorKey) -> TensorKey | None:
        if key.tower != "text" or (key.layer < 0 and shift):
            return None
        return replace(key, layer=key.layer + shift) if key.layer >= 0 else key

    yield pose(x, shifted, width), None
    if has_experts(y) and not has_experts(x):
        experts = sorted({k.expert for k in y.tensors if k.expert >= 0})
        chosen = generator(seed, "search experts").permutation(len(experts))[:EXPERTS]
        for kind, expert in [("shared", -1), *[("expert", experts[i]) for i in sorted(chosen)]]:
            yield pose(x, _mlp_as(shifted, kind, expert), width, {"expert-units": "mlp-units"}), expert


def _mlp_as(shifted: Rename, kind: str, expert: int) -> Rename:
    """As `shifted`, with the MLP as one expert and nothing else but its norm."""

    def rename(key: TensorKey) -> TensorKey | None:
        new = shifted(key)
        if new is None or key.role.startswith("mlp.norm"):
            return new
        if not key.role.startswith("mlp."):
            return None
        return replace(new, role=f"{kind}.{key.role[4:]}", expert=expert)

    return rename


def _sites(name: str, x: Pose, y: Canonical, shift: int, expert: int | None, seed: int) -> Iterator[Job]:
    axis = AXES[name]
    for site in axis.sites(x.canonical, y):
        layer = site.layer - shift
        if site.tower != "text" or not _chosen(axis.name, site, layer, seed):
            continue
        rng = generator(seed, "units", site.units)
        plans = plan_site(x.canonical, y, site, axis.units, 1, rng)
        for plan in plans[:1]:
            here = -1 if expert is not None else site.expert
            yield Job(name, x, plan, (layer, here), (site.layer, site.expert))


def _chosen(axis: str, site: Site, layer: int, seed: int) -> bool:
    """Some heads and experts of every layer of X, the same whichever layer of Y they are held against."""
    if axis == "value-dims":
        pick = generator(seed, "search heads", layer).permutation(256)
        return bool(np.count_nonzero(pick[: site.expert] < pick[site.expert]) < HEADS) if site.expert < 256 else False
    return not (axis == "expert-units" and site.expert >= EXPERTS)


Place = tuple[str, bytes, tuple[int, int]]


def _without_copies_of_fitted(rows: Rows, jobs: list[Job], y: Canonical, frame: Frame, swap: bool) -> list[Job]:
    """The jobs without units whose order is in the map: those of a layer that the frame was fitted on, or of a copy of it, in either model."""
    ours, theirs = (frame.theirs, frame.layers) if swap else (frame.layers, frame.theirs)
    used = [j for j in jobs if j.axis in _UNITS and (frame.units is None or np.isin(j.plan.units, frame.units).any())]
    if not ours or not used:
        return jobs
    x_places: dict[Place, F32] = {}
    y_places: dict[Place, F32] = {}
    for job in used:
        x_places.setdefault(_place(job, job.x_at), rows.sketch(job.x, job.plan, rows.q_x))
        y_places.setdefault(_place(job, job.y_at), rows.sketch(as_it_is(y, job.plan), job.plan, rows.q_y))
    x_out = _alike(x_places, [p for p in x_places if p[2][0] in ours])
    y_out = _alike(y_places, [p for p in y_places if p[2][0] in theirs])
    return [j for j in jobs if _place(j, j.x_at) not in x_out and _place(j, j.y_at) not in y_out]  # of other axes none is there


def _place(job: Job, at: tuple[int, int]) -> Place:
    return job.axis, job.plan.units.tobytes(), at


def _alike(sketches: dict[Place, F32], some: Sequence[Place]) -> set[Place]:
    """Some places of one model, and all that are copies of one of them."""
    out = set(some)
    for kind in {p[:2] for p in some}:
        places = [p for p in sketches if p[:2] == kind]
        like = alike([sketches[p] for p in places])[:, [p in out for p in places]]
        out |= {places[i] for i in np.flatnonzero(like.any(axis=1))}
    return out


def _copies(rows: Rows, jobs: Sequence[Job]) -> set[tuple[str, tuple[int, int]]]:
    """Lotteries of X that are another's copy, seen in X alone: of every group of copies the first counts."""
    by_kind: dict[tuple[str, bytes, int], dict[tuple[int, int], F32]] = defaultdict(dict)
    for job in jobs:
        sketch = rows.sketch(job.x, job.plan, rows.q_x)
        by_kind[job.axis, job.plan.units.tobytes(), len(sketch)].setdefault(job.x_at, sketch)
    out = set()
    for (axis, _, _), found in by_kind.items():
        if len(found) < 2:
            continue
        places = sorted(found)
        same = alike([found[p] for p in places])
        out |= {(axis, p) for i, p in enumerate(places) if same[i, :i].any()}
    return out


def needed_of(tests: Sequence[PairTest], searches: int = 1) -> float:
    """The log10 e-value from which a pair of layers counts as found, of so many searches of these tests."""
    return POLICY.part_log10_e + math.log10(max(1, len({(t.layer_b, t.layer_a) for t in tests})) * max(1, searches))


def best_layers(tests: Sequence[PairTest], needed: float) -> dict[int, tuple[int, float]]:
    """Layer of B → (the layer of A whose units it holds best, log10 e-value of that pair), where it reaches `needed`; of equal ones its own index."""
    logs: dict[int, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for t in tests:
        logs[t.layer_b][t.layer_a].append(log_e_single(t.hits, t.m))
    out = {}
    for layer_b, by_a in logs.items():
        score = {layer_a: sum(x) / np.log(10) for layer_a, x in by_a.items()}
        layer_a = max(sorted(score), key=lambda i: (round(score[i], 6), i == layer_b))
        if layer_b >= 0 and score[layer_a] >= needed:
            out[layer_b] = (layer_a, float(score[layer_a]))
    return out
