"""What a published method is: what it needs, what it claims, and how it scores two models.

Enters: two `Model`s.  Leaves: a `Score`: one number, or the reason why there is none.  The registry: `METHODS`.  A method is one file that
calls `METHODS.add`, named in `__init__.py`; `tests/lab/methods/test_contract.py` picks it up.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from begat.registry import Registry
from begat_lab.methods.model import Model, NotFiniteError

#: Kinds of change under which a method's paper says that the score does not change (`Method.survives`).
CHANGES = ("mlp-permutation", "residual-permutation", "residual-rotation")


@dataclass(frozen=True, slots=True)
class Score:
    """What a method says of two models.

    Attributes:
        value: the statistic; of methods with `p_value` it is -log10 p. None when nothing was computed.
        reason: why there is no value; "" when there is one.
        detail: further numbers of the method, for the bench's raw results.
    """

    value: float | None
    reason: str = ""
    detail: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.value is None) == (self.reason == "") or (self.value is not None and not math.isfinite(self.value)):
            raise ValueError(f"a score is a finite value or a reason, not {self.value!r} with {self.reason!r}")


def no_score(reason: str) -> Score:
    """There is no value, and this is why."""
    return Score(None, reason)


Compute = Callable[[Model, Model, np.random.Generator], Score]


@dataclass(frozen=True, slots=True)
class Method:
    """A method of the literature, as far as its formulas are known.

    Attributes:
        title, paper: what it is, and where it comes from (title, arXiv id, section).
        needs: "weights", or "forward" when both models must run.
        symmetric: score(a, b) = score(b, a) up to rounding.
        p_value: the value is -log10 p of a null that the module docstring states.
        equal_shape: models whose tensors have other shapes get a reason.
        survives: which of `CHANGES` the paper claims to survive; what the bench then measures is another matter.
        sees_noise: ranks a noisy copy above a stranger even among random weights (statistics of a few numbers need not).
        higher_is_more_related: the direction of the value.
    """

    title: str
    paper: str
    needs: str
    compute: Compute
    symmetric: bool = True
    p_value: bool = False
    equal_shape: bool = True
    survives: frozenset[str] = frozenset()
    sees_noise: bool = True
    higher_is_more_related: bool = True

    def __post_init__(self) -> None:
        if self.needs not in ("weights", "forward") or not self.survives <= set(CHANGES):
            raise ValueError(f"{self.title}: needs {self.needs!r}, survives {sorted(self.survives)}")

    def score(self, a: Model, b: Model, rng: np.random.Generator | None = None) -> Score:
        """Score two models. `rng` chooses what a sampling method samples (by default always the same)."""
        if self.needs == "forward" and not (a.can_run and b.can_run):
            return no_score(a.why_not_run or b.why_not_run)
        try:
            return self.compute(a, b, rng if rng is not None else np.random.default_rng(0))
        except NotFiniteError as error:
            return no_score(str(error))

    def relatedness(self, score: Score) -> float | None:
        """The value turned so that higher is more related."""
        if score.value is None:
            return None
        return score.value if self.higher_is_more_related else -score.value


METHODS: Registry[Method] = Registry("method")
