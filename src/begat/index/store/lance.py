"""Engine `lance`: LanceDB tables in a local folder or on object storage (`s3://…`). Needs the extra `index`.

Enters: what `base.Store` says.  Tables: `models` (the manifest), `blobs` (fingerprints), one `probes-KIND` a kind (256-bit vectors, Hamming distance;
an IVF index once `compact` finds `ANN_FROM` of them).  An append is atomic for one table only, so models come last and leave first: a
probe or fingerprint whose model is not in `models` does not exist.  A local store notes in `intent.json` what it is about to do, and the
next writer removes what a killed one left behind; on object storage `compact` does.  Writers of a local store wait for a lock on `index.lock`.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import json
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from begat.errors import InputError, printable
from begat.index.store.base import ENGINES, VERSION, Mode, Store
from begat.index.store.hamming import Nearest, words
from begat.index.store.lance_tables import (
    BLOBS,
    META,
    MODELS,
    PROBES,
    bits_of,
    damaged,
    errors,
    in_thousands,
    key_of,
    load_lancedb,
    no_links,
    quoted,
    read_intent,
    schema_of,
    wait_for,
)  # fmt: skip
from begat.index.store.records import (
    FIELDS,
    WIDTH,
    Added,
    Entry,
    Hit,
    Probe,
    Record,
    check_entry,
    check_id,
    check_kind,
    check_probe,
    check_queries,
    in_batches,
    label,
    probe_sum,
    row_sums,
)  # fmt: skip
from begat.types import U8

LOCK, INTENT = "index.lock", "intent.json"
#: probes of a kind from which an IVF index is made; below, every probe is looked at
ANN_FROM = 200_000
#: partitions looked at, of the square root of the number of probes (docs/index.md: recall by flip rate)
PARTITIONS_READ = 64
#: small pieces are merged after so many calls of `add`
_MERGE_EVERY = 64
#: states of a table that are kept for readers at work when pieces are merged
_KEPT = dt.timedelta(days=1)
_BATCH = 1000
_SCAN = 16384


@ENGINES.add("lance")
class LanceStore(Store):
    """See `begat.index.store.base.Store`. On object storage nothing stops two writers: let one write at a time."""

    engine, sign = "lance", f"{MODELS}.lance"

    def __init__(self, where: str, mode: Mode, db: Any, patience: float) -> None:
        self.where, self.mode, self._db, self._patience = where, mode, db, patience
        self._local = None if "://" in where else Path(where)
        self._tables: dict[str, Any] = {}

    @classmethod
    def open(cls, where: str, mode: Mode, patience: float) -> LanceStore:
        """See `Store.open`."""
        lancedb = load_lancedb()
        if "://" not in where and mode != "create":
            no_links(Path(where))
        with errors(where):
            store = cls(where, mode, lancedb.connect(where, read_consistency_interval=dt.timedelta(0)), patience)
            if mode == "create":
                with store._lock():
                    if MODELS in store._names():
                        raise InputError("there is an index already", file=where, fix="open it with mode 'write', or name another folder")
                    store._db.create_table(MODELS, schema=schema_of(MODELS))
            store._check_layout()
        return store

    def close(self) -> None:
        self._tables.clear()

    # --- writing ------------------------------------------------------------------------------------------------

    def add(self, records: Iterable[Record]) -> Added:
        self.must_write()
        kept: dict[str, Record] = {}
        present: list[str] = []
        for record in (r for batch in in_batches(records, self.where) for r in batch):
            if record.entry.id in kept:
                present.append(record.entry.id)
            kept.setdefault(record.entry.id, record)
        with self._writing():
            here = self._ids({key_of(i) for i in kept})
            present += [i for i in kept if i in here.values()]
            for id in present:
                if id in here.values():
                    kept.pop(id, None)
            keys = [key_of(i) for i in kept]
            if len({*keys, *here}) != len(keys) + len(here):
                raise InputError("two ids begin with the same 16 digits", file=self.where, fix="use an index of the engine sqlite")
            same_name = self._namesakes(list(kept.values()))
            if kept:
                self._append(list(kept.values()))
        return Added(tuple(kept), tuple(present), same_name)

    def remove(self, ids: Iterable[str]) -> tuple[str, ...]:
        self.must_write()
        wanted = tuple(dict.fromkeys(check_id(i, self.where) for i in ids))
        with self._writing():
            here = self._stored(wanted)
            for id in wanted:
                if id not in here:
                    raise self.unknown(id)
            self._intend(wanted)
            for some in in_thousands(wanted):
                self._table(MODELS).delete(f"id IN ({quoted(some)})")
            self._sweep(wanted)
            self._intend(())
        return wanted

    def compact(self) -> None:
        self.must_write()
        from lancedb.index import BTree, IvfFlat

        with self._writing():
            for name in self._names():
                if name != MODELS:
                    self._drop_orphans(name)
                if name.startswith(PROBES):
                    table = self._table(name)
                    rows = table.count_rows()
                    if rows >= ANN_FROM:
                        # partitions follow the size; an index grown far past its size is made anew
                        parts = int(rows**0.5)
                        table.optimize(cleanup_older_than=_KEPT)
                        table.create_index("bits", config=IvfFlat(distance_type="hamming", num_partitions=parts), replace=True)
                        table.create_index("model", config=BTree(), replace=True)
                        continue
                if name != BLOBS:  # merging would write every fingerprint again
                    self._table(name).optimize(cleanup_older_than=_KEPT)
            for column in ("id", "key"):
                self._table(MODELS).create_index(column, config=BTree(), replace=True)

    def _append(self, records: Sequence[Record]) -> None:
        """Fingerprints and probes first; the models' rows make them exist."""
        import pyarrow as pa

        ids = [r.entry.id for r in records]
        self._intend(ids)
        blobs = {"id": ids, "blob": [r.blob for r in records]}
        self._made(BLOBS).add(pa.table(blobs, schema=schema_of(BLOBS)))
        groups: dict[str, list[tuple[int, Probe]]] = defaultdict(list)
        for record in records:
            for probe in record.probes:
                groups[probe.kind].append((key_of(record.entry.id), probe))
        for kind, group in groups.items():
            bits = pa.array(np.concatenate([p.bits for _, p in group]), pa.uint8())
            columns = [
                pa.array([k for k, _ in group], pa.int64()),
                pa.array([p.layer for _, p in group], pa.int16()),
                pa.array([p.part for _, p in group], pa.string()),
                pa.FixedSizeListArray.from_arrays(bits, WIDTH),
            ]
            self._made(PROBES + kind).add(pa.table(columns, schema=schema_of(PROBES + kind)))
        models = self._table(MODELS)
        first = self._next()
        rows: dict[str, list[Any]] = {"seq": list(range(first, first + len(records))), "key": [key_of(i) for i in ids]}
        rows |= {f: [getattr(r.entry, f) for r in records] for f in FIELDS}
        models.add(pa.table(rows, schema=schema_of(MODELS)))
        self._intend(())
        if models.version % _MERGE_EVERY == 0:
            for name in self._names():
                if name != BLOBS:
                    self._table(name).optimize(cleanup_older_than=_KEPT)

    def _next(self) -> int:
        found = self._table(MODELS).search().select(["seq"]).to_arrow()["seq"].to_numpy()
        return int(found.max()) + 1 if found.size else 0

    def _namesakes(self, records: Sequence[Record]) -> tuple[tuple[str, tuple[str, ...]], ...]:
        by_name: dict[str, list[str]] = defaultdict(list)
        for some in in_thousands(sorted({r.entry.name for r in records})):
            found = self._table(MODELS).search().where(f"name IN ({quoted(some)})").select(["seq", "name", "id"]).to_arrow().sort_by("seq")
            for name, id in zip(found["name"].to_pylist(), found["id"].to_pylist(), strict=True):
                by_name[name].append(id)
        out = []
        for record in records:
            if by_name[record.entry.name]:
                out.append((record.entry.id, tuple(by_name[record.entry.name])))
            by_name[record.entry.name].append(record.entry.id)
        return tuple(out)

    def _sweep(self, ids: Iterable[str]) -> None:
        """Remove fingerprints and probes of models that are not in `models`."""
        here = self._stored(ids)
        for some in in_thousands([i for i in ids if i not in here]):
            for name in self._names():
                if name == BLOBS:
                    self._table(name).delete(f"id IN ({quoted(some)})")
                elif name.startswith(PROBES):
                    self._table(name).delete(f"model IN ({', '.join(str(key_of(i)) for i in some)})")

    def _drop_orphans(self, name: str) -> None:
        """Remove what belongs to no model from a table of fingerprints or probes."""
        mine, theirs = ("id", "id") if name == BLOBS else ("model", "key")
        known = self._table(MODELS).search().select([theirs]).to_arrow()[theirs].unique().to_pylist()
        found = self._table(name).search().select([mine]).to_arrow()[mine].unique().to_pylist()
        for some in in_thousands(sorted(set(found) - set(known))):
            self._table(name).delete(f"{mine} IN ({quoted(some) if name == BLOBS else ', '.join(map(str, some))})")

    # --- reading ------------------------------------------------------------------------------------------------

    def manifest(
        self, *, id: str | None = None, name: str | None = None, family: str | None = None, format: str | None = None,
        header_digest: str | None = None,
    ) -> Iterator[Entry]:  # fmt: skip
        where = []
        if id is not None:
            if not re.fullmatch(r"[0-9a-f]{1,64}", id):
                raise InputError("not the beginning of an id", file=self.where, expected="1 to 64 hex digits", found=id)
            where.append(f"id = '{id}'" if len(id) == 64 else f"id LIKE '{id}%'")
        for column, value in (("name", name), ("family", family), ("format", format), ("header_digest", header_digest)):
            if value is not None:
                where.append(f"{column} = {quoted([value])}")
        with errors(self.where):
            query = self._table(MODELS).search().select(["seq", *FIELDS])
            table = (query.where(" AND ".join(where)) if where else query).to_arrow().sort_by("seq")
        seen: set[str] = set()
        for batch in table.to_batches(_BATCH):
            for values in zip(*(batch.column(f).to_pylist() for f in FIELDS), strict=True):
                entry = check_entry(Entry(*values), self.where)
                if entry.id not in seen:
                    seen.add(entry.id)
                    yield entry

    def get(self, id: str) -> bytes:
        self.entry(id)
        with errors(self.where):
            rows = self._table(BLOBS).search().where(f"id = '{id}'") if BLOBS in self._names() else None
            found = [] if rows is None else rows.select(["blob"]).limit(1).to_arrow()["blob"].to_pylist()
        if not found:
            raise damaged(self.where, f"fingerprint {id} is missing")
        if type(found[0]) is not bytes or hashlib.sha256(found[0]).hexdigest() != id:
            raise damaged(self.where, f"fingerprint {id} is not what was stored")
        return found[0]

    def probes(self, id: str) -> tuple[Probe, ...]:
        entry = self.entry(id)
        found = []
        with errors(self.where):
            for kind in self._kinds():
                rows = self._table(PROBES + kind).search().where(f"model = {key_of(id)}").select(["layer", "part", "bits"]).to_arrow()
                for batch in rows.to_batches():
                    labels = zip(batch.column("layer").to_pylist(), batch.column("part").to_pylist(), strict=True)
                    found += [Probe(kind, layer, part, b) for (layer, part), b in zip(labels, bits_of(batch), strict=True)]
        for probe in found:
            check_probe(probe, entry.name, self.where)
        if probe_sum(found) != entry.probe_sum:
            raise damaged(self.where, f"probes of model {id} are not what was stored")
        return tuple(sorted(found, key=Probe.key))

    def nearest(self, kind: str, queries_QB: U8, k: int, *, exact: bool = False) -> list[Hit]:
        queries_QB = check_queries(queries_QB, k)
        with errors(self.where):
            if check_kind(kind) not in self._kinds() or not len(queries_QB):
                return []
            table = self._table(PROBES + kind)
            indexed = not exact and any(i.index_type == "IvfFlat" for i in table.list_indices())
            found = self._by_index(table, queries_QB, k) if indexed else self._by_scan(table, queries_QB, k)
            ids = self._ids({model for _, model, *_ in found})
        hits = [Hit(q, ids[model], layer, part, far) for q, model, layer, part, far in found if model in ids]
        for hit in hits:
            if type(hit.layer) is not int or type(hit.part) is not str:
                raise damaged(self.where, f"probes of model {hit.id} are damaged")
        return hits

    def _by_index(self, table: Any, queries_QB: U8, k: int) -> list[tuple[int, int, int, str, int]]:
        query = table.search(list(queries_QB), vector_column_name="bits").distance_type("hamming").nprobes(PARTITIONS_READ).limit(k)
        found = query.select(["model", "layer", "part", "_distance"]).to_arrow()
        # of a single query, the answer has no column that numbers it
        numbers = found["query_index"].to_pylist() if "query_index" in found.column_names else [0] * found.num_rows
        columns = [found[c].to_pylist() for c in ("model", "layer", "part", "_distance")]
        rows = [(q, m, layer, part, int(far)) for q, m, layer, part, far in zip(numbers, *columns, strict=True)]
        return sorted(rows, key=lambda r: (r[0], r[4]))

    def _by_scan(self, table: Any, queries_QB: U8, k: int) -> list[tuple[int, int, int, str, int]]:
        """Every probe, streamed once for all queries; LanceDB's own scan reads them once a query."""
        nearest, first = Nearest(queries_QB, k), 0
        labels: dict[int, tuple[int, int, str]] = {}
        for batch in table.search().select(["model", "layer", "part", "bits"]).to_batches(_SCAN):
            if not batch.num_rows:
                continue
            nearest.show(words(bits_of(batch)), first)
            new = {at for q in range(len(queries_QB)) for at in nearest.found(q)[0].tolist() if at >= first}
            if new:
                columns = [batch.column(c) for c in ("model", "layer", "part")]
                for at in new:
                    model, layer, part = (c[at - first].as_py() for c in columns)
                    labels[at] = (model, layer, part)
            first += batch.num_rows
        out = []
        for q in range(len(queries_QB)):
            out += [(q, *labels[at], far) for at, far in zip(*(x.tolist() for x in nearest.found(q)), strict=True)]
        return out

    def kinds(self) -> dict[str, int]:
        with errors(self.where):
            counts = {kind: int(self._table(PROBES + kind).count_rows()) for kind in self._kinds()}
        return {kind: n for kind, n in counts.items() if n}

    def count(self) -> int:
        with errors(self.where):
            return int(self._table(MODELS).count_rows())

    def verify(self) -> list[str]:
        try:
            return [printable(f, 1000) for f in (*self._verify_models(), *self._verify_probes())]
        except InputError as err:
            return [str(err)]

    def _verify_models(self) -> Iterator[str]:
        entries: dict[str, Entry] = {}
        with errors(self.where):
            found = self._table(MODELS).search().select(["seq", *FIELDS]).to_arrow().sort_by("seq")
        for values in zip(*(found[f].to_pylist() for f in FIELDS), strict=True):
            entry = Entry(*values)
            try:
                check_entry(entry, self.where)
            except InputError as err:
                yield str(err)
                continue
            if entry.id in entries:
                yield f"model {entry.id} is listed twice"
            entries[entry.id] = entry
        seen: set[str] = set()
        with errors(self.where):
            for batch in self._table(BLOBS).search().select(["id", "blob"]).to_batches(64) if BLOBS in self._names() else ():
                for id, blob in zip(batch.column("id").to_pylist(), batch.column("blob").to_pylist(), strict=True):
                    seen.add(id)
                    if id not in entries:
                        yield f"fingerprint {id} belongs to no model"
                    elif type(blob) is not bytes or len(blob) != entries[id].size or hashlib.sha256(blob).hexdigest() != id:
                        yield f"fingerprint {id} is not what was stored"
        for id in entries.keys() - seen:
            yield f"fingerprint {id} is missing"

    def _verify_probes(self) -> Iterator[str]:
        known = {key_of(e.id): e for e in self.manifest()}
        sums: dict[int, int] = defaultdict(int)
        counts: dict[int, int] = defaultdict(int)
        with errors(self.where):
            for kind in self._kinds():
                for batch in self._table(PROBES + kind).search().select(["model", "layer", "part", "bits"]).to_batches(_SCAN):
                    if not batch.num_rows:
                        continue
                    rows = zip(batch.column("layer").to_pylist(), batch.column("part").to_pylist(), strict=True)
                    hashes = row_sums(bits_of(batch), np.array([label(kind, la, p) for la, p in rows], np.uint64))
                    for model, one in zip(batch.column("model").to_pylist(), hashes.tolist(), strict=True):
                        sums[model] = (sums[model] + one) % (1 << 64)
                        counts[model] += 1
        for model in sorted(counts.keys() - known.keys()):
            yield f"{counts[model]} probes belong to no model (id {model & (1 << 64) - 1:016x}…)"
        for model, entry in known.items():
            if counts[model] != entry.probes or f"{sums[model]:016x}" != entry.probe_sum:
                yield f"probes of model {entry.id} are not what was stored ({counts[model]} of {entry.probes})"

    # --- pieces -------------------------------------------------------------------------------------------------

    def _names(self) -> list[str]:
        names: list[str] = []
        token: str | None = None
        while True:
            page = self._db.list_tables(page_token=token, limit=1000)
            names += page.tables
            token = page.page_token
            if not token:
                return names

    def _kinds(self) -> list[str]:
        return [check_kind(n.removeprefix(PROBES)) for n in sorted(self._names()) if n.startswith(PROBES)]

    def _table(self, name: str) -> Any:
        if name not in self._tables:
            table = self._db.open_table(name)
            if table.schema.remove_metadata() != schema_of(name).remove_metadata():
                raise damaged(self.where, f"table {name} has other columns than an index has")
            self._tables[name] = table
        return self._tables[name]

    def _made(self, name: str) -> Any:
        """A table that the first `add` makes."""
        if name not in self._names():
            self._db.create_table(name, schema=schema_of(name), exist_ok=True)
        return self._table(name)

    def _check_layout(self) -> None:
        """Version first: the columns of a newer layout may be others."""
        if MODELS not in self._names():
            raise InputError("holds no begat index", file=self.where, fix="name the folder or address that begat index made")
        noted = (self._db.open_table(MODELS).schema.metadata or {}).get(META, b"")
        if not re.fullmatch(rb"[1-9][0-9]{0,5}", noted):
            raise InputError("is a LanceDB table, but no begat index", file=self.where, fix="name the folder or address that begat index made")
        if int(noted) > VERSION:
            expected = f"layout version up to {VERSION}"
            raise InputError("index was made by a newer begat", file=self.where, expected=expected, found=int(noted), fix="update begat")
        for name in (MODELS, BLOBS):
            if name == MODELS or name in self._names():
                self._table(name)

    def _stored(self, ids: Iterable[str]) -> set[str]:
        """Those of the ids that are stored."""
        return set(ids) & set(self._ids({key_of(i) for i in ids}).values())

    def _ids(self, keys: set[int]) -> dict[int, str]:
        """Ids of stored models by the key that probes carry."""
        ids: dict[int, str] = {}
        for some in in_thousands(sorted(keys)):
            found = self._table(MODELS).search().where(f"key IN ({', '.join(map(str, some))})").select(["key", "id"]).to_arrow()
            ids.update(zip(found["key"].to_pylist(), found["id"].to_pylist(), strict=True))
        for key, id in ids.items():
            if key_of(check_id(id, self.where)) != key:
                raise damaged(self.where, f"key of model {id} is not what was stored")
        return ids

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        with errors(self.where), self._lock():
            if self._local is not None and (self._local / INTENT).exists():
                self._sweep(read_intent(self._local / INTENT))
                self._intend(())
            yield

    def _intend(self, ids: Sequence[str]) -> None:
        """Note on disk which models are about to come or go; none = done."""
        if self._local is None:
            return
        file = self._local / INTENT
        if not ids:
            file.unlink(missing_ok=True)
            return
        draft = file.with_name(INTENT + ".new")
        with draft.open("w", encoding="ascii") as f:
            json.dump(list(ids), f)
            f.flush()
            os.fsync(f.fileno())
        draft.replace(file)

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        if self._local is None:
            yield
            return
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        with os.fdopen(os.open(self._local / LOCK, flags, 0o644), "r+b") as file:
            wait_for(file, self._patience, self.where)
            yield
