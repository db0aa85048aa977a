"""`begat tree`: every pair of some models, and the family tree that their relations make.

Enters: weight files or folders, fingerprint files, indexes.  Leaves: a `Tree`.  The test of a pair: `begat.pipeline.fingerprints`; how a match becomes a
relation: `search.py`; the inference, which sees nothing but relations: `begat.tree`.

Every pair is tested, and kinship pays for their number (`begat.tree.kinship`).
"""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from begat.errors import InputError, UntestableError, printable
from begat.fingerprint import Fingerprint
from begat.fingerprint_file import is_fingerprint, load, loads
from begat.index.search import relation
from begat.index.store import Store, open_store
from begat.index.store.open import holds_index
from begat.pipeline.fingerprints import Unpacked, compare_fingerprints
from begat.pipeline.sketch import sketch
from begat.tree import Node, Relation, Tree, infer
from begat.types import Progress

#: models that are laid out at most: every pair of them is tested
MOST = 1000
#: relative standard deviation of an angle measured over some of the layers
_UNEVEN = 0.1


@dataclass(frozen=True, slots=True)
class _Model:
    """id: path, or index and entry; where: what tells it from others of its name."""

    id: str
    where: str
    fingerprint: Fingerprint


def family_tree(sources: Sequence[str | Path], *, most: int = MOST, progress: Progress | None = None) -> Tree:
    """The family tree of models.

    Args:
        sources: each a weight file or folder, a fingerprint file, or an index, which stands for all models in it.
        most: models at most.

    Raises:
        InputError: something cannot be read, a model is named twice, or there are fewer than two or too many. A sound model of which
            nothing can be tested is no error: the tree names it apart (`Tree.untested`).
    """
    models: list[_Model] = []
    untested: list[tuple[str, str]] = []
    for source in sources:
        for model in _open(source, progress, untested):
            models.append(model)
            if len(models) > most:
                raise InputError("too many models for a tree of every pair", file=source, expected=f"at most {most}", fix="name some of their fingerprints")
    if len(models) + len(untested) < 2:
        raise InputError("a tree needs at least two models", found=len(models), fix="name models, fingerprint files, or an index that holds some")
    relations = _relations(models, progress)
    tested = {i for r in relations if r.log10_e is not None for i in (r.a, r.b)}
    if len(tested) < len(models):  # nothing is known of the others' kin, so they are not shown as having none
        why = "it holds nothing of the size of anything in the other models"
        untested += [(m.fingerprint.name, why) for i, m in enumerate(models) if i not in tested]
        kept = {i: n for n, i in enumerate(sorted(tested))}
        relations = [replace(r, a=kept[r.a], b=kept[r.b]) for r in relations if r.a in kept and r.b in kept]
        models = [models[i] for i in kept]
    return replace(_tree(models, relations), untested=tuple(untested))


def family_of(ids: Sequence[str], store: Store, progress: Progress | None = None) -> Tree:
    """The family tree of models of an open index, its first nodes in the order of `ids`. InputError for an unknown id or a damaged fingerprint."""
    models = [_Model(id, id[:12], loads(store.get(id), store.where)) for id in ids]
    return _tree(models, _relations(models, progress))


def _tree(models: Sequence[_Model], relations: Sequence[Relation]) -> Tree:
    nodes = [Node(m.id, name) for m, name in zip(models, _names(models), strict=True)]
    return infer(nodes, relations, shared_bits=True)


def _relations(models: Sequence[_Model], progress: Progress | None) -> list[Relation]:
    """The test of every pair."""
    unpacked = [Unpacked(m.fingerprint) for m in models]
    pairs = list(itertools.combinations(range(len(models)), 2))
    if progress:
        progress.start("exact tests", len(pairs))
    relations = []
    for i, j in pairs:
        found = relation(i, j, compare_fingerprints(unpacked[i], unpacked[j]))
        layers = {models[k].fingerprint.layers for k in (i, j)}
        relations.append(found if len(layers) == 1 else _over_some_layers(found))
        if progress:
            progress.step()
    if progress:
        progress.done()
    return relations


def _over_some_layers(r: Relation) -> Relation:
    """An angle over the layers that two models have in common is none over all layers: layers drift unevenly."""
    return r if r.distance is None else replace(r, distance_sd=max(r.distance_sd, _UNEVEN * r.distance))


def _open(source: str | Path, progress: Progress | None, untested: list[tuple[str, str]]) -> Iterator[_Model]:
    """The models that a source stands for; one that no test can be made of goes to `untested`, with the reason."""
    place = os.fspath(source)
    if holds_index(place):
        with open_store(place) as store:
            for entry in store.manifest():
                yield _Model(f"{place}#{entry.id}", entry.id[:12], loads(store.get(entry.id), place))
        return
    path = Path(place)
    try:
        fingerprint = load(path) if path.is_file() and is_fingerprint(path) else sketch(path, progress=progress)
    except UntestableError as err:
        untested.append((printable(place, 200), err.reason()))
        return
    yield _Model(str(path.absolute()), place, fingerprint)


def _names(models: Sequence[_Model]) -> list[str]:
    """The models' own names; where several share one, with what tells them apart."""
    shared = Counter(m.fingerprint.name for m in models)
    return [m.fingerprint.name if shared[m.fingerprint.name] == 1 else f"{m.fingerprint.name} ({m.where})" for m in models]
