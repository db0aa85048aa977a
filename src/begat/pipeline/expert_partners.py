"""Which expert of A each expert of B is, at equal layers, before a part of a mixture is said to
show nothing.

Enters: two mixtures and their order tests at equal index.  Leaves: `Matched`: an `ExpertMatch` for
every expert of B that has a counterpart, and A posed under B's numbers, for the map, the kind and
the parts.  In a frame of another basis: `experts.py`.

Null and assumption. The order of units inside an expert of B is uniform given everything else, A
included. Candidates are the experts of A with the greatest mean, over the sampled units, of their
best similarity with any sampled unit there. That number stays the same in whatever order the
sampled units of either stand, and the test looks at the same units, so choosing by it costs nothing
(`tests/stats/test_search.py`). Of several candidates that are tested the mean of the e-values is
taken, which pays for their number. E-values of different experts are averaged, never multiplied:
experts may be copies of one another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from begat.canon.model import Canonical
from begat.pipeline.by_index import ByIndex
from begat.pipeline.expert_layer import Layer
from begat.pipeline.expert_pose import Place, experts_of, posed_experts
from begat.signals.axes.base import is_symmetric
from begat.stats.order import LN10, log_e_single
from begat.types import AxisResult, ExpertMatch, OrderTest, TensorKey
from begat.verdict import POLICY


@dataclass(frozen=True, slots=True)
class Matched:
    """What was found.

    Attributes:
        matches: experts of B with a counterpart in A, those at their own index included where their
            layer was looked at.
        looked: experts of B that were looked for, by (tower, layer): expert → "found", "alike"
            (resembles one, units in another order), "none", or "spare" (B has more experts than A,
            and A's are others' as far as was looked).
        posed: A under B's numbers in these layers; None where nothing was looked at.
        left: (tower, layer) → experts of A that no expert of B holds, where every expert was looked
            for.
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
        return frozenset(
            k
            for k in b.tensors
            if self.looked.get((k.tower, k.layer), {}).get(k.expert, "found") in ("none", "spare")
        )


NOTHING_LOOKED_AT = Matched((), {}, None)


def match_experts(
    a: Canonical, b: Canonical, axes: Sequence[AxisResult], seed: int, every: bool
) -> Matched:
    """Look for the experts of every layer whose experts do not all sit at their own index.

    Args:
        axes: the order tests at equal index.
        every: read some units of every expert, not of a few of each layer.
    """
    tests: list[tuple[ExpertMatch, OrderTest]] = []
    looked: dict[Place, dict[int, str]] = {}
    left: dict[Place, tuple[int, ...]] = {}
    by_index = ByIndex(a, b)
    for place in _places(a, b, axes):
        layer = Layer(a, b, place, seed, every, by_index)
        if layer.plan is None:
            continue
        found, states = layer.match()
        tests += found
        looked[place] = states
        if every:
            left[place] = tuple(
                sorted(set(layer.theirs) - {e for m, _ in found for e in m.experts_a})
            )
    if not looked:
        return NOTHING_LOOKED_AT
    matches = _not_by_index(tests, looked, by_index)
    in_place = all(m.experts_a in ((m.expert_b,), ()) for m in matches) and all(
        experts_of(a, p) == experts_of(b, p) for p in looked
    )
    return Matched(
        tuple(matches), looked, None if in_place else _posed(a, b, matches, looked), left
    )


def _posed(
    a: Canonical, b: Canonical, matches: Sequence[ExpertMatch], looked: dict[Place, dict[int, str]]
) -> Canonical:
    """A under B's numbers; an expert without a counterpart keeps its own unless another of B has
    it.
    """
    sources: dict[Place, dict[int, int]] = {}
    for place, states in looked.items():
        first = {
            m.expert_b: m.experts_a[0]
            for m in matches
            if (m.tower, m.layer) == place and m.experts_a
        }
        sources[place] = {
            e: first.get(e, e) for e in states if e in first or e not in first.values()
        }
    return posed_experts(a, sources, {p: len(sources[p]) == len(experts_of(b, p)) for p in sources})


def _not_by_index(
    found: list[tuple[ExpertMatch, OrderTest]],
    looked: dict[Place, dict[int, str]],
    by_index: ByIndex,
) -> list[ExpertMatch]:
    """The matches whose units do not stand by index in both models."""
    kept = {id(t) for t in by_index.keep([test for _, test in found])}
    for match, test in found:
        if id(test) not in kept:
            looked[match.tower, match.layer][match.expert_b] = "alike"
    return [match for match, test in found if id(test) in kept]


def _places(a: Canonical, b: Canonical, axes: Sequence[AxisResult]) -> list[Place]:
    """Layers with experts in both, that are not as many or not all found at their own index."""
    both = [{(k.tower, k.layer) for k in m.tensors if k.role == "expert.up.weight"} for m in (a, b)]
    tests = [t for x in axes if x.axis == "expert-units" for t in x.tests]
    lost = {
        (t.tower, t.layer) for t in tests if log_e_single(t.hits, t.m) / LN10 < POLICY.part_log10_e
    }
    return [p for p in sorted(both[0] & both[1])
            if is_symmetric(a, b, p[0], "expert-units") and (p in lost or experts_of(a, p) != experts_of(b, p))]  # fmt: skip
