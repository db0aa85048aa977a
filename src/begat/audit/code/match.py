"""One unit of a release, looked up in an index: which bundles hold how much of it.

Enters: a unit's features and a `CodeIndex`.  Leaves: scores of all bundles in each view. What scores mean: `begat.audit.code.decide`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from begat.audit.code.features import VIEWS, Piece
from begat.audit.code.index import CodeIndex

F64 = npt.NDArray[np.float64]
_LONGEST_STATEMENT = 64


@dataclass(frozen=True, slots=True)
class Lookup:
    """A unit's scores.

    Attributes:
        tokens: of the unit.
        mass: view → summed weight of the unit's features: what it has to say, in tokens for the k-gram views.
        known: view → share of that weight that any bundle of its kind holds.
        scores: view → share in [0, 1] of that weight that each bundle holds. Shape [bundles].
    """

    tokens: int
    mass: dict[str, float]
    known: dict[str, float]
    scores: dict[str, F64]


def look_up(index: CodeIndex, pieces: list[Piece], function: bool) -> Lookup:
    """Scores of every bundle of the same kind (functions and methods are one kind, classes the other)."""
    scores, mass, known = {}, {}, {}
    alike = index.functions == function
    for view in VIEWS:
        vocabulary = index.vocabularies[view]
        hashes = np.concatenate([p.views[view].hashes for p in pieces])
        hashes, first = np.unique(hashes, return_index=True)
        size = np.concatenate([p.views[view].sizes for p in pieces])[first]
        worth = np.minimum(size, _LONGEST_STATEMENT).astype(np.float64) if view == "statements" else np.ones(len(hashes))
        at = np.searchsorted(vocabulary.hashes, hashes)
        there = at < len(vocabulary.hashes)
        there[there] = vocabulary.hashes[at[there]] == hashes[there]
        worth[there] *= vocabulary.weight[at[there]]
        total = float(worth.sum())
        position, content = vocabulary.contents.expand(at[there])
        more, bundle = index.content_bundles.expand(content)
        position = position[more]
        keep = alike[bundle]
        pairs = np.unique(position[keep] * np.int64(len(alike) + 1) + bundle[keep])
        feature, bundle = pairs // (len(alike) + 1), pairs % (len(alike) + 1)
        each = worth[there]
        mass[view] = total
        scores[view] = np.bincount(bundle, each[feature], len(alike)) / max(total, 1e-9)
        known[view] = float(each[np.unique(feature)].sum()) / max(total, 1e-9)
    return Lookup(sum(p.tokens for p in pieces), mass, known, scores)
