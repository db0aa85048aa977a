"""Probes in the file of the engine `sqlite`: packed, kept small in number, hashed, read again.

Enters: probes of models by kind, queries.  Leaves: the nearest, or all of them piece by piece.  `loose` holds the probes of models added lately, a row a
model and kind; once there are `CAPACITY` of a kind they are packed into `segments`, as words, so that a scan streams; `owners` says whose they
are. `hashed` names the files of hash tables (`buckets.py`) made of a kind with `HASH_FROM` probes; what they do not cover yet is scanned, and a
removal drops them.  Every method runs inside a transaction of its caller's, `hash` in two of its own.
"""

from __future__ import annotations

import os
import re
import sqlite3
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from begat.errors import InputError
from begat.index.store import buckets
from begat.index.store.hamming import Nearest, unwords, words
from begat.index.store.records import WIDTH, Hit, Probe, check_id, check_kind
from begat.index.store.sqlite_file import damaged, reading, writing
from begat.types import U8

#: probes of a segment: 512 KB, so that a block and its counts stay in a core's cache
CAPACITY = 16384
#: probes of a kind from which hash tables are made; below, looking at every one takes milliseconds
HASH_FROM = 200_000
#: seconds after which a draft of hash tables is a killed process's
_DRAFT_AGE = 86400
_HASH_FILE = re.compile(r"buckets-[a-z0-9-]{1,32}-[0-9]{1,12}\.bin")
_BATCH = 500
OWNER = np.dtype([("model", "<u4"), ("layer", "<i2"), ("part", "<u2")])
Owners = npt.NDArray[Any]  # dtype OWNER
#: whose probes, layers and part numbers; bits: of one kind, model after model
Fresh = tuple[list[tuple[int, int, int]], list[U8]]


