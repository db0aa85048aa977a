"""What the family tree is made from and what it says.

Enter `begat.tree.infer`: `Node`s and `Relation`s, one per pair of models that was compared.  Leaves: a `Tree`, which presenters
(`begat.report.tree_*`) show without computing.  No type here holds weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Direction = Literal["a → b", "b → a", ""]
#: "shared initialisation": dependent, but no more alike than two models trained apart from the same initial weights
Tie = Literal["related", "shared initialisation"]


@dataclass(frozen=True, slots=True)
class Node:
    """A model that was given.

    Attributes:
        id: what the caller calls it, unique.
        name: what is shown; any text, it may come from a stranger's file.
    """

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Relation:
    """What comparing models `a` and `b` (indices into the nodes) found.

    Attributes:
        log10_e: log10 of an e-value of dependence. Null: the two were trained independently; under it 10^k is reached with
            probability at most 10^-k. None: not tested.
        distance: root mean square angle, in radians, between feature vectors of corresponding hidden units: 0 the same, π/2
            unrelated. None: not measured.
        distance_sd: its standard deviation, radians.
        direction: one-way evidence from elsewhere, or "".
        why: what that evidence is, one clause.
        tie: what the comparison makes of the dependence.
    """

    a: int
    b: int
    log10_e: float | None
    distance: float | None
    distance_sd: float
    direction: Direction = ""
    why: str = ""
    tie: Tie = "related"


@dataclass(frozen=True, slots=True)
class Policy:
    """Thresholds of the inference. Measured values behind them: docs/tree.md.

    Attributes:
        family_log10_e: kinship needs log10_e of at least this plus log10(pairs tested): family-wise error 10^-6 by Markov and
            a union bound.
        shared_change: cosine, of either sign, up to which two changes still count as made apart; two trainings on like data share
            this much. A corner above it has a stretch of way in common, one below minus it is obtuse.
        right_angle: the same for "at a right angle", where nothing else tells two explanations apart.
        alpha: error, per component, of all corners together falling outside their measurement intervals (normal errors).
        mixture_residual: squared distance of a mixture from the span of its parents, as a share of that from the nearest
            parent, above which no parents are named.
        arrow_residual: the same, above which a mixture's edges get no arrows.
        least_weight: smallest coefficient of a parent in a mixture.
        copy_distance: radians below which two models are shown as the same weights.
        most_parents: of one mixture.
    """

    family_log10_e: float = 6.0
    shared_change: float = 0.35
    right_angle: float = 0.1
    alpha: float = 1e-3
    mixture_residual: float = 0.25
    arrow_residual: float = 0.1
    least_weight: float = 0.1
    copy_distance: float = 0.003
    most_parents: int = 8


NodeKind = Literal["given", "unnamed", "open", "start"]
EdgeKind = Literal["arrow", "line", "open", "same"]


@dataclass(frozen=True, slots=True)
class TreeNode:
    """A node of the tree.

    Attributes:
        name: of a given model; of others a short phrase.
        kind: "given"; "unnamed": a change that its neighbours have in common and no given model explains (an ancestor not in
            the set, or the same treatment twice); "open": where one part joins another is not resolved; "start": initial
            weights that models trained apart have in common.
        among: of an "open" node, the nodes at or between which it may lie.
        why: one clause; "" for given models.
    """

    name: str
    kind: NodeKind
    among: tuple[int, ...] = ()
    why: str = ""


@dataclass(frozen=True, slots=True)
class Edge:
    """An edge between nodes `a` and `b` (indices into `Tree.nodes`).

    Attributes:
        kind: "arrow": from a to b, by one-way evidence; "line": nearest relatives among the given models, direction
            undetermined, unseen models between them not excluded; "open": ties an open node to one of the places where it may
            lie, and asserts nothing; "same": equal weights wherever they
            correspond, up to rounding; one may hold more layers.
        mixture: b was mixed from several models, a among them.
        weight: a's coefficient in a mixture, in units of b's length; else None.
        distance: radians along the edge; None where not measured.
        why: the evidence, one clause.
    """

    a: int
    b: int
    kind: EdgeKind
    mixture: bool = False
    weight: float | None = None
    distance: float | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """One-way evidence from `a` to `b` that is not an edge.

    Attributes:
        stands: b descends from a, but they are not neighbours in the tree, or where b joins is open. False: other evidence contradicts it.
    """

    a: int
    b: int
    why: str
    stands: bool


@dataclass(frozen=True, slots=True)
class Tree:
    """A family tree, or several: models without kin stand alone.

    Attributes:
        nodes: the given models in the order given, then unnamed, open and start nodes.
        edges: in order of length within each component.
        components: indices of nodes (given and other) by component, largest first.
        claims: one-way evidence that no edge shows.
        tested: pairs with an e-value.
        threshold: log10_e that kinship needed.
        caveats: sentences.
        policy: the thresholds used.
        untested: (name, why) of given models of which nothing could be tested; they are no nodes, for nothing is known of their kin.
    """

    nodes: tuple[TreeNode, ...]
    edges: tuple[Edge, ...]
    components: tuple[tuple[int, ...], ...]
    claims: tuple[Claim, ...]
    tested: int
    threshold: float
    caveats: tuple[str, ...]
    policy: Policy
    untested: tuple[tuple[str, str], ...] = ()
