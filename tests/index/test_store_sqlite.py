"""What only the engine `sqlite` promises: its file, its log, its layout."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from begat.errors import InputError
from begat.index.store import Store, open_store
from begat.index.store.sqlite_file import APPLICATION, FILE
from begat.index.store.sqlite_probes import CAPACITY
from index.store_builders import record

PATH = [p for p in sys.path if p.endswith(("src", "tests"))]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "index", "create", engine="sqlite")


def change(folder: Path, *statements: str) -> None:
    db = sqlite3.connect(folder / FILE)
    for statement in statements:
        db.execute(statement)
    db.commit()
    db.close()


def test_a_newer_layout_is_refused(store: Store, tmp_path: Path) -> None:
    store.close()
    change(tmp_path / "index", "PRAGMA user_version = 2")
    for mode in ("read", "write"):
        with pytest.raises(InputError, match=r"newer begat .expected layout version up to 1, found 2.; fix: update begat"):
            open_store(tmp_path / "index", mode)


def test_other_databases_and_crafted_ones_are_refused(store: Store, tmp_path: Path) -> None:
    store.close()
    (tmp_path / "other").mkdir()
    change(tmp_path / "other", "CREATE TABLE models (id)")
    with pytest.raises(InputError, match="no begat index"):
        open_store(tmp_path / "other")
    change(tmp_path / "other", f"PRAGMA application_id = {APPLICATION}", "PRAGMA user_version = 1")
    with pytest.raises(InputError, match="not those of a begat index"):
        open_store(tmp_path / "other")
    change(tmp_path / "index", "CREATE TRIGGER t AFTER INSERT ON models BEGIN DELETE FROM blobs; END")
    with pytest.raises(InputError, match="not those of a begat index"):
        open_store(tmp_path / "index", "write")


def test_each_fault_is_named(store: Store, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    records = [record(rng, f"m{i}") for i in range(4)]
    store.add(records)
    store.add([record(rng, "many", per_kind=CAPACITY // 8, kinds=("units",), bits=None)])
    store.close()
    ids = [r.entry.id for r in records]
    cases = [
        ("DELETE FROM blobs WHERE row = 1", f"fingerprint {ids[0]} is missing"),
        ("UPDATE blobs SET blob = x'00' WHERE row = 2", f"fingerprint {ids[1]} is not what was stored"),
        ("INSERT INTO blobs VALUES (99, x'00')", "fingerprint 99 belongs to no model"),
        ("DELETE FROM models WHERE row = 3", "fingerprint 3 belongs to no model"),
        ("DELETE FROM models WHERE row = 3", "12 probes belong to no model (row 3)"),
        ("DELETE FROM loose WHERE row = 4 AND kind = 'gram'", f"probes of model {ids[3]} are not what was stored (9 of 12)"),
        ("UPDATE parts SET part = 'other'", f"probes of model {ids[0]} are not what was stored (12 of 12)"),
        ("UPDATE models SET family = x'ff' WHERE row = 1", "bad family"),
        ("UPDATE models SET parameters = 'many' WHERE row = 1", "bad parameters"),
        ("UPDATE models SET note = hex(zeroblob(4000000)) WHERE row = 1", "bad note"),
        ("UPDATE loose SET bits = x'00' WHERE row = 1", "loose probes of row 1 are damaged"),
    ]
    whole = (tmp_path / "index" / FILE).read_bytes()
    for statement, fault in cases:
        (tmp_path / "index" / FILE).write_bytes(whole)
        change(tmp_path / "index", statement)
        with open_store(tmp_path / "index") as again:
            faults = again.verify()
            assert any(fault in f for f in faults), (statement, faults)
            assert len(faults) < 8 and all(f.isprintable() for f in faults)


def test_a_reader_recovers_what_a_killed_writer_committed(store: Store, tmp_path: Path) -> None:
    store.close()
    code = f"""
import os, signal, sys, numpy as np
sys.path[:0] = {PATH!r}
from begat.index.store import open_store
from index.store_builders import record
store = open_store(sys.argv[1], "write")
store.add([record(np.random.default_rng(1), "committed")])
store._db.execute("BEGIN IMMEDIATE")
store._db.execute("DELETE FROM models")
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "index")])
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / "index" / (FILE + "-wal")).stat().st_size > 0
    with open_store(tmp_path / "index", "read") as reader:
        assert [e.name for e in reader.manifest()] == ["committed"]
        assert reader.verify() == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_to_can_be_read(store: Store, tmp_path: Path) -> None:
    store.add([record(np.random.default_rng(1), "m")])
    store.close()
    folder = tmp_path / "index"
    (folder / FILE).chmod(0o444)
    folder.chmod(0o555)
    try:
        with open_store(folder) as reader:
            assert reader.count() == 1
        with pytest.raises(InputError):
            open_store(folder, "write").add([])
    finally:
        folder.chmod(0o755)


def test_listing_and_looking_up_use_their_indexes(store: Store) -> None:
    """A look-up by id or name must not walk a million rows."""
    plans = []
    db = store._db  # type: ignore[attr-defined]
    db.set_trace_callback(lambda sql: plans.append(sql) if sql.startswith("SELECT row, id") else None)
    for ask in ({"id": "ab" * 32}, {"id": "abc"}, {"name": "x"}):
        list(store.manifest(**ask))
    db.set_trace_callback(None)
    assert len(plans) == 3
    for sql in plans:
        told = " ".join(row[3] for row in db.execute("EXPLAIN QUERY PLAN " + sql))
        assert "SEARCH models USING INDEX" in told, told
