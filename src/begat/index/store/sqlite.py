"""Engine `sqlite`: one file, `index.sqlite`, in a local folder. Needs nothing beyond Python and numpy.

Enters: what `base.Store` says.  Tables: `models` (the manifest), `blobs` (fingerprints, so that listing never reads them), `loose` (probes of
models added lately, a row a model and kind), `segments` (probes of one kind packed as words, so that a scan streams), `owners` (whose they are).
Loose probes are packed once there are `CAPACITY` of a kind.  `hashed` names the files of hash tables (`buckets.py`) that `compact` makes for a kind
with `HASH_FROM` probes; what they do not cover yet is scanned, and a removal drops them.  Write-ahead log: readers see the last commit while one
writes; a kill at any moment leaves the last commit.  Bit counts: `hamming.py`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import sqlite3
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import numpy.typing as npt

from begat.errors import InputError
from begat.index.store import buckets
from begat.index.store.base import ENGINES, VERSION, Mode, Store
from begat.index.store.hamming import Nearest, unwords, words
from begat.index.store.records import (
    BLOB_LIMIT,
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

FILE = "index.sqlite"
#: "bgat" as a number, in the file's header: what kind of SQLite file this is
APPLICATION = 0x62676174
#: probes of a segment: 512 KB, so that a block and its counts stay in a core's cache
CAPACITY = 16384
#: probes of a kind from which hash tables are made; below, looking at every one takes milliseconds
HASH_FROM = 200_000
#: seconds after which a draft of hash tables is a killed process's
_DRAFT_AGE = 86400
_HASH_FILE = re.compile(r"buckets-[a-z0-9-]{1,32}-[0-9]{1,12}\.bin")
OWNER = np.dtype([("model", "<u4"), ("layer", "<i2"), ("part", "<u2")])
_TEXTS = ("id", "name", "source", "format", "family", "header_digest", "added", "note", "probe_sum")
_COLUMNS = ", ".join(f"{f} {'TEXT' if f in _TEXTS else 'INTEGER'} NOT NULL{' UNIQUE' if f == 'id' else ''}" for f in FIELDS)
_SCHEMA = (
    f"CREATE TABLE models (row INTEGER PRIMARY KEY AUTOINCREMENT, {_COLUMNS})",
    "CREATE INDEX models_name ON models (name)",
    "CREATE TABLE blobs (row INTEGER PRIMARY KEY, blob BLOB NOT NULL)",
    "CREATE TABLE parts (code INTEGER PRIMARY KEY, part TEXT NOT NULL UNIQUE)",
    "CREATE TABLE loose (kind TEXT NOT NULL, row INTEGER NOT NULL, owners BLOB NOT NULL, bits BLOB NOT NULL, PRIMARY KEY (kind, row))",
    "CREATE TABLE segments (segment INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, n INTEGER NOT NULL, bits BLOB NOT NULL)",
    "CREATE INDEX segments_kind ON segments (kind, segment, n)",
    "CREATE TABLE owners (segment INTEGER PRIMARY KEY, owners BLOB NOT NULL)",
    "CREATE TABLE hashed (kind TEXT PRIMARY KEY, file TEXT NOT NULL, n INTEGER NOT NULL, width INTEGER NOT NULL, "
    "through INTEGER NOT NULL, crc INTEGER NOT NULL)",
)
_LENGTH_LIMIT = 2 * BLOB_LIMIT
_BATCH = 500
_DAMAGE = "begat index verify lists what is damaged; restore a copy, or import an export"

Owners = npt.NDArray[Any]  # dtype OWNER


@ENGINES.add("sqlite")
class SqliteStore(Store):
    """See `begat.index.store.base.Store`."""

    engine, sign = "sqlite", FILE

    def __init__(self, where: str, mode: Mode, db: sqlite3.Connection) -> None:
        self.where, self.mode, self._db = where, mode, db

    @classmethod
    def open(cls, where: str, mode: Mode, patience: float) -> SqliteStore:
        """See `Store.open`."""
        file = Path(where) / FILE
        with _errors(where):
            if mode == "create":
                _create(file)
            db = _connect(file, mode, patience)
            try:
                _check_layout(db, where)
            except BaseException:
                db.close()
                raise
        return cls(where, mode, db)

    def close(self) -> None:
        with _errors(self.where):
            self._db.close()

    # --- writing ------------------------------------------------------------------------------------------------

    def add(self, records: Iterable[Record]) -> Added:
        added: list[str] = []
        present: list[str] = []
        same_name: list[tuple[str, tuple[str, ...]]] = []
        fresh: dict[str, tuple[list[tuple[int, int, int]], list[U8]]] = defaultdict(lambda: ([], []))
        with self._writing() as db:
            parts: dict[str, int] = {part: code for code, part in db.execute("SELECT code, part FROM parts")}
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
                for probe in record.probes:
                    owners, bits = fresh[probe.kind]
                    owners.append((int(row or 0), probe.layer, _part(probe.part, parts, db)))
                    bits.append(probe.bits)
                added.append(entry.id)
                if namesakes:
                    same_name.append((entry.id, namesakes))
            for kind, (owners, bits) in fresh.items():
                self._put(kind, np.array(owners, OWNER), np.stack(bits))
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
                db.execute("DELETE FROM loose WHERE row = ?", (row,))
            gone = np.array(rows, np.int64)
            for segment, blob in db.execute("SELECT segment, owners FROM owners").fetchall():
                owners = self._owners(blob, segment)
                keep = ~np.isin(owners["model"], gone)
                if not keep.all():
                    self._rewrite(segment, owners, keep)
        return wanted

    def compact(self) -> None:
        with self._writing():
            for kind in self._all_kinds():
                segments = self._db.execute("SELECT segment, n FROM segments WHERE kind = ?", (kind,)).fetchall()
                for segment, n in segments:
                    if n < CAPACITY // 2 and len(segments) > 1:
                        self._loosen(segment, kind)
                self._pack(kind, np.empty(0, OWNER), np.empty((0, WIDTH), np.uint8))
        with _errors(self.where):
            for kind in self._all_kinds():
                self._hash(kind)
            self._sweep()
            self._db.execute("PRAGMA incremental_vacuum").fetchall()
            self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def _put(self, kind: str, owners: Owners, bits_NB: U8) -> None:
        """Fresh probes of one kind, model after model: into `loose`, or packed with what is there once it fills a segment."""
        loose = self._db.execute("SELECT coalesce(sum(length(owners)), 0) FROM loose WHERE kind = ?", (kind,)).fetchone()[0]
        if int(loose) // OWNER.itemsize + len(owners) >= CAPACITY:
            self._pack(kind, owners, bits_NB)
            return
        models, starts = np.unique(owners["model"], return_index=True)
        for model, begin, end in zip(models.tolist(), starts, np.append(starts[1:], len(owners)), strict=True):
            mine = (kind, model, owners[begin:end].tobytes(), bits_NB[begin:end].tobytes())
            self._db.execute("INSERT INTO loose VALUES (?, ?, ?, ?)", mine)

    def _pack(self, kind: str, owners: Owners, bits_NB: U8) -> None:
        """All loose probes of a kind and these into segments."""
        loose = [self._loose(*row) for row in self._db.execute("SELECT row, owners, bits FROM loose WHERE kind = ? ORDER BY row", (kind,))]
        owners = np.concatenate([*(o for o, _ in loose), owners])
        bits_NB = np.concatenate([*(b for _, b in loose), bits_NB])
        for at in range(0, len(owners), CAPACITY):
            some = slice(at, at + CAPACITY)
            done = self._db.execute(
                "INSERT INTO segments (kind, n, bits) VALUES (?, ?, ?)", (kind, len(owners[some]), words(bits_NB[some]).tobytes())
            )
            self._db.execute("INSERT INTO owners VALUES (?, ?)", (done.lastrowid, owners[some].tobytes()))
        self._db.execute("DELETE FROM loose WHERE kind = ?", (kind,))

    def _rewrite(self, segment: int, owners: Owners, keep: npt.NDArray[np.bool_]) -> None:
        """A segment without the probes that are not kept."""
        words_WN = self._words_of(segment)
        self._db.execute("DELETE FROM hashed WHERE kind = (SELECT kind FROM segments WHERE segment = ?)", (segment,))
        if not keep.any():
            self._db.execute("DELETE FROM segments WHERE segment = ?", (segment,))
            self._db.execute("DELETE FROM owners WHERE segment = ?", (segment,))
            return
        kept = np.ascontiguousarray(words_WN[:, keep])
        self._db.execute("UPDATE segments SET n = ?, bits = ? WHERE segment = ?", (kept.shape[1], kept.tobytes(), segment))
        self._db.execute("UPDATE owners SET owners = ? WHERE segment = ?", (owners[keep].tobytes(), segment))

    def _loosen(self, segment: int, kind: str) -> None:
        """The probes of a small segment back into `loose`, where `_pack` finds them."""
        words_WN = self._words_of(segment)
        owners = self._owners_of(segment)
        self._db.execute("DELETE FROM hashed WHERE kind = ?", (kind,))
        bits_NB = unwords(words_WN)
        for model in np.unique(owners["model"]):
            mine = owners["model"] == model
            before = self._db.execute("SELECT owners, bits FROM loose WHERE kind = ? AND row = ?", (kind, int(model))).fetchone() or (b"", b"")
            self._db.execute(
                "INSERT OR REPLACE INTO loose VALUES (?, ?, ?, ?)",
                (kind, int(model), before[0] + owners[mine].tobytes(), before[1] + bits_NB[mine].tobytes()),
            )
        self._db.execute("DELETE FROM segments WHERE segment = ?", (segment,))
        self._db.execute("DELETE FROM owners WHERE segment = ?", (segment,))

    def _hash(self, kind: str) -> None:
        """Hash tables of a kind's segments, where there are none or segments have come since. Readers and writers go on meanwhile."""
        state = "SELECT count(*), coalesce(sum(n), 0), coalesce(max(segment), 0) FROM segments WHERE kind = ? AND segment <= ?"
        with self._reading() as db:
            pieces, n, through = db.execute(state, (kind, 1 << 62)).fetchone()
            had = db.execute("SELECT through FROM hashed WHERE kind = ?", (kind,)).fetchone()
            if n < HASH_FROM or (had is not None and had[0] == through and self._buckets(kind) is not None):
                return
            segments = [s for (s,) in db.execute("SELECT segment FROM segments WHERE kind = ? ORDER BY segment", (kind,)).fetchall()]
            bits_NB = np.concatenate([unwords(self._words_of(s)) for s in segments])
            owners = np.concatenate([self._owners_of(s) for s in segments])
        file, width = Path(self.where) / f"buckets-{kind}-{through}.bin", buckets.width_for(n)
        draft = file.with_name(f"{file.name}.{os.getpid()}.new")
        crc = buckets.write(draft, bits_NB, owners, width)
        with self._writing() as db:
            if db.execute(state, (kind, through)).fetchone() == (pieces, n, through):
                draft.replace(file)
                db.execute("INSERT OR REPLACE INTO hashed VALUES (?, ?, ?, ?, ?, ?)", (kind, file.name, n, width, through, crc))
            else:
                draft.unlink()

    def _sweep(self) -> None:
        """Files of hash tables that nothing names any more. A reader that still maps one keeps it."""
        with self._writing() as db:
            named = {file for (file,) in db.execute("SELECT file FROM hashed")}
            for file in Path(self.where).glob("buckets-*"):
                # a draft may be another process's, at work just now
                if file.name not in named and (file.suffix == ".bin" or time.time() - file.lstat().st_mtime > _DRAFT_AGE):
                    file.unlink(missing_ok=True)

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
            with _errors(self.where):
                rows = self._db.execute(query, (last, *values)).fetchall()
            for row in rows:
                yield check_entry(Entry(*row[1:]), self.where)
            if len(rows) < _BATCH:
                return
            last = rows[-1][0]

    def get(self, id: str) -> bytes:
        check_id(id, self.where)
        with _errors(self.where):
            found = self._db.execute("SELECT blob FROM models JOIN blobs USING (row) WHERE id = ?", (id,)).fetchone()
        if found is None:
            self.entry(id)
            raise _damaged(self.where, f"fingerprint {id} is missing")
        if type(found[0]) is not bytes or hashlib.sha256(found[0]).hexdigest() != id:
            raise _damaged(self.where, f"fingerprint {id} is not what was stored")
        return found[0]

    def probes(self, id: str) -> tuple[Probe, ...]:
        check_id(id, self.where)
        with self._reading() as db:
            row = db.execute("SELECT row, name, probe_sum FROM models WHERE id = ?", (id,)).fetchone()
            if row is None:
                raise self.unknown(id)
            parts = self._parts()
            found = [
                Probe(kind, int(o["layer"]), parts.get(int(o["part"]), "?"), bits_B)
                for kind, owners, bits_NB in self._everything(row[0])
                for o, bits_B in zip(owners, bits_NB, strict=True)
            ]
        for probe in found:
            check_probe(probe, str(row[1]), self.where)
        if probe_sum(found) != row[2]:
            raise _damaged(self.where, f"probes of model {id} are not what was stored")
        return tuple(sorted(found, key=Probe.key))

    def nearest(self, kind: str, queries_QB: U8, k: int, *, exact: bool = False) -> list[Hit]:
        queries_QB = check_queries(queries_QB, k)
        check_kind(kind)
        nearest = Nearest(queries_QB, k)
        with self._reading() as db:
            first, begins, through, hashed = 0, [], 0, None if exact else self._buckets(kind)
            if hashed is not None:
                try:
                    for q, query_B in enumerate(queries_QB):
                        at_N, bits_NB = hashed[0].near(query_B, k)
                        nearest.show_some(q, words(bits_NB), at_N)
                except buckets.Damaged:
                    raise _damaged(self.where, f"hash tables of kind '{kind}' are damaged") from None
                first, through = hashed[0].n, hashed[1]
            pieces = "SELECT segment, n, bits FROM segments WHERE kind = ? AND segment > ? ORDER BY segment"
            for segment, n, bits in db.execute(pieces, (kind, through)):
                begins.append((first, segment))
                nearest.show(self._words(n, bits, segment), first)
                first += n
            loose = [self._loose(*row) for row in db.execute("SELECT row, owners, bits FROM loose WHERE kind = ? ORDER BY row", (kind,))]
            if loose:
                nearest.show(words(np.concatenate([b for _, b in loose])), first)
            mine = np.concatenate([o for o, _ in loose]) if loose else np.empty(0, OWNER)
            return self._hits(nearest, None if hashed is None else hashed[0].owners, begins, mine, first)

    def kinds(self) -> dict[str, int]:
        with self._reading() as db:
            counts = dict.fromkeys(self._all_kinds(), 0)
            for kind, n in db.execute("SELECT kind, sum(n) FROM segments GROUP BY kind").fetchall():
                counts[kind] += int(n)
            for kind, size in db.execute("SELECT kind, sum(length(owners)) FROM loose GROUP BY kind").fetchall():
                counts[kind] += int(size) // OWNER.itemsize
            return counts

    def count(self) -> int:
        with _errors(self.where):
            return int(self._db.execute("SELECT count(*) FROM models").fetchone()[0])

    def verify(self) -> list[str]:
        try:
            with self._reading() as db:
                faults = [f"{FILE}: {text}" for (text,) in db.execute("PRAGMA integrity_check(20)") if text != "ok"]
                return faults or [*self._verify_models(), *self._verify_probes()]
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
        db, parts = self._db, self._parts()
        for kind, name, crc in db.execute("SELECT kind, file, crc FROM hashed").fetchall():
            if self._buckets(str(kind)) is None or buckets.crc_of(Path(self.where) / name) != crc:
                yield f"hash tables of kind {kind} are damaged or missing (searches still work; begat index compact makes them anew)"
        known = {row: (id, probes, total) for row, id, probes, total in db.execute("SELECT row, id, probes, probe_sum FROM models")}
        for (segment,) in db.execute("SELECT segment FROM owners WHERE segment NOT IN (SELECT segment FROM segments)"):
            yield f"owners of segment {segment} have no probes"
        sums: dict[int, int] = defaultdict(int)
        counts: dict[int, int] = defaultdict(int)
        for kind, owners, bits_NB in self._everything(None):
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

    # --- pieces -------------------------------------------------------------------------------------------------

    def _everything(self, model: int | None) -> Iterator[tuple[str, Owners, U8]]:
        """All probes, or one model's: (kind, owners [N], bits [N, 32]), piece by piece."""
        db = self._db
        only = "" if model is None else f" WHERE row = {int(model)}"
        for kind, row, owners, bits in db.execute(f"SELECT kind, row, owners, bits FROM loose{only}"):  # noqa: S608
            yield (kind, *self._loose(row, owners, bits))
        for segment, kind, n in db.execute("SELECT segment, kind, n FROM segments ORDER BY segment").fetchall():
            owners = self._owners_of(segment)
            keep = slice(None) if model is None else owners["model"] == model
            if model is None or keep.any():  # type: ignore[union-attr]
                words_WN = self._words_of(segment)
                if len(owners) != n:
                    raise _damaged(self.where, f"owners of segment {segment} are damaged")
                yield kind, owners[keep], unwords(words_WN)[keep]

    def _buckets(self, kind: str) -> tuple[buckets.Buckets, int] | None:
        """Hash tables of a kind and the last segment they cover; None where there are none that can be used."""
        row = self._db.execute("SELECT file, n, width, through FROM hashed WHERE kind = ?", (kind,)).fetchone()
        if row is None or not all(type(v) is int and 0 < v < 1 << 40 for v in row[1:]) or not 8 <= row[2] <= 28:
            return None
        if not _HASH_FILE.fullmatch(str(row[0])):
            return None
        try:
            return buckets.Buckets(Path(self.where) / row[0], row[1], OWNER, row[2]), row[3]
        except (OSError, buckets.Damaged):
            return None

    def _hits(
        self, nearest: Nearest, hashed: Owners | None, begins: list[tuple[int, int]], loose: Owners, first_loose: int
    ) -> list[Hit]:  # fmt: skip
        """Names for what was found: segments' owners are read only where something was found."""
        firsts = np.array([first for first, _ in begins], np.int64)
        owners: dict[int, Owners] = {}
        found = []
        for q in range(len(nearest._queries)):
            for at, far in zip(*(x.tolist() for x in nearest.found(q)), strict=True):
                if at >= first_loose:
                    owner = loose[at - first_loose]
                elif hashed is not None and at < len(hashed):
                    owner = hashed[at]
                else:
                    first, segment = begins[int(np.searchsorted(firsts, at, side="right")) - 1]
                    if segment not in owners:
                        owners[segment] = self._owners_of(segment)
                    if at - first >= len(owners[segment]):
                        raise _damaged(self.where, f"owners of segment {segment} are damaged")
                    owner = owners[segment][at - first]
                found.append((q, int(owner["model"]), int(owner["layer"]), int(owner["part"]), far))
        parts, ids = self._parts(), self._ids({model for _, model, *_ in found})
        if any(model not in ids or part not in parts for _, model, _, part, _ in found):
            raise _damaged(self.where, "probes belong to no model")
        return [Hit(q, ids[model], layer, parts[part], far) for q, model, layer, part, far in found]

    def _ids(self, rows: set[int]) -> dict[int, str]:
        ids: dict[int, str] = {}
        wanted = sorted(rows)
        for at in range(0, len(wanted), _BATCH):
            some = wanted[at : at + _BATCH]
            ids.update(self._db.execute(f"SELECT row, id FROM models WHERE row IN ({', '.join('?' * len(some))})", some))  # noqa: S608
        return {row: check_id(id, self.where) for row, id in ids.items()}

    def _parts(self) -> dict[int, str]:
        return {code: str(part) for code, part in self._db.execute("SELECT code, part FROM parts")}

    def _all_kinds(self) -> list[str]:
        rows = self._db.execute("SELECT DISTINCT kind FROM segments UNION SELECT DISTINCT kind FROM loose ORDER BY kind")
        return [check_kind(kind) for (kind,) in rows.fetchall()]

    def _loose(self, row: int, owners: bytes, bits: bytes) -> tuple[Owners, U8]:
        mine = self._owners(owners, row)
        if type(bits) is not bytes or len(bits) != WIDTH * len(mine) or not (mine["model"] == row).all():
            raise _damaged(self.where, f"loose probes of row {row} are damaged")
        return mine, np.frombuffer(bits, np.uint8).reshape(-1, WIDTH)

    def _words(self, n: int, bits: bytes | None, segment: int) -> npt.NDArray[np.uint64]:
        if type(n) is not int or type(bits) is not bytes or n < 1 or len(bits) != WIDTH * n:
            raise _damaged(self.where, f"segment {segment} is damaged")
        return np.frombuffer(bits, "<u8").reshape(-1, n)

    def _words_of(self, segment: int) -> npt.NDArray[np.uint64]:
        n, bits = self._db.execute("SELECT n, bits FROM segments WHERE segment = ?", (segment,)).fetchone() or (0, None)
        return self._words(n, bits, segment)

    def _owners_of(self, segment: int) -> Owners:
        found = self._db.execute("SELECT owners FROM owners WHERE segment = ?", (segment,)).fetchone()
        return self._owners(found[0] if found else None, segment)

    def _owners(self, blob: bytes | None, piece: int) -> Owners:
        if type(blob) is not bytes or not blob or len(blob) % OWNER.itemsize:
            raise _damaged(self.where, f"owners of piece {piece} are damaged")
        return np.frombuffer(blob, OWNER)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that writes: all of it or nothing."""
        self.must_write()
        with _errors(self.where):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """A transaction that reads one state of the store."""
        with _errors(self.where):
            self._db.execute("BEGIN")
            try:
                yield self._db
            finally:
                with contextlib.suppress(sqlite3.Error):
                    self._db.execute("COMMIT")


def _part(part: str, parts: dict[str, int], db: sqlite3.Connection) -> int:
    """The number of a part's name; one not seen before gets the next."""
    if part not in parts:
        if len(parts) > 0xFFFF:
            raise InputError("index holds too many names of parts", expected="at most 65536", found=part)
        db.execute("INSERT INTO parts VALUES (?, ?)", (len(parts), part))
        parts[part] = len(parts)
    return parts[part]


