"""Experts of one mixture against experts of another in another order: which to hold against which, and the tests.

Enters: two mixtures of equal depth, a frame.  Leaves: a `Search` over the order of units inside experts, as `search.py` leaves for layers.

Null and assumption. The order of units inside an expert of X is uniform given everything else, Y included. Experts of X are chosen publicly. Its
partner in Y is the expert of the same layer with the greatest mean, over the sampled units, of their best similarity with any sampled unit there. That
number does not change when the sampled units of either are put in another order: it depends on *which* units were sampled, never on how they stand among
themselves. Given it, and given Y, their order is still uniform, so a unit finds its own index with chance at most 1 in the sample, and nothing is
to be paid for the choice. Experts of X are independent lotteries but for copies inside X, of which one counts (`begat.stats.search`).
Among many experts the partner is looked for among those whose router rows are most alike, which depends on no unit at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from begat.canon.model import Canonical
from begat.pipeline.frames import Frame
from begat.pipeline.mlps import likest, router_rows
from begat.pipeline.pose import Features, Pose
from begat.pipeline.rows import Rows, as_it_is
from begat.pipeline.sampling import generator, plan_site
from begat.pipeline.search import EXPERTS, Job, Search, run, x_is_b
from begat.signals.axes import AXES, Site
from begat.signals.axes.base import is_symmetric
from begat.signals.axes.mlp_units import unit_views, units_of
from begat.types import TensorKey

#: layers of a mixture that are looked at, and experts of a layer among which a partner is looked for
LAYERS, CANDIDATES = 8, 32
#: two candidates closer than this are alike, and the first is taken: rounding may differ with the position of a unit
_TIE = 1e-4


def search_experts(a: Canonical, b: Canonical, frame: Frame, seed: int, features: Features) -> Search:
    """Tests of some experts of X, each with its partner in Y, in one frame. No tests where no expert fits another.

    X is the model with fewer experts: of many that few were chosen from, most have no partner.
    """
    most = [max((k.expert for k in m.tensors if k.tower == "text"), default=-1) for m in (a, b)]
    swap = most[1] < most[0] if most[0] != most[1] else x_is_b(a, b)
    x, y = (b, a) if swap else (a, b)
    q_x, q_y = (None, frame.q_DE) if swap else (frame.q_DE, None)
    rows = Rows(features, q_x, q_y, seed)
    jobs = [job for layer in _layers(x, y) for job in _of_layer(rows, x, y, layer, seed)]
    return run(jobs, rows, y, frame, swap)


def _experts(model: Canonical, layer: int) -> list[int]:
    return sorted(k.expert for k in model.tensors if k.tower == "text" and k.layer == layer and k.role == "expert.up.weight")


def _layers(x: Canonical, y: Canonical) -> list[int]:
    """Layers with experts in both, some of them evenly spread."""
    if not is_symmetric(x, y, "text", "expert-units"):
        return []
    with_experts = [{k.layer for k in m.tensors if k.tower == "text" and k.role == "expert.up.weight"} for m in (x, y)]
    layers = sorted(with_experts[0] & with_experts[1])
    at = np.linspace(0, len(layers) - 1, min(LAYERS, len(layers))).round().astype(int)
    return [layers[i] for i in sorted(set(at.tolist()))]


def _of_layer(rows: Rows, x: Canonical, y: Canonical, layer: int, seed: int) -> Iterator[Job]:
    """One job for each of some experts of X."""
    mine, theirs = _experts(x, layer), _experts(y, layer)
    chosen = generator(seed, "experts", layer).permutation(len(mine))[:EXPERTS]
    for expert in sorted(mine[i] for i in chosen):
        found = [(_likeness(rows, job, y), job) for other in _near(rows, x, y, layer, expert, theirs) for job in _job(x, y, layer, expert, other, seed)]
        if found:
            best = max(score for score, _ in found)
            yield next(job for score, job in found if score >= best - _TIE)


def _job(x: Canonical, y: Canonical, layer: int, expert: int, other: int, seed: int) -> Iterator[Job]:
    """X's expert posed as Y's `other`; none where their shapes differ."""
    real = {replace(k, expert=other): k for k in _keys(x, layer, expert)}
    posed = Pose(x, replace(x, tensors={new: replace(x.tensors[old], key=new) for new, old in real.items()}), real)
    up = TensorKey("text", layer, "expert.up.weight", other)
    views = unit_views(posed.canonical, y, up, "expert")
    units = units_of(posed.canonical, y, views)
    if units > 1:
        site = Site("text", layer, other, units, views)
        for plan in plan_site(posed.canonical, y, site, AXES["expert-units"].units, 1, generator(seed, "units", units))[:1]:
            yield Job("expert-units", posed, plan, (layer, expert), (layer, other))


def _keys(x: Canonical, layer: int, expert: int) -> list[TensorKey]:
    roles = [f"expert.{part}.{kind}" for part in ("gate", "up", "down") for kind in ("weight", "bias")]
    return [k for k in (TensorKey("text", layer, role, expert) for role in roles) if k in x.tensors]


def _likeness(rows: Rows, job: Job, y: Canonical) -> float:
    """Mean over X's sampled units of their best similarity with any of Y's: the same however either's units are ordered."""
    x_MD = rows.of(job.x, job.plan, rows.q_x)[1]
    y_MD = rows.of(as_it_is(y, job.plan), job.plan, rows.q_y)[1]
    if x_MD.shape[1] != y_MD.shape[1]:
        return -1.0
    return float(np.sort((x_MD @ y_MD.T).max(axis=1)).mean(dtype=np.float64))


def _near(rows: Rows, x: Canonical, y: Canonical, layer: int, expert: int, theirs: Sequence[int]) -> list[int]:
    """The experts of Y among which a partner is looked for: all, or those whose router rows are most alike."""
    if len(theirs) <= CANDIDATES:
        return list(theirs)
    one_ED = router_rows(x, layer, [expert], rows.q_x, rows.features)
    all_ED = router_rows(y, layer, theirs, rows.q_y, rows.features)
    if one_ED is None or all_ED is None or one_ED.shape[1] != all_ED.shape[1]:
        return list(theirs[:CANDIDATES])
    return [theirs[i] for i in likest(one_ED[0], all_ED, CANDIDATES)]
