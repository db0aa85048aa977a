"""The file of the engine `sqlite`: its tables, opening and making it, transactions, and SQLite's errors as one line.

Enters: the path of `index.sqlite`.  Leaves: a connection that was checked.  What is done with it: `sqlite.py`, `sqlite_probes.py`.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from begat.errors import InputError
from begat.index.store.base import VERSION, Mode
from begat.index.store.records import BLOB_LIMIT, FIELDS

FILE = "index.sqlite"
#: "bgat" as a number, in the file's header: what kind of SQLite file this is
APPLICATION = 0x62676174
_TEXTS = ("id", "name", "source", "format", "family", "header_digest", "added", "note", "probe_sum")
_COLUMNS = ", ".join(f"{f} {'TEXT' if f in _TEXTS else 'INTEGER'} NOT NULL{' UNIQUE' if f == 'id' else ''}" for f in FIELDS)
SCHEMA = (
    f"CREATE TABLE models (row INTEGER PRIMARY KEY AUTOINCREMENT, {_COLUMNS})",
    "CREATE INDEX models_name ON models (name)",
    "CREATE TABLE blobs (row INTEGER PRIMARY KEY, blob BLOB NOT NULL)",
    "CREATE TABLE parts (code INTEGER PRIMARY KEY, part TEXT NOT NULL UNIQUE)",
    "CREATE TABLE loose (kind TEXT NOT NULL, row INTEGER NOT NULL, owners BLOB NOT NULL, bits BLOB NOT NULL, PRIMARY KEY (kind, row))",
    "CREATE INDEX loose_row ON loose (row)",
    "CREATE TABLE segments (segment INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, n INTEGER NOT NULL, low INTEGER NOT NULL, "
    "high INTEGER NOT NULL, bits BLOB NOT NULL)",
    "CREATE INDEX segments_kind ON segments (kind, segment, n)",
    "CREATE INDEX segments_rows ON segments (low, high)",
    "CREATE TABLE owners (segment INTEGER PRIMARY KEY, owners BLOB NOT NULL)",
    "CREATE TABLE hashed (kind TEXT PRIMARY KEY, file TEXT NOT NULL, n INTEGER NOT NULL, width INTEGER NOT NULL, "
    "through INTEGER NOT NULL, crc INTEGER NOT NULL)",
)
_LENGTH_LIMIT = 2 * BLOB_LIMIT
_DAMAGE = "begat index verify lists what is damaged; restore a copy, or import an export"


def create(file: Path) -> None:
    """A new, empty store under its name at once: a kill leaves none, not half a one."""
    draft = file.with_name(f"{FILE}.{os.getpid()}.new")
    draft.unlink(missing_ok=True)
    db = sqlite3.connect(draft, isolation_level=None)
    try:
        db.execute("PRAGMA page_size = 16384")
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        db.execute("BEGIN")
        for statement in SCHEMA:
            db.execute(statement)
        db.execute(f"PRAGMA application_id = {APPLICATION}")
        db.execute(f"PRAGMA user_version = {VERSION}")
        db.execute("COMMIT")
        db.execute("PRAGMA journal_mode = WAL")
    finally:
        db.close()
    try:
        os.link(draft, file)
    except OSError:
        if file.exists():
            raise InputError("there is an index already", file=file.parent, fix="open it with mode 'write', or name another folder") from None
        draft.rename(file)  # a file system without hard links
    finally:
        draft.unlink(missing_ok=True)


def connect(file: Path, mode: Mode, patience: float) -> sqlite3.Connection:
    """Open the file; a reader that may not write to the folder reads it as it lies."""
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


def check_layout(db: sqlite3.Connection, where: str) -> None:
    """Exactly the tables that this version makes: a crafted file may hold views and triggers under their names."""
    application, version = (int(db.execute(f"PRAGMA {p}").fetchone()[0]) for p in ("application_id", "user_version"))
    if application != APPLICATION:
        raise InputError("is an SQLite file, but no begat index", file=Path(where) / FILE, fix="name the folder that begat index made")
    if version > VERSION:
        raise InputError("index was made by a newer begat", file=where, expected=f"layout version up to {VERSION}", found=version, fix="update begat")
    found = {sql for (sql,) in db.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'")}
    if version != VERSION or found != set(SCHEMA):
        raise damaged(where, "tables are not those of a begat index")


def damaged(where: str, what: str) -> InputError:
    """The error for damage."""
    return InputError(what, file=where, fix=_DAMAGE)


@contextlib.contextmanager
def errors(where: str) -> Iterator[None]:
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
        raise damaged(where, f"cannot be used: {text}") from None
    except (sqlite3.Error, sqlite3.Warning, UnicodeDecodeError, OverflowError) as err:  # names in a damaged file may be no text
        raise damaged(where, f"is damaged: {err}") from None
    except OSError as err:
        raise InputError(f"cannot be used: {err.strerror or err}", file=err.filename or where, fix="check the disk and the permissions") from None


@contextlib.contextmanager
def writing(db: sqlite3.Connection, where: str) -> Iterator[sqlite3.Connection]:
    """A transaction that writes: all of it or nothing."""
    with errors(where):
        db.execute("BEGIN IMMEDIATE")
        try:
            yield db
            db.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                db.execute("ROLLBACK")
            raise


@contextlib.contextmanager
def reading(db: sqlite3.Connection, where: str) -> Iterator[sqlite3.Connection]:
    """A transaction that reads one state of the store."""
    with errors(where):
        db.execute("BEGIN")
        try:
            yield db
        finally:
            with contextlib.suppress(sqlite3.Error):
                db.execute("COMMIT")
