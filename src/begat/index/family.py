"""The family tree of models of an index: every pair of fingerprints compared, then the tree inferred.

Enters: ids and an open store.  Leaves: a `Family`.  The inference and what it pays for all pairs: `begat.tree`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from begat.fingerprint_file import loads
from begat.index.search import relation
from begat.index.store import Store
from begat.pipeline.fingerprints import Unpacked, compare_fingerprints
from begat.tree import Node, Tree, infer
from begat.types import Progress


@dataclass(frozen=True, slots=True)
class Family:
    """A tree, and the ids of its given nodes in their order."""

    tree: Tree
    ids: tuple[str, ...]


def family(ids: Sequence[str], store: Store, progress: Progress | None = None) -> Family:
    """Compare all pairs and lay them out. Raises InputError for an unknown id or a damaged fingerprint."""
    entries = [store.entry(id) for id in ids]
    models = [Unpacked(loads(store.get(e.id), e.name)) for e in entries]
    pairs = [(i, j) for i in range(len(ids)) for j in range(i)]
    if progress:
        progress.start("comparing all pairs", len(pairs))
    relations = []
    for i, j in pairs:
        relations.append(relation(j, i, compare_fingerprints(models[j], models[i])))
        if progress:
            progress.step()
    if progress:
        progress.done()
    return Family(infer([Node(e.id, e.name) for e in entries], relations), tuple(ids))