# --- opening ------------------------------------------------------------------------------------------------


def _create(file: Path) -> None:
    """A new, empty store under its name at once: a kill leaves none, not half a one."""
    draft = file.with_name(f"{FILE}.{os.getpid()}.new")
    draft.unlink(missing_ok=True)
    db = sqlite3.connect(draft, isolation_level=None)
    try:
        db.execute("PRAGMA page_size = 16384")
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        db.execute("BEGIN")
        for statement in _SCHEMA:
            db.execute(statement)
        db.execute(f"PRAGMA application_id = {APPLICATION}")
        db.execute(f"PRAGMA user_version = {VERSION}")
        db.execute("COMMIT")
        db.execute("PRAGMA journal_mode = WAL")
    finally:
        db.close()
    try:
        os.link(draft, file)
    except FileExistsError:
        raise InputError("there is an index already", file=file.parent, fix="open it with mode 'write', or name another folder") from None
    finally:
        draft.unlink()


def _connect(file: Path, mode: Mode, patience: float) -> sqlite3.Connection:
    if file.is_symlink() or not file.is_file():
        raise InputError("is not a regular file", file=file, fix="name the folder that begat index made")
    for beside in ("-wal", "-shm", "-journal"):
        if file.with_name(FILE + beside).is_symlink():
            raise InputError("is a link", file=file.with_name(FILE + beside), fix="do not trust this index")
    if mode != "read":
        choices = ["mode=rw"]
    elif os.access(file, os.W_OK) and os.access(file.parent, os.W_OK):
        choices = ["mode=rw"]  # a reader that may write can recover the log of a writer that was killed
    else:
        choices = ["mode=ro", "mode=ro&immutable=1"]
    for choice in choices:
        if choice.endswith("immutable=1") and file.with_name(FILE + "-wal").exists():
            raise InputError("index was not closed, and this folder cannot be written to", file=file, fix="open it once where it can be")
        db = sqlite3.connect(f"file:{quote(str(file.absolute()))}?{choice}", uri=True, timeout=patience, isolation_level=None)
        try:
            db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LENGTH_LIMIT)
            db.execute("PRAGMA trusted_schema = OFF")
            db.execute("PRAGMA cell_size_check = ON")
            db.execute("PRAGMA synchronous = FULL")
            db.execute("PRAGMA journal_size_limit = 67108864")
            if mode == "read":
                db.execute("PRAGMA query_only = ON")
            db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        except sqlite3.OperationalError:
            db.close()
            if choice == choices[-1]:
                raise
        except BaseException:
            db.close()
            raise
        else:
            return db
    raise AssertionError


