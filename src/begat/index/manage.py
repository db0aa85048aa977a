"""What `begat index` does, one function a command: add, list, show, remove, verify, compact, export, import.

Enters: where the index is, and models, names or ids.  Leaves: small results that `begat.report.index_text` and `index_json` present.  Storage:
`store/`; from a fingerprint to what is stored of it: `entries.py`; searching: `search.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from begat.errors import InputError
from begat.fingerprint import Fingerprint
from begat.fingerprint_file import is_fingerprint, load
from begat.index.entries import record_of
from begat.index.store import Added, Entry, Record, Store, export_store, import_folder, open_store
from begat.pipeline.sketch import sketch
from begat.types import Progress

#: fingerprint files stored in one transaction; models that have to be sketched first are stored one by one, so that a stop loses one at most
_BATCH = 256
#: an index that grew by more than one in so many is compacted
_GROWN = 20
_LOOKED_UP = 16


@dataclass(frozen=True, slots=True)
class AddReport:
    """What `add` did: where, how many models are there now, what came of each; `failed` holds (path, why) of those that could not be read."""

    index: str
    engine: str
    count: int
    added: tuple[Entry, ...]
    present: tuple[Entry, ...]
    same_name: tuple[tuple[str, tuple[str, ...]], ...]
    failed: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Listing:
    """Entries of an index that fit what was asked for."""

    index: str
    engine: str
    count: int
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Shown:
    """One model: its entry, its probes by kind as (kind, how many), and what its fingerprint says."""

    index: str
    entry: Entry
    kinds: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Removed:
    """What `remove` removed, and how many models are left."""

    index: str
    count: int
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Verified:
    """What `verify` looked at, and every fault, one line each."""

    index: str
    engine: str
    count: int
    kinds: tuple[tuple[str, int], ...]
    faults: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Moved:
    """What `export_index` wrote or `import_index` read: how many models came along, and how many were there already."""

    index: str
    folder: str
    moved: int
    present: int


def add(
    index: str, models: Sequence[str | Path], *, engine: str | None = None, base: str | Path | None = None, name: str = "", note: str = "",
    progress: Progress | None = None,
) -> AddReport:  # fmt: skip
    """Add models to an index, which is made if there is none.

    Args:
        models: weight files or folders, which are sketched, or fingerprint files.
        engine: of a new index, "sqlite" or "lance".
        base: the base model of models that are PEFT adapter folders.
        name, note: what to call the model (one model only), and free text kept with it.

    Raises:
        InputError: the index cannot be opened or written to; a model that cannot be read is reported instead.

    """
    if name and len(models) != 1:
        raise InputError("a name goes with one model", expected="one MODEL", found=len(models), fix="leave the name out")
    with _open_or_create(index, engine) as store:
        before = store.count()
        total, failed, batch = Added((), (), ()), [], []
        for model in models:
            try:
                record = _record(model, base, name, note, progress)
            except InputError as err:
                failed.append((str(model), err.line()))
                continue
            batch.append(record)
            if len(batch) == _BATCH or not is_fingerprint(model):
                total, batch = _joined(total, store.add(batch)), []
        if batch:
            total = _joined(total, store.add(batch))
        if len(total.added) * _GROWN > before:
            store.compact()
        return AddReport(
            index, store.engine, store.count(), _entries(store, total.added), _entries(store, total.present), total.same_name, tuple(failed),
        )  # fmt: skip


def list_entries(
    index: str, *, name: str | None = None, family: str | None = None, format: str | None = None, id: str | None = None
) -> Listing:
    """Entries in the order they were added; `id` may be the beginning of one, the others are exact."""
    with open_store(index) as store:
        entries = tuple(store.manifest(name=name, family=family, format=format, id=id))
        return Listing(index, store.engine, store.count(), entries)


def show(index: str, model: str) -> Shown:
    """One model, named by its name, its id or the beginning of its id."""
    with open_store(index) as store:
        entry = find(store, model)
        kinds: dict[str, int] = {}
        for probe in store.probes(entry.id):
            kinds[probe.kind] = kinds.get(probe.kind, 0) + 1
        return Shown(index, entry, tuple(sorted(kinds.items())))


def fetch(index: str, model: str) -> tuple[Entry, bytes]:
    """One model's entry and fingerprint file, its digest checked."""
    with open_store(index) as store:
        entry = find(store, model)
        return entry, store.get(entry.id)


