"""What a route is, and what all of them are given.

Enters and leaves: see the package.  Frames: `begat.pipeline.frames`; tests in a frame: `begat.pipeline.search`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from begat.alignment import RouteResult
from begat.canon.model import Canonical
from begat.errors import InputError
from begat.pipeline.frames import Frame, from_tokens
from begat.pipeline.own import ONE_DRAW, one_draw
from begat.pipeline.pose import Features
from begat.pipeline.resemblance import Resemblance, partners_of, resemblance
from begat.pipeline.search import Job, Search, best_layers, depth_of, has_experts, needed_of, plan_jobs, search, x_is_b
from begat.registry import Registry
from begat.source.tokens import SharedTokens, read_vocabulary, same_rows, shared_tokens
from begat.stats.order import LN10, log_mean_exp
from begat.types import TensorKey

T = TypeVar("T")


class Context:
    """Two models and what several routes need of them, made once."""

    def __init__(self, a: Canonical, b: Canonical, seed: int) -> None:
        self.a, self.b, self.seed, self.features = a, b, seed, Features()
        self.frames: dict[str, Frame] = {}  # route that ran → its best frame
        self.kept: dict[str, Any] = {}  # what one step found and another asks for again

    def once(self, name: str, make: Callable[[], T]) -> T:
        """What `make` gives, made at the first call under this name."""
        if name not in self.kept:
            self.kept[name] = make()
        kept: T = self.kept[name]
        return kept

    @property
    def same_shape(self) -> bool:
        """Equal depth, and both dense or both mixtures."""
        return depth_of(self.a) == depth_of(self.b) and has_experts(self.a) == has_experts(self.b)

    @property
    def units(self) -> tuple[int, int]:
        """MLP units of a layer of A and of B, 0 where there are none."""
        return self._units(self.a), self._units(self.b)

    @staticmethod
    def _units(model: Canonical) -> int:
        sizes = {t.shape[0] for k, t in model.tensors.items() if k.tower == "text" and k.role == "mlp.up.weight"}
        return max(sizes, default=0)

    @property
    def same_width(self) -> bool:
        """Residual streams of one known width."""
        widths = {m.geometry["text"].width if "text" in m.geometry else None for m in (self.a, self.b)}
        return len(widths) == 1 and None not in widths

    @cached_property
    def shared(self) -> SharedTokens | str:
        """The tokens both know, or why that is unknown. A broken tokenizer is a reason, never an error."""
        key = TensorKey("text", -1, "embed.tokens")
        if any(key not in m.tensors for m in (self.a, self.b)):
            return "one of the models has no token embedding"
        rows = [m.tensors[key].shape[0] for m in (self.a, self.b)]
        try:
            known = [read_vocabulary(m.checkpoint.path) for m in (self.a, self.b)]
        except InputError as error:
            return error.line()
        if known[0] is None or known[1] is None:
            if rows[0] == rows[1]:
                return same_rows(rows[0])
            return "which tokens the two share is unknown: no tokenizer beside one of them, and vocabularies of unequal size"
        found = shared_tokens(known[0], known[1], *rows)
        return found if len(found.ids_a) >= 2 else "they have no token in common"

    @cached_property
    def one_draw(self) -> bool:
        """Both models look as if all their tensors were drawn from one random key each: then no order is independent of another."""
        return all(one_draw(m) is not None for m in (self.a, self.b))

    @cached_property
    def token_frame(self) -> Frame | str:
        """The frame from shared tokens, or why there is none."""
        shared = self.shared
        if isinstance(shared, str):
            return shared
        if self.one_draw:
            return ONE_DRAW
        frame = from_tokens(self.a, self.b, shared, self.seed, self.features)
        return frame if frame is not None else "no token embedding or head in common"

    @cached_property
    def resemblance(self) -> Resemblance | str:
        """Which layer of A each layer of B resembles, or why that is unknown."""
        return resemblance(self.a, self.b, self.seed, self.features)

    def partner(self, layer: int) -> int:
        """The layer of A that a layer of B is held against where one is needed: the same, unless another resembles it plainly more."""
        if depth_of(self.a) != depth_of(self.b):
            return layer
        return partners_of(self.resemblance, [layer])[layer]

    @cached_property
    def jobs(self) -> list[Job]:
        """Every order test that a search over all layers makes."""
        return plan_jobs(self.a, self.b, self.seed, everywhere=True)

    def search(self, frame: Frame, everywhere: bool = True) -> Search:
        """All order tests in one frame.

        Between models of one build first each layer of B against the layer of A that it resembles, which is chosen by no order; where that leaves a
        layer of B without a counterpart, every layer against every other (not `everywhere`: only where it found some layer).
        The two count half each, what was not run as 0.
        """
        if not self.same_shape:
            return search(self.a, self.b, frame, self.seed, self.features, self.jobs)
        swap, depth = x_is_b(self.a, self.b), depth_of(self.b)
        pairs = {(i, self.partner(i)) if swap else (self.partner(i), i) for i in range(depth)}
        first = search(self.a, self.b, frame, self.seed, self.features, [j for j in self.jobs if (j.x_at[0], j.y_at[0]) in pairs])
        found = best_layers(first.tests, needed_of(first.tests))
        if len(found) == depth or not (found or everywhere):
            return replace(first, log_e=first.log_e - math.log(2))
        every = self.search_everywhere(frame)
        return replace(every, log_e=log_mean_exp([first.log_e, every.log_e]))

    def search_everywhere(self, frame: Frame) -> Search:
        """Every layer of A against every layer of B in one frame."""
        return search(self.a, self.b, frame, self.seed, self.features, self.jobs)


@dataclass(frozen=True, slots=True)
class Route:
    """One way: what it is called, its null in words, and the function that runs it."""

    name: str
    title: str
    null: str
    run: Callable[[Context], RouteResult]


ROUTES: Registry[Route] = Registry("route")


def route(name: str, title: str, null: str) -> Callable[[Callable[[Context, Route], RouteResult]], Route]:
    """Decorator: register the function as a route."""

    def put(run: Callable[[Context, Route], RouteResult]) -> Route:
        made = Route(name, title, null, lambda context: run(context, made))
        return ROUTES.add(name)(made)

    return put


def skipped(which: Route, why: str) -> RouteResult:
    """The route was not taken, and why."""
    return RouteResult(which.name, which.title, "", which.null, (), None, why)


def result(context: Context, which: Route, found: Sequence[tuple[Frame, Search]]) -> RouteResult:
    """The result over the alternative frames of a route: the mean of their e-values. The best frame is kept in the context."""
    tests = tuple(t for _, s in found for t in s.tests)
    if not tests:
        return skipped(which, "no order was left to test")
    log_e = log_mean_exp([s.log_e for _, s in found])
    best = int(np.argmax([s.log_e for _, s in found]))
    context.frames[which.name] = found[best][0]
    return RouteResult(which.name, which.title, found[best][0].fitted_on, which.null, found[best][1].tests, log_e / LN10)
