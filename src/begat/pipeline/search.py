"""Order tests between units whose counterpart is not known, in one frame: layers against layers, dense MLPs against experts.

Enters: two models and a frame (how A's residual stream lies in B's).  Leaves: `Search`: every test with its places in A and B, and one log
e-value that has paid for the search (`begat.stats.search`).  Frames and why the test stays exact in them: `begat.pipeline.frames`.

Models of equal depth and kind are tested layer by layer; otherwise every layer of one against every layer of the other, and the MLP of a dense
model against the experts of a mixture (mixture against mixture: `experts.py`). X, whose lotteries are multiplied, is the model with fewer of them: the
shallower, else the dense one, else A.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from begat.alignment import PairTest
from begat.canon.model import Canonical
from begat.pipeline.by_index import WORTH, ByIndex
from begat.pipeline.frames import Frame
from begat.pipeline.pose import KEPT_BYTES, Features, Kept, Pose, pose
from begat.pipeline.sampling import Plan, generator, plan_site
from begat.signals.axes import AXES, Site
from begat.signals.kinship import alike, signs, sketch_of
from begat.signals.order import order_hits, strict_hits, unit_rows, varies
from begat.stats.order import LN10, log_e_combined, log_e_single
from begat.stats.search import log_e_search
from begat.types import F32, OrderTest, TensorKey

Rename = Callable[[TensorKey], TensorKey | None]

#: experts of a layer that a dense MLP is held against, and heads of a layer that are tested
EXPERTS, HEADS = 4, 2
#: numbers that are mapped in one product
_BATCH = KEPT_BYTES // 32
#: axes whose order a frame leaves alone
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


def search(a: Canonical, b: Canonical, frame: Frame, seed: int, features: Features) -> Search:
    """Run all order tests between A and B in one frame."""
    swap = x_is_b(a, b)
    x, y = (b, a) if swap else (a, b)
    q_x, q_y = (None, frame.q_DE) if swap else (frame.q_DE, None)
    return run(list(_jobs(x, y, frame, seed)), Rows(features, q_x, q_y, seed), y, frame, swap)


def run(jobs: list[Job], seen: Rows, y: Canonical, frame: Frame, swap: bool) -> Search:
    """The tests of all jobs, every lottery of X with each of its candidates; `swap`: X is B."""
    seen.expect(jobs, y)
    jobs = _without_copies_of_fitted(seen, jobs, y, frame)
    outcomes = _without_index_orders(seen, [(job, *seen.hits(job, y)) for job in jobs], y)
    copies = _copies(seen, jobs)
    by_axis: dict[str, dict[tuple[int, int], list[float]]] = defaultdict(lambda: defaultdict(list))
    tests = []
    for job, m, hits in outcomes:
        if m < 2:
            continue
        if (job.axis, job.x_at) not in copies:
            by_axis[_lottery_axis(job)][job.x_at].append(log_e_single(hits, m))
        here, there = (job.y_at, job.x_at) if swap else (job.x_at, job.y_at)
        tests.append(PairTest(job.axis, *here, *there, m, hits, counted=(job.axis, job.x_at) not in copies))
    logs = {axis: log_e_search(found) for axis, found in by_axis.items()}
    return Search(tuple(tests), log_e_combined(list(logs.values())), logs)


def _without_index_orders(rows: Rows, outcomes: list[tuple[Job, int, int]], y: Canonical) -> list[tuple[Job, int, int]]:
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
        kept = by_index.keep(list(tests.values()))
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


def _jobs(x: Canonical, y: Canonical, frame: Frame, seed: int) -> Iterator[Job]:
    depth_x, depth_y = depth_of(x), depth_of(y)
    shifts = range(1 - depth_x, depth_y) if depth_x != depth_y else range(1)
    for shift in shifts:
        for posed, expert in _poses(x, y, shift, frame, seed):
            for name in _WITHIN if expert is None else ("mlp-units", "expert-units"):
                yield from _sites(name, posed, y, shift, expert, frame, seed)


def _poses(x: Canonical, y: Canonical, shift: int, frame: Frame, seed: int) -> Iterator[tuple[Pose, int | None]]:
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


def _sites(name: str, x: Pose, y: Canonical, shift: int, expert: int | None, frame: Frame, seed: int) -> Iterator[Job]:
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


class Rows:
    """Unit rows of X and Y in one frame (q_x, q_y: maps of their residual streams), each made once; those expected next are mapped together."""

    def __init__(self, features: Features, q_x: F32 | None, q_y: F32 | None, seed: int) -> None:
        self.features, self.q_x, self.q_y, self.seed = features, q_x, q_y, seed
        self._kept: Kept[tuple[object, ...], tuple[list[F32], F32, bool]] = Kept()
        self._expected: list[tuple[Pose, Plan]] = []
        self._places: dict[tuple[object, ...], int] = {}
        self._signs: dict[int, F32] = {}

    def expect(self, jobs: Sequence[Job], y: Canonical) -> None:
        """What will be asked for, in about the order in which it will be."""
        jobs = sorted(jobs, key=lambda j: j.axis)
        self._expected = [(j.x, j.plan) for j in jobs] if self.q_x is not None else [(as_it_is(y, j.plan), j.plan) for j in jobs]
        self._places = {self._key(*wanted): i for i, wanted in reversed(list(enumerate(self._expected)))}

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
        return made[0]

    def sketch(self, x_MD: F32) -> F32:
        """`kinship.sketch` of unit rows, with one set of signs for all of a width."""
        width = x_MD.shape[1]
        if width not in self._signs:
            self._signs[width] = signs(width, generator(self.seed, "signs", width))
        return sketch_of(x_MD, self._signs[width])

    def hits(self, job: Job, y: Canonical) -> tuple[int, int]:
        """(units, hits) of one test."""
        x_blocks, x_MD, x_whole = self.of(job.x, job.plan, self.q_x)
        y_blocks, y_MD, y_whole = self.of(as_it_is(y, job.plan), job.plan, self.q_y)
        if x_whole and y_whole and x_MD.shape == y_MD.shape and len(x_MD) > 1:
            return len(x_MD), strict_hits(x_MD @ y_MD.T)
        found = order_hits(x_blocks, y_blocks)
        return found.m, found.hits


def as_it_is(model: Canonical, plan: Plan) -> Pose:
    """A model under its own keys, as far as a plan reads it."""
    return Pose(model, model, {v.key: v.key for v in plan.site.views})


def _without_copies_of_fitted(rows: Rows, jobs: list[Job], y: Canonical, frame: Frame) -> list[Job]:
    """The jobs without those at a layer that the frame was fitted on, or at a copy of it in either model: its order is in the map."""
    if not frame.layers:
        return jobs
    by_kind: dict[tuple[str, bytes], list[Job]] = defaultdict(list)
    for job in jobs:
        by_kind[job.axis, job.plan.units.tobytes()].append(job)
    out = []
    for group in by_kind.values():
        fitted = [j for j in group if j.x_at[0] in frame.layers]
        others = [j for j in group if j.x_at[0] not in frame.layers]
        if fitted and others:
            same = np.zeros((len(group), len(group)), dtype=bool)
            for blocks in (
                [rows.of(j.x, j.plan, rows.q_x)[1] for j in group],
                [rows.of(as_it_is(y, j.plan), j.plan, rows.q_y)[1] for j in group],
            ):
                same |= alike([rows.sketch(x_MD) for x_MD in blocks])
            at = [i for i, j in enumerate(group) if j.x_at[0] in frame.layers]
            others = [j for i, j in enumerate(group) if not same[i, at].any()]
        out += others
    return out


def _copies(rows: Rows, jobs: Sequence[Job]) -> set[tuple[str, tuple[int, int]]]:
    """Lotteries of X that are another's copy, seen in X alone: of every group of copies the first counts."""
    by_kind: dict[tuple[str, bytes, int], dict[tuple[int, int], F32]] = defaultdict(dict)
    for job in jobs:
        x_MD = rows.of(job.x, job.plan, rows.q_x)[1]
        by_kind[job.axis, job.plan.units.tobytes(), x_MD.shape[1]].setdefault(job.x_at, x_MD)
    out = set()
    for (axis, _, _), found in by_kind.items():
        if len(found) < 2:
            continue
        places = sorted(found)
        same = alike([rows.sketch(found[p]) for p in places])
        out |= {(axis, p) for i, p in enumerate(places) if same[i, :i].any()}
    return out


def best_layers(tests: Sequence[PairTest], needed: float) -> dict[int, tuple[int, float]]:
    """Layer of B → (the layer of A whose units it holds best, log10 e-value of that pair), where it reaches `needed`."""
    logs: dict[int, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for t in tests:
        logs[t.layer_b][t.layer_a].append(log_e_single(t.hits, t.m))
    out = {}
    for layer_b, by_a in logs.items():
        score = {layer_a: sum(x) / np.log(10) for layer_a, x in by_a.items()}
        layer_a = max(sorted(score), key=lambda i: score[i])
        if score[layer_a] >= needed:
            out[layer_b] = (layer_a, float(score[layer_a]))
    return out
