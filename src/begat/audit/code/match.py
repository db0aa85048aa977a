"""One unit of a release, looked up in an index: which bundles hold how much of it.

Enters: a unit's features and a `CodeIndex`.  Leaves: the weight that each bundle holds, in each view. What that means: `begat.audit.code.decide`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from begat.audit.code.features import F64, VIEWS, Piece, worth
from begat.audit.code.index import CodeIndex

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Lookup:
    """What an index holds of a unit.

    Attributes:
        tokens: of the unit.
        weight: view → summed weight of the unit's features; a feature that one file holds, or none, has full weight.
        known: view → the part of it that any eligible bundle holds.
        held: view → the part of it that each bundle holds, 0 for those not eligible. Shape [bundles].
    """

    tokens: int
    weight: Mapping[str, float]
    known: Mapping[str, float]
    held: Mapping[str, F64]


def eligible(index: CodeIndex, without: frozenset[int] = frozenset()) -> Mask:
    """Bundles that some file not in `without` (numbers into `CodeIndex.files`) holds. Shape [bundles]."""
    if not without:
        return np.ones(len(index.functions), bool)
    row = np.repeat(np.arange(len(index.functions)), np.diff(index.bundles.offsets))
    kept = np.array([index.occurrences[o].file not in without for o in index.bundles.values], bool)
    return np.bincount(row[kept], minlength=len(index.functions)) > 0


def look_up(index: CodeIndex, pieces: Sequence[Piece], function: bool, among: Mask | None = None) -> Lookup:
    """What every bundle of the same kind holds of a unit; functions and methods are one kind, classes the other."""
    alike = index.functions == function if among is None else among & (index.functions == function)
    held, weight, known = {}, {}, {}
    for view in VIEWS:
        vocabulary = index.vocabularies[view]
        hashes, first = np.unique(np.concatenate([p.views[view].hashes for p in pieces]), return_index=True)
        value = worth(view, np.concatenate([p.views[view].sizes for p in pieces])[first])
        at = np.searchsorted(vocabulary.hashes, hashes)
        there = at < len(vocabulary.hashes)
        there[there] = vocabulary.hashes[at[there]] == hashes[there]
        value[there] *= vocabulary.weight[at[there]]
        feature, content = vocabulary.contents.expand(at[there])
        more, bundle = index.content_bundles.expand(content)
        feature = feature[more]
        kept = alike[bundle]
        pairs = np.unique(feature[kept] * np.int64(len(alike)) + bundle[kept])  # a class may hold a feature in several methods
        feature, bundle = pairs // max(len(alike), 1), pairs % max(len(alike), 1)
        each = value[there]
        weight[view] = float(value.sum())
        held[view] = np.bincount(bundle, each[feature], len(alike)).astype(np.float64)
        known[view] = float(each[np.unique(feature)].sum())
    return Lookup(sum(p.tokens for p in pieces), weight, known, held)