def _check_layout(db: sqlite3.Connection, where: str) -> None:
    """Exactly the tables that this version makes: a crafted file may hold views and triggers under their names."""
    application, version = (int(db.execute(f"PRAGMA {p}").fetchone()[0]) for p in ("application_id", "user_version"))
    if application != APPLICATION:
        raise InputError("is an SQLite file, but no begat index", file=Path(where) / FILE, fix="name the folder that begat index made")
    if version > VERSION:
        raise InputError("index was made by a newer begat", file=where, expected=f"layout version up to {VERSION}", found=version, fix="update begat")
    found = {sql for (sql,) in db.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'")}
    if version != VERSION or found != set(_SCHEMA):
        raise _damaged(where, "tables are not those of a begat index")


def _damaged(where: str, what: str) -> InputError:
    return InputError(what, file=where, fix=_DAMAGE)


@contextlib.contextmanager
def _errors(where: str) -> Iterator[None]:
    """SQLite's errors as one line."""
    try:
        yield
    except sqlite3.OperationalError as err:
        text = str(err)
        if "locked" in text or "busy" in text:
            raise InputError("another process is writing to this index", file=where, fix="try again when it is done") from None
        if "readonly" in text:
            raise InputError("index cannot be written to", file=where, fix="check the folder's permissions") from None
        if "disk is full" in text:
            raise InputError("no space left for this index", file=where, fix="free space; nothing was changed") from None
        raise _damaged(where, f"cannot be used: {text}") from None
    except (sqlite3.Error, sqlite3.Warning, UnicodeDecodeError, OverflowError) as err:  # names in a damaged file may be no text
        raise _damaged(where, f"is damaged: {err}") from None
    except OSError as err:
        raise InputError(f"cannot be used: {err.strerror or err}", file=err.filename or where, fix="check the disk and the permissions") from None
