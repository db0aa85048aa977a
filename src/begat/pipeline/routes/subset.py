"""A subset in order: MLPs from which units were left out (width pruning), or whose units are spread over experts that keep their order.

Enters, leaves: as every route.  The longest increasing run: `begat.signals.monotone`; its null: `begat.stats.monotone`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from begat.alignment import PairTest, RouteResult
from begat.canon.model import Canonical
from begat.pipeline.frames import Frame, same_basis
from begat.pipeline.pose import Pose
from begat.pipeline.routes.base import Context, Route, route, skipped
from begat.pipeline.sampling import generator
from begat.pipeline.search import depth_of
from begat.signals.axes import View
from begat.signals.axes.base import is_symmetric
from begat.signals.indexed import LEAST, index_scores, indexed
from begat.signals.kinship import alike, signs, sketch
from begat.signals.monotone import order_of_subset
from begat.signals.order import unit_rows
from begat.stats.monotone import log_e_increasing
from begat.stats.order import LN10, log_mean_exp
from begat.stats.search import log_e_search
from begat.types import F32, I64, TensorKey

#: units of the narrower model that are matched in one layer, and experts of a layer that are looked at
_UNITS, _EXPERTS = 192, 4
#: pairs of layers beyond which a search over layers keeps to equal relative depth
_PAIRS = 1024


@route(
    "subset",
    "units kept in order",
    "Matched one to one by a rule that looks at no position, the units of the narrower layer stand in uniform order, so the longest run whose "
    "partners stand in increasing order has at least k of n units with chance at most C(n, k)/k!. Layers and experts searched over are averaged.",
)
def subset(context: Context, which: Route) -> RouteResult:
    """In the same basis and, where tokens are shared, in the frame they give: averaged."""
    mlps = [_mlps(m) for m in (context.a, context.b)]
    if not all(mlps):
        return skipped(which, "one of the models has no MLPs whose units are interchangeable")
    sizes = [max(m.tensors[k].shape[0] for k in found) for m, found in zip((context.a, context.b), mlps, strict=True)]
    if sizes[0] == sizes[1]:
        return skipped(which, "the MLPs are equally wide: the order test sees them whole")
    frames = [same_basis()] if context.same_width else []
    if not isinstance(context.token_frame, str):
        frames.append(context.token_frame)
    if not frames:
        return skipped(which, "the residual streams are not equally wide and no tokens are shared")
    found = [_Matching(context, mlps, sizes, frame).run() for frame in frames]
    best = int(np.argmax([log_e for _, log_e in found]))
    log_e = log_mean_exp([log_e for _, log_e in found])
    context.frames[which.name] = frames[best]
    return RouteResult(which.name, which.title, frames[best].fitted_on, which.null, tuple(found[best][0]), log_e / LN10)


def _mlps(model: Canonical) -> list[TensorKey]:
    """The up matrices of all MLPs and of some experts of every layer, where their units are interchangeable."""
    axes = {"mlp.up.weight": "mlp-units", "expert.up.weight": "expert-units"}
    return [
        k for k in sorted(model.tensors)
        if k.tower == "text" and k.role in axes and k.expert < _EXPERTS and is_symmetric(model, model, "text", axes[k.role])
    ]  # fmt: skip


class _Matching:
    """All matchings of the narrower model's MLPs with the wider one's in one frame."""

    def __init__(self, context: Context, mlps: list[list[TensorKey]], sizes: list[int], frame: Frame) -> None:
        self.context, self.swap = context, sizes[1] > sizes[0]  # A is the narrower one
        models = (context.a, context.b) if self.swap else (context.b, context.a)
        self.narrow, self.wide = models
        self.keys = mlps if self.swap else mlps[::-1]
        self.maps = (frame.q_DE, None) if self.swap else (None, frame.q_DE)

    def run(self) -> tuple[list[PairTest], float]:
        """Tests, and the natural log of the e-value of this frame."""
        tests, logs = [], dict[tuple[int, int], list[float]]()
        samples = {key: self._rows(self.narrow, key, self.maps[0], self._sample(key)) for key in self.keys[0]}
        copies = self._copies(samples)
        for there in self.keys[1]:
            a_FD = self._rows(self.wide, there, self.maps[1], None)
            for here in self.keys[0]:
                if not self._candidates(here, there) or samples[here].shape[1] != a_FD.shape[1]:
                    continue
                if self._by_index(samples[here], self._sample(here), a_FD):
                    continue
                found = order_of_subset(samples[here], a_FD)
                places = ((here.layer, here.expert), (there.layer, there.expert))
                (la, ea), (lb, eb) = places if self.swap else places[::-1]
                tests.append(PairTest("mlp-subset", la, ea, lb, eb, found.matched, found.increasing, counted=here not in copies))
                if here not in copies:
                    logs.setdefault((here.layer, here.expert), []).append(log_e_increasing(found.increasing, found.matched))
        return tests, log_e_search(logs)

    @staticmethod
    def _by_index(b_MD: F32, units: I64, a_FD: F32) -> bool:
        """The units of both stand in an order that their index fixes, so that equal order proves nothing."""
        if len(units) < LEAST:
            return False
        at = np.linspace(0, len(a_FD) - 1, len(units)).astype(np.int64)
        return indexed(index_scores([b_MD], units, at), index_scores([a_FD[at]], at, at))

    def _candidates(self, here: TensorKey, there: TensorKey) -> bool:
        depths = [depth_of(m) for m in (self.narrow, self.wide)]
        if depths[0] == depths[1]:
            return here.layer == there.layer
        near = abs(here.layer / depths[0] - there.layer / depths[1]) <= 1 / min(depths)
        return near or len(self.keys[0]) * len(self.keys[1]) <= _PAIRS

    def _sample(self, key: TensorKey) -> I64:
        n = self.narrow.tensors[key].shape[0]
        pick = generator(self.context.seed, "subset units", n).permutation(n)[:_UNITS]
        return np.sort(pick).astype(np.int64)

    def _rows(self, model: Canonical, key: TensorKey, q_DE: F32 | None, units: I64 | None) -> F32:
        at = np.arange(model.tensors[key].shape[0]) if units is None else units
        roles = [key.role, key.role.replace(".up.", ".gate.")]
        keys = [replace(key, role=role) for role in roles]
        views = tuple(View(k, "rows") for k in keys if k in model.tensors)
        posed = Pose(model, model, {v.key: v.key for v in views})
        return unit_rows(self.context.features.blocks(posed, views, at, q_DE))

    def _copies(self, samples: dict[TensorKey, F32]) -> set[TensorKey]:
        """MLPs of the narrower model that are copies of an earlier one, seen in it alone."""
        places = sorted(samples)
        by_shape: dict[tuple[int, ...], list[TensorKey]] = {}
        for key in places:
            by_shape.setdefault(samples[key].shape, []).append(key)
        out = set()
        for (_, features), keys in by_shape.items():
            s_DS = signs(features, generator(self.context.seed, "signs", features))
            same = alike([sketch([samples[k]], s_DS) for k in keys])
            out |= {k for i, k in enumerate(keys) if same[i, :i].any()}
        return out
