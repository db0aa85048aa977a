"""What is known about a case: frozen values, read off the toy models themselves.

Leaves: `Truth`, one for a case; for every ordered pair of its models a `PairTruth`.  Who computes
it: `model.py` (`pair_truth`). Who reads it: `checks/`.

Terms. A *place* is a layer, an expert of a layer, or a component outside the layers, of one tower.
Two places are *linked* where some matrix of the one and some matrix of the other go back to one
random draw, whatever was done in between; *weakly* linked where only vectors (norm gains, biases)
do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

#: what two models can be to each other, from the closest to none
RELATIONS = ("same-weights", "re-encoded", "descended", "common-ancestor", "shared-initialisation", "independent")
#: what may be done to a model; `checks/kinds.py` says which kinds of descent each of them makes true
OPERATIONS = (
    "initialised", "trained", "copied", "renamed", "resharded", "config-changed", "cast", "quantised", "sliced",
    "finetuned", "trained-in-part", "noised", "head-replaced", "head-added", "head-copied", "embedding-replaced", "embedding-taken",
    "tower-taken", "tower-added", "projection-taken", "vocabulary-extended", "vocabulary-pruned",
    "vocabulary-reordered", "layers-left-out", "layers-inserted", "layers-repeated", "layers-reordered",
    "layers-replaced", "units-left-out", "units-repeated", "units-reordered", "heads-reordered", "residual-turned",
    "units-rescaled", "experts-left-out", "experts-reordered", "experts-replaced", "experts-averaged", "experts-repeated", "upcycled",
    "low-rank-added", "merged", "averaged-over-steps", "copy-beside", "direction-removed", "zeroed",
)  # fmt: skip
#: operations after which every value is still there
PRESERVING = frozenset({"copied", "renamed", "resharded", "config-changed", "head-copied"})
#: operations after which every value is there, rounded
ENCODING = frozenset({"cast", "quantised"})


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where weights lie. layer: -1 outside the layers, then `component` says where; expert: routed
    expert, -1 for none.
    """

    tower: str
    layer: int
    expert: int = -1
    component: str = ""

    def __str__(self) -> str:
        at = [self.tower] + ([f"layer {self.layer}"] if self.layer >= 0 else [self.component])
        return " ".join(at + ([f"expert {self.expert}"] if self.expert >= 0 else []))


@dataclass(frozen=True, slots=True)
class PairTruth:
    """The truth about two models, A and B.

    Attributes:
        relation: one of `RELATIONS`.
        direction: "A → B", "B → A", or "" where neither was made from the other.
        operations_a, operations_b: what was done on either side since their nearest common state
            (or since nothing).
        links, weak: linked and weakly linked places, (of A, of B).
        places_a, places_b: all places with matrices. towers_a, towers_b: towers, the main one
            first.
        equal: the two hold the same values, tensor by tensor, whatever their names and number
            types.
        config: keys by which the two configs differ in a way that changes the model.
        axes_a, axes_b: names of the axes that tensors have ("unit", "expert", "kv*value", …).
        component: the only component that is linked ("embedding", "vision tower", …), "" where
            several are, or none.
        detectable: begat should see a dependence; False where no method that looks at weights could
            be asked to.
    """

    relation: str
    direction: str
    operations_a: frozenset[str]
    operations_b: frozenset[str]
    links: frozenset[tuple[Place, Place]]
    weak: frozenset[tuple[Place, Place]]
    places_a: frozenset[Place]
    places_b: frozenset[Place]
    towers_a: tuple[str, ...]
    towers_b: tuple[str, ...]
    equal: bool
    kept: int
    config: frozenset[str]
    component: str
    axes_a: frozenset[str]
    axes_b: frozenset[str]
    detectable: bool = True

    @property
    def operations(self) -> frozenset[str]:
        """What was done on either side."""
        return self.operations_a | self.operations_b

    @property
    def related(self) -> bool:
        """Not independent."""
        return self.relation != "independent"


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a child is composed: of which model, which share, where.

    Attributes:
        methods: names a recipe may be given; "partial" or "unexplained" among them only where
            something else went in.
        parents, base: names of the models that are named to `decompose`.
        weights: (parent, tower, layer, group) → weight of that parent there; layer -1 outside the
            layers; groups as in `begat.recipes.PartFit`. Empty where no number is asked for.
        varies: the weights differ from layer to layer or from group to group.
        rank: of a low-rank difference, None for none.
        whole: the named models explain the child but for rounding.
    """

    methods: frozenset[str]
    parents: tuple[str, ...]
    base: str | None = None
    weights: Mapping[tuple[str, str, int, str], float] = field(default_factory=dict)
    varies: bool = False
    rank: int | None = None
    whole: bool = True


@dataclass(frozen=True, slots=True)
class ModelTruth:
    """What one model alone could say.

    Attributes:
        copied_layers: sets of layers (tower, layer) that go back to one layer. copied_experts: sets
            of experts that do, (tower, layer, expert).
        rounded: its values lie on a coarser grid than its number type. zeroed: weights were set to
            zero.
        low_rank: some matrix has a low rank. new_rows: (first, last) token rows that were not
            trained, by table.
        operations: all that was ever done to it.
    """

    copied_layers: frozenset[frozenset[tuple[str, int]]]
    copied_experts: frozenset[frozenset[tuple[str, int, int]]]
    rounded: bool
    zeroed: bool
    low_rank: bool
    new_rows: tuple[tuple[int, int], ...]
    operations: frozenset[str]


@dataclass(frozen=True, slots=True)
class Truth:
    """The truth about a case. pairs: (name of A, name of B) → truth, both ways; silent: what a
    right answer has to say beyond claims.
    """

    models: Mapping[str, ModelTruth]
    pairs: Mapping[tuple[str, str], PairTruth]
    recipes: Mapping[str, Recipe] = field(default_factory=dict)