def remove(index: str, models: Iterable[str]) -> Removed:
    """Remove models, named as in `show`: all of them, or, if one is unknown or ambiguous, none."""
    with open_store(index, "write") as store:
        entries = tuple({e.id: e for e in (find(store, m) for m in models)}.values())
        store.remove(e.id for e in entries)
        return Removed(index, store.count(), entries)


def verify(index: str) -> Verified:
    """Read everything and check it."""
    with open_store(index) as store:
        faults = tuple(store.verify())
        if faults:  # a damaged store may not be able to count
            return Verified(index, store.engine, 0, (), faults)
        return Verified(index, store.engine, store.count(), tuple(sorted(store.kinds().items())), ())


def compact(index: str) -> Listing:
    """Merge small pieces and bring the approximate index up to date."""
    with open_store(index, "write") as store:
        store.compact()
        return Listing(index, store.engine, store.count(), ())


def export_index(index: str, folder: str | Path, progress: Progress | None = None) -> Moved:
    """Write every model into a new folder of plain files."""
    with open_store(index) as store:
        return Moved(index, str(folder), export_store(store, folder, progress), 0)


def import_index(index: str, folder: str | Path, *, engine: str | None = None, progress: Progress | None = None) -> Moved:
    """Add every model of an exported folder to an index, which is made if there is none."""
    with _open_or_create(index, engine) as store:
        before = store.count()
        done = import_folder(store, folder, progress)
        if len(done.added) * _GROWN > before:
            store.compact()
        return Moved(index, str(folder), len(done.added), len(done.present))


def find(store: Store, model: str) -> Entry:
    """The entry of a name, an id or the beginning of an id (4 digits or more). Raises InputError when there is none, or several."""
    found = list(store.manifest(name=model))
    if re.fullmatch(r"[0-9a-f]{4,64}", model):
        found += [e for e in store.manifest(id=model) if e not in found]
    if not found:
        raise InputError("no such model in this index", file=store.where, found=model, fix="begat index list shows names and ids")
    if len(found) > 1:
        ids = ", ".join(e.id[:12] for e in found[:5]) + (" …" if len(found) > 5 else "")
        raise InputError(f"{len(found)} models are called so", file=store.where, found=model, fix=f"name one by its id: {ids}")
    return found[0]


def _entries(store: Store, ids: Sequence[str]) -> tuple[Entry, ...]:
    """Entries of ids: looked up one by one, or, of many, in one pass."""
    if len(ids) <= _LOOKED_UP:
        return tuple(store.entry(i) for i in ids)
    wanted = set(ids)
    here = {e.id: e for e in store.manifest() if e.id in wanted}
    return tuple(here[i] for i in ids)


def _record(model: str | Path, base: str | Path | None, name: str, note: str, progress: Progress | None) -> Record:
    fingerprint: Fingerprint
    if is_fingerprint(model):
        fingerprint = load(model)
    else:
        fingerprint = sketch(model, base=base, name=name, progress=progress)
    return record_of(fingerprint, str(Path(model).absolute()), note)


def _open_or_create(index: str, engine: str | None) -> Store:
    place = Path(index)
    new = "://" not in index and (not place.exists() or (place.is_dir() and not any(place.iterdir())))
    if new:
        return open_store(index, "create", engine=engine)
    if "://" in index:
        try:
            return open_store(index, "write", engine=engine)
        except InputError as err:
            if "no begat index" not in err.problem:
                raise
            return open_store(index, "create", engine=engine)
    return open_store(index, "write", engine=engine)


def _joined(a: Added, b: Added) -> Added:
    return Added(a.added + b.added, a.present + b.present, a.same_name + b.same_name)