class Probes:
    """The probes of an open store."""

    def __init__(self, db: sqlite3.Connection, where: str) -> None:
        self._db, self.where = db, where

    # --- writing ------------------------------------------------------------------------------------------------

    def collect(self, row: int, probes: Iterable[Probe], fresh: dict[str, Fresh], parts: dict[str, int]) -> None:
        """Sort a model's probes by kind into `fresh`; `parts` maps names of parts to numbers and grows."""
        for probe in probes:
            if probe.part not in parts:
                if len(parts) > 0xFFFF:
                    raise InputError("index holds too many names of parts", expected="at most 65536", found=probe.part)
                self._db.execute("INSERT INTO parts VALUES (?, ?)", (len(parts), probe.part))
                parts[probe.part] = len(parts)
            owners, bits = fresh.setdefault(probe.kind, ([], []))
            owners.append((row, probe.layer, parts[probe.part]))
            bits.append(probe.bits)

    def part_numbers(self) -> dict[str, int]:
        """Name of a part → its number."""
        return {part: code for code, part in self._db.execute("SELECT code, part FROM parts")}

    def put(self, fresh: dict[str, Fresh]) -> None:
        """Store what `collect` sorted."""
        for kind, (owners, bits) in fresh.items():
            self._put(kind, np.array(owners, OWNER), np.stack(bits))

    def remove(self, rows: list[int]) -> None:
        """Remove the probes of these models."""
        self._db.executemany("DELETE FROM loose WHERE row = ?", [(row,) for row in rows])
        gone = np.array(rows, np.int64)
        pieces = "SELECT segment FROM segments WHERE low <= ? AND high >= ?"
        for segment in sorted({s for row in rows for (s,) in self._db.execute(pieces, (row, row)).fetchall()}):
            owners = self._owners_of(segment)
            keep = ~np.isin(owners["model"], gone)
            if not keep.all():
                self._rewrite(segment, owners, keep)

    def repack(self) -> None:
        """Small segments and loose probes into full segments."""
        for kind in self.all_kinds():
            segments = self._db.execute("SELECT segment, n FROM segments WHERE kind = ?", (kind,)).fetchall()
            for segment, n in segments:
                if n < CAPACITY // 2 and len(segments) > 1:
                    self._loosen(segment, kind)
            self._pack(kind, np.empty(0, OWNER), np.empty((0, WIDTH), np.uint8))

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
        loose = self._all_loose(kind)
        owners = np.concatenate([*(o for o, _ in loose), owners])
        bits_NB = np.concatenate([*(b for _, b in loose), bits_NB])
        for at in range(0, len(owners), CAPACITY):
            some = slice(at, at + CAPACITY)
            piece = (kind, len(owners[some]), *_range(owners[some]), words(bits_NB[some]).tobytes())
            done = self._db.execute("INSERT INTO segments (kind, n, low, high, bits) VALUES (?, ?, ?, ?, ?)", piece)
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
        piece = (kept.shape[1], *_range(owners[keep]), kept.tobytes(), segment)
        self._db.execute("UPDATE segments SET n = ?, low = ?, high = ?, bits = ? WHERE segment = ?", piece)
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

    def hash(self, kind: str) -> None:
        """Hash tables of a kind's segments, where there are none or segments have come since. Readers and writers go on meanwhile."""
        state = "SELECT count(*), coalesce(sum(n), 0), coalesce(max(segment), 0) FROM segments WHERE kind = ? AND segment <= ?"
        with reading(self._db, self.where) as db:
            pieces, n, through = db.execute(state, (kind, 1 << 62)).fetchone()
            had = db.execute("SELECT through FROM hashed WHERE kind = ?", (kind,)).fetchone()
            if n < HASH_FROM or (had is not None and had[0] == through and self.buckets(kind) is not None):
                return
            segments = [s for (s,) in db.execute("SELECT segment FROM segments WHERE kind = ? ORDER BY segment", (kind,)).fetchall()]
            bits_NB = np.concatenate([unwords(self._words_of(s)) for s in segments])
            owners = np.concatenate([self._owners_of(s) for s in segments])
        file, width = Path(self.where) / f"buckets-{kind}-{through}.bin", buckets.width_for(n)
        draft = file.with_name(f"{file.name}.{os.getpid()}.new")
        crc = buckets.write(draft, bits_NB, owners, width)
        with writing(self._db, self.where) as db:
            if db.execute(state, (kind, through)).fetchone() == (pieces, n, through):
                draft.replace(file)
                db.execute("INSERT OR REPLACE INTO hashed VALUES (?, ?, ?, ?, ?, ?)", (kind, file.name, n, width, through, crc))
            else:
                draft.unlink()

    def sweep(self) -> None:
        """Files of hash tables that nothing names any more. A reader that still maps one keeps it."""
        named = {file for (file,) in self._db.execute("SELECT file FROM hashed")}
        for file in Path(self.where).glob("buckets-*"):
            # a draft may be another process's, at work just now
            if file.name not in named and (file.suffix == ".bin" or time.time() - file.lstat().st_mtime > _DRAFT_AGE):
                file.unlink(missing_ok=True)

    # --- reading ------------------------------------------------------------------------------------------------

    def nearest(self, kind: str, queries_QB: U8, k: int, exact: bool) -> list[Hit]:
        """See `Store.nearest`."""
        nearest = Nearest(queries_QB, k)
        first, begins, through, hashed = 0, [], 0, None if exact else self.buckets(kind)
        if hashed is not None:
            try:
                for q, query_B in enumerate(queries_QB):
                    at_N, bits_NB = hashed[0].near(query_B, k)
                    nearest.show_some(q, words(bits_NB), at_N)
            except buckets.Damaged:
                raise damaged(self.where, f"hash tables of kind '{kind}' are damaged") from None
            first, through = hashed[0].n, hashed[1]
        pieces = "SELECT segment, n, bits FROM segments WHERE kind = ? AND segment > ? ORDER BY segment"
        for segment, n, bits in self._db.execute(pieces, (kind, through)):
            begins.append((first, segment))
            nearest.show(self._words(n, bits, segment), first)
            first += n
        loose = self._all_loose(kind)
        if loose:
            nearest.show(words(np.concatenate([b for _, b in loose])), first)
        mine = np.concatenate([np.empty(0, OWNER), *(o for o, _ in loose)])
        found = self._owned(nearest, len(queries_QB), None if hashed is None else hashed[0].owners, begins, mine, first)
        parts, ids = self.part_names(), self._ids({model for _, model, *_ in found})
        if any(model not in ids or part not in parts for _, model, _, part, _ in found):
            raise damaged(self.where, "probes belong to no model")
        return [Hit(q, ids[model], layer, parts[part], far) for q, model, layer, part, far in found]

    def counts(self) -> dict[str, int]:
        """Kind → how many probes."""
        counts = dict.fromkeys(self.all_kinds(), 0)
        for kind, n in self._db.execute("SELECT kind, sum(n) FROM segments GROUP BY kind").fetchall():
            counts[kind] += int(n)
        for kind, size in self._db.execute("SELECT kind, sum(length(owners)) FROM loose GROUP BY kind").fetchall():
            counts[kind] += int(size) // OWNER.itemsize
        return counts

    def everything(self, model: int | None) -> Iterator[tuple[str, Owners, U8]]:
        """All probes, or one model's: (kind, owners [N], bits [N, 32]), piece by piece."""
        db = self._db
        only, here = ("", "") if model is None else (f" WHERE row = {int(model)}", f" WHERE low <= {int(model)} AND high >= {int(model)}")
        for kind, row, owners, bits in db.execute(f"SELECT kind, row, owners, bits FROM loose{only}"):  # noqa: S608
            yield (kind, *self._loose(row, owners, bits))
        for segment, kind, low, high in db.execute(f"SELECT segment, kind, low, high FROM segments{here} ORDER BY segment").fetchall():  # noqa: S608
            owners, words_WN = self._owners_of(segment), self._words_of(segment)
            if len(owners) != words_WN.shape[1] or (low, high) != _range(owners):
                raise damaged(self.where, f"owners of segment {segment} are damaged")
            keep = np.ones(len(owners), np.bool_) if model is None else owners["model"] == model
            if keep.any():
                yield kind, owners[keep], unwords(words_WN)[keep]

    def faults(self) -> Iterator[str]:
        """Pieces that belong to nothing, and hash tables that are not what was written."""
        for kind, name, crc in self._db.execute("SELECT kind, file, crc FROM hashed").fetchall():
            if self.buckets(str(kind)) is None or buckets.crc_of(Path(self.where) / name) != crc:
                yield f"hash tables of kind {kind} are damaged or missing (searches still work; begat index compact makes them anew)"
        for (segment,) in self._db.execute("SELECT segment FROM owners WHERE segment NOT IN (SELECT segment FROM segments)"):
            yield f"owners of segment {segment} have no probes"

    def buckets(self, kind: str) -> tuple[buckets.Buckets, int] | None:
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

    def all_kinds(self) -> list[str]:
        """Kinds of which there are probes."""
        rows = self._db.execute("SELECT DISTINCT kind FROM segments UNION SELECT DISTINCT kind FROM loose ORDER BY kind")
        return [check_kind(kind) for (kind,) in rows.fetchall()]

    def part_names(self) -> dict[int, str]:
        """Number of a part → its name."""
        return {code: str(part) for code, part in self._db.execute("SELECT code, part FROM parts")}

    # --- pieces -------------------------------------------------------------------------------------------------

    def _owned(
        self, nearest: Nearest, queries: int, hashed: Owners | None, begins: list[tuple[int, int]], loose: Owners, first_loose: int
    ) -> list[tuple[int, int, int, int, int]]:  # fmt: skip
        """Whose probes were found: (query, model, layer, part, distance). Segments' owners are read only where something was found."""
        firsts = np.array([first for first, _ in begins], np.int64)
        owners: dict[int, Owners] = {}
        found = []
        for q in range(queries):
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
                        raise damaged(self.where, f"owners of segment {segment} are damaged")
                    owner = owners[segment][at - first]
                found.append((q, int(owner["model"]), int(owner["layer"]), int(owner["part"]), far))
        return found

    def _ids(self, rows: set[int]) -> dict[int, str]:
        ids: dict[int, str] = {}
        wanted = sorted(rows)
        for at in range(0, len(wanted), _BATCH):
            some = wanted[at : at + _BATCH]
            ids.update(self._db.execute(f"SELECT row, id FROM models WHERE row IN ({', '.join('?' * len(some))})", some))  # noqa: S608
        return {row: check_id(id, self.where) for row, id in ids.items()}

    def _all_loose(self, kind: str) -> list[tuple[Owners, U8]]:
        rows = self._db.execute("SELECT row, owners, bits FROM loose WHERE kind = ? ORDER BY row", (kind,))
        return [self._loose(*row) for row in rows]

    def _loose(self, row: int, owners: bytes, bits: bytes) -> tuple[Owners, U8]:
        mine = self._owners(owners, row)
        if type(bits) is not bytes or len(bits) != WIDTH * len(mine) or not (mine["model"] == row).all():
            raise damaged(self.where, f"loose probes of row {row} are damaged")
        return mine, np.frombuffer(bits, np.uint8).reshape(-1, WIDTH)

    def _words(self, n: int, bits: bytes | None, segment: int) -> npt.NDArray[np.uint64]:
        if type(n) is not int or type(bits) is not bytes or n < 1 or len(bits) != WIDTH * n:
            raise damaged(self.where, f"segment {segment} is damaged")
        return np.frombuffer(bits, "<u8").reshape(-1, n)

    def _words_of(self, segment: int) -> npt.NDArray[np.uint64]:
        n, bits = self._db.execute("SELECT n, bits FROM segments WHERE segment = ?", (segment,)).fetchone() or (0, None)
        return self._words(n, bits, segment)

    def _owners_of(self, segment: int) -> Owners:
        found = self._db.execute("SELECT owners FROM owners WHERE segment = ?", (segment,)).fetchone()
        return self._owners(found[0] if found else None, segment)

    def _owners(self, blob: bytes | None, piece: int) -> Owners:
        if type(blob) is not bytes or not blob or len(blob) % OWNER.itemsize:
            raise damaged(self.where, f"owners of piece {piece} are damaged")
        return np.frombuffer(blob, OWNER)


def _range(owners: Owners) -> tuple[int, int]:
    """The first and the last model that a piece holds probes of."""
    return int(owners["model"].min()), int(owners["model"].max())
