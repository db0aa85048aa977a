"""One unit of a release, looked up in an index: which bundles hold how much of it.

Enters: a unit's features and a `CodeIndex`.  Leaves: the weight that each bundle holds, in each view. What that means: `begat.audit.code.decide`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from begat.audit.code.features import F64, VIEWS, Piece, worth
from begat.audit.code.index import CodeIndex


@dataclass(frozen=True, slots=True)
class Lookup:
    """What an index holds of a unit.

    Attributes:
        tokens: of the unit.
        weight: view → summed weight of the unit's features; a feature that one file holds, or none, has full weight.
        known: view → the part of it that any bundle of its kind holds.
        held: view → the part of it that each bundle holds, 0 for those of the other kind. Shape [bundles].
    """

    tokens: int
    weight: Mapping[str, float]
    known: Mapping[str, float]
    held: Mapping[str, F64]


def look_up(index: CodeIndex, pieces: Sequence[Piece], function: bool) -> Lookup:
    """What every bundle of the same kind holds of a unit; functions and methods are one kind, classes the other."""
    held, weight, known = {}, {}, {}
    for view in VIEWS:
        vocabulary = index.vocabularies[view]
        hashes, first = np.unique(np.concatenate([p.views[view].hashes for p in pieces]), return_index=True)
        value = worth(view, np.concatenate([p.views[view].sizes for p in pieces])[first])
        at = np.searchsorted(vocabulary.hashes, hashes)
        there = at < len(vocabulary.hashes)
        there[there] = vocabulary.hashes[at[there]] == hashes[there]
        value[there] *= vocabulary.weight[at[there]]
        feature, bundle = (vocabulary.of_functions if function else vocabulary.of_classes).expand(at[there])
        each = value[there]
        weight[view] = float(value.sum())
        held[view] = np.bincount(bundle, each[feature], len(index.functions)).astype(np.float64)
        known[view] = float(each[np.bincount(feature, minlength=len(each)) > 0].sum())
    return Lookup(sum(p.tokens for p in pieces), weight, known, held)
