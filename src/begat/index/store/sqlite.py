"""Engine `sqlite`: one file, `index.sqlite`, in a local folder. Needs nothing beyond Python and numpy.

Enters: what `base.Store` says.  The manifest is the table `models`; fingerprints lie in `blobs`, so that listing never reads them; probes:
`sqlite_probes.py`; tables, opening and transactions: `sqlite_file.py`.  The write-ahead log lets readers see the last commit while one writes, and a
kill at any moment leaves the last commit.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from begat.errors import InputError, printable
from begat.index.store.base import ENGINES, Mode, Store
from begat.index.store.records import (
    FIELDS,
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
from begat.index.store.sqlite_file import FILE, check_layout, connect, create, damaged, errors, reading, writing
from begat.index.store.sqlite_probes import Fresh, Probes
from begat.types import U8

_BATCH = 500


@ENGINES.add("sqlite")
class SqliteStore(Store):
    """See `begat.index.store.base.Store`."""

    engine, sign = "sqlite", FILE

    def __init__(self, where: str, mode: Mode, db: sqlite3.Connection) -> None:
        self.where, self.mode, self._db = where, mode, db
        self._probes = Probes(db, where)

    @classmethod
    def open(cls, where: str, mode: Mode, patience: float) -> SqliteStore:
        """See `Store.open`."""
        file = Path(where) / FILE
        with errors(where):
            if mode == "create":
                create(file)
            db = connect(file, mode, patience)
            try:
                check_layout(db, where)
            except BaseException:
                db.close()
                raise
        return cls(where, mode, db)

    def close(self) -> None:
        with errors(self.where):
            self._db.close()

    # --- writing ------------------------------------------------------------------------------------------------

    def add(self, records: Iterable[Record]) -> Added:
        added: list[str] = []
        present: list[str] = []
        same_name: list[tuple[str, tuple[str, ...]]] = []
        fresh: dict[str, Fresh] = {}
        with self._writing() as db:
            parts = self._probes.part_numbers()
            for record in (r for batch in in_batches(records, self.where) for r in batch):
                entry = record.entry
                namesakes = tuple(i for (i,) in db.execute("SELECT id FROM models WHERE name = ? ORDER BY row", (entry.name,)))
                done = db.execute(
                    f"INSERT OR IGNORE INTO models ({', '.join(FIELDS)}) VALUES ({', '.join('?' * len(FIELDS))})",  # noqa: S608
                    [getattr(entry, f) for f in FIELDS],
                )
                if not done.rowcount:
                    present.append(entry.id)
                    continue
                row = done.lastrowid
                db.execute("INSERT INTO blobs VALUES (?, ?)", (row, record.blob))
                self._probes.collect(int(row or 0), record.probes, fresh, parts)
                added.append(entry.id)
                if namesakes:
                    same_name.append((entry.id, namesakes))
            self._probes.put(fresh)
        return Added(tuple(added), tuple(present), tuple(same_name))

    def remove(self, ids: Iterable[str]) -> tuple[str, ...]:
        wanted = tuple(dict.fromkeys(check_id(i, self.where) for i in ids))
        with self._writing() as db:
            rows = []
            for id in wanted:
                found = db.execute("SELECT row FROM models WHERE id = ?", (id,)).fetchone()
                if found is None:
                    raise self.unknown(id)
                rows.append(found[0])
            for row in rows:
                db.execute("DELETE FROM models WHERE row = ?", (row,))
                db.execute("DELETE FROM blobs WHERE row = ?", (row,))
            self._probes.remove(rows)
        return wanted

    def compact(self) -> None:
        with self._writing():
            self._probes.repack()
            kinds = self._probes.all_kinds()
        for kind in kinds:
            self._probes.hash(kind)
        with self._writing():
            self._probes.sweep()
        with errors(self.where):
            self._db.execute("PRAGMA incremental_vacuum").fetchall()
            self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    # --- reading ------------------------------------------------------------------------------------------------

    def manifest(
        self, *, id: str | None = None, name: str | None = None, family: str | None = None, format: str | None = None,
        header_digest: str | None = None,
    ) -> Iterator[Entry]:  # fmt: skip
        where = ["+row > ?"] if id is not None else ["row > ?"]  # + keeps SQLite from walking all rows when an index knows better
        values: list[str] = []
        if id is not None:
            if not re.fullmatch(r"[0-9a-f]{1,64}", id):
                raise InputError("not the beginning of an id", file=self.where, expected="1 to 64 hex digits", found=id)
            where.append("id BETWEEN ? AND ?")  # hex digits lie below "g"
            values += [id, id if len(id) == 64 else id + "g"]
        for column, value in (("name", name), ("family", family), ("format", format), ("header_digest", header_digest)):
            if value is not None:
                where.append(f"{column} = ?")
                values.append(value)
        query = f"SELECT row, {', '.join(FIELDS)} FROM models WHERE {' AND '.join(where)} ORDER BY row LIMIT {_BATCH}"  # noqa: S608
        last = -1
        while True:
            with errors(self.where):
                rows = self._db.execute(query, (last, *values)).fetchall()
            for row in rows:
                yield check_entry(Entry(*row[1:]), self.where)
            if len(rows) < _BATCH:
                return
            last = rows[-1][0]

    def get(self, id: str) -> bytes:
        check_id(id, self.where)
        with errors(self.where):
            found = self._db.execute("SELECT blob FROM models JOIN blobs USING (row) WHERE id = ?", (id,)).fetchone()
        if found is None:
            self.entry(id)
            raise damaged(self.where, f"fingerprint {id} is missing")
        if type(found[0]) is not bytes or hashlib.sha256(found[0]).hexdigest() != id:
            raise damaged(self.where, f"fingerprint {id} is not what was stored")
        return found[0]

    def probes(self, id: str) -> tuple[Probe, ...]:
        check_id(id, self.where)
        with reading(self._db, self.where) as db:
            row = db.execute("SELECT row, name, probe_sum FROM models WHERE id = ?", (id,)).fetchone()
            if row is None:
                raise self.unknown(id)
            parts = self._probes.part_names()
            found = [
                Probe(kind, int(o["layer"]), parts.get(int(o["part"]), "?"), bits_B)
                for kind, owners, bits_NB in self._probes.everything(row[0])
                for o, bits_B in zip(owners, bits_NB, strict=True)
            ]
        for probe in found:
            check_probe(probe, str(row[1]), self.where)
        if probe_sum(found) != row[2]:
            raise damaged(self.where, f"probes of model {id} are not what was stored")
        return tuple(sorted(found, key=Probe.key))

    def nearest(self, kind: str, queries_QB: U8, k: int, *, exact: bool = False) -> list[Hit]:
        queries_QB = check_queries(queries_QB, k)
        check_kind(kind)
        with reading(self._db, self.where):
            return self._probes.nearest(kind, queries_QB, k, exact)

    def kinds(self) -> dict[str, int]:
        with reading(self._db, self.where):
            return self._probes.counts()

    def count(self) -> int:
        with errors(self.where):
            return int(self._db.execute("SELECT count(*) FROM models").fetchone()[0])

    def verify(self) -> list[str]:
        try:
            with reading(self._db, self.where) as db:
                faults = [f"{FILE}: {' '.join(text.split())}" for (text,) in db.execute("PRAGMA integrity_check(20)") if text != "ok"]
                return [printable(f, 1000) for f in faults or (*self._verify_models(), *self._verify_probes())]
        except InputError as err:
            return [str(err)]

    def _verify_models(self) -> Iterator[str]:
        db = self._db
        for (row,) in db.execute("SELECT row FROM blobs WHERE row NOT IN (SELECT row FROM models)"):
            yield f"fingerprint {row} belongs to no model"
        rows = db.execute(f"SELECT {', '.join(FIELDS)}, blob FROM models LEFT JOIN blobs USING (row) ORDER BY row")  # noqa: S608
        for *fields, blob in rows:
            entry = Entry(*fields)
            try:
                check_entry(entry, self.where)
            except InputError as err:
                yield str(err)
                continue
            if blob is None:
                yield f"fingerprint {entry.id} is missing"
            elif type(blob) is not bytes or len(blob) != entry.size or hashlib.sha256(blob).hexdigest() != entry.id:
                yield f"fingerprint {entry.id} is not what was stored"

    def _verify_probes(self) -> Iterator[str]:
        db, parts = self._db, self._probes.part_names()
        yield from self._probes.faults()
        known = {row: (id, probes, total) for row, id, probes, total in db.execute("SELECT row, id, probes, probe_sum FROM models")}
        sums: dict[int, int] = defaultdict(int)
        counts: dict[int, int] = defaultdict(int)
        for kind, owners, bits_NB in self._probes.everything(None):
            pairs, which = np.unique(owners[["layer", "part"]], return_inverse=True)
            labels = np.array([label(kind, int(p["layer"]), parts.get(int(p["part"]), "?")) for p in pairs], np.uint64)
            order = np.argsort(owners["model"], kind="stable")
            models, starts = np.unique(owners["model"][order], return_index=True)
            totals = np.add.reduceat(row_sums(bits_NB, labels[which])[order], starts)
            sizes = np.diff(np.append(starts, len(order)))
            for model, total, size in zip(models.tolist(), totals.tolist(), sizes.tolist(), strict=True):
                sums[model] = (sums[model] + total) % (1 << 64)
                counts[model] += size
        for model in sorted(counts.keys() - known.keys()):
            yield f"{counts[model]} probes belong to no model (row {model})"
        for model, (id, probes, total) in known.items():
            if counts[model] != probes or f"{sums[model]:016x}" != total:
                yield f"probes of model {id} are not what was stored ({counts[model]} of {probes})"

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        self.must_write()
        with writing(self._db, self.where) as db:
            yield db
