"""What only the engine `lance` promises: a killed call is swept up, its index answers, foreign tables are refused, the extra is named."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from begat.errors import InputError, MissingExtraError
from begat.index.store import Store, lance, open_store
from index.store_builders import flipped, record

lancedb = pytest.importorskip("lancedb")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "index", "create", engine="lance")


def interrupted(store: Store, tmp_path: Path, at: str) -> tuple[list[str], list[str]]:
    """(ids before, ids of an add that stopped before table `at` was written)."""
    rng = np.random.default_rng(1)
    before, new = [record(rng, f"m{i}") for i in range(3)], [record(rng, f"n{i}") for i in range(2)]
    store.add(before)

    class Killed(BaseException):
        """Stands for SIGKILL: passes every handler; tests/contracts kills for real."""

    table = store._table  # type: ignore[attr-defined]

    def dying(name: str) -> object:
        if name == at:
            raise Killed
        return table(name)

    store._ids = lambda keys: {}  # type: ignore[attr-defined, method-assign]
    store._namesakes = lambda records: ()  # type: ignore[attr-defined, method-assign]
    store._table = dying  # type: ignore[attr-defined, method-assign]
    with pytest.raises(Killed):
        store.add(new)
    return [r.entry.id for r in before], [r.entry.id for r in new]


@pytest.mark.parametrize("at", ["models", "probes-gram"])
def test_what_a_killed_add_left_is_not_seen_and_is_swept_up(store: Store, tmp_path: Path, at: str) -> None:
    before, new = interrupted(store, tmp_path, at)
    assert json.loads((tmp_path / "index" / "intent.json").read_text()) == new
    with open_store(tmp_path / "index") as reader:
        assert [e.id for e in reader.manifest()] == before
        assert any("belongs to no model" in f for f in reader.verify())
        hits = reader.nearest("units", np.zeros((1, 32), np.uint8), 100)
        assert {h.id for h in hits} == set(before)
        with pytest.raises(InputError, match="no such model"):
            reader.get(new[0])
    with open_store(tmp_path / "index", "write") as writer:
        more = record(np.random.default_rng(9), "more")
        writer.add([more])
        assert writer.verify() == []
        assert writer.count() == 4
    assert not (tmp_path / "index" / "intent.json").exists()


def test_compact_sweeps_without_the_note(store: Store, tmp_path: Path) -> None:
    """As on object storage, where there is none."""
    interrupted(store, tmp_path, "models")
    (tmp_path / "index" / "intent.json").unlink()
    with open_store(tmp_path / "index", "write") as writer:
        writer.compact()
        assert writer.verify() == []


@pytest.mark.parametrize("text", ["{}", "[1]", '["x"]', "\xff", ""])
def test_a_damaged_note_is_one_line(store: Store, tmp_path: Path, text: str) -> None:
    store.close()
    (tmp_path / "index" / "intent.json").write_text(text)
    with open_store(tmp_path / "index", "write") as writer, pytest.raises(InputError):
        writer.add([record(np.random.default_rng(1))])


def test_its_index_finds_relatives_and_covers_what_came_later(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lance, "ANN_FROM", 5000)
    rng = np.random.default_rng(2)
    records = [record(rng, f"m{i}", per_kind=100, kinds=("units",)) for i in range(60)]
    store.add(records)
    store.compact()
    late = record(rng, "late", per_kind=100, kinds=("units",))
    store.add([late])
    queries = np.stack([flipped(rng, p.probes[7].bits, 0.05) for p in (*records[:9], late)])
    hits = store.nearest("units", queries, 1)
    found = sum(h.id == r.entry.id and h.layer == 7 for h, r in zip(hits, (*records[:9], late), strict=True))
    assert found >= 9
    assert [h.query for h in store.nearest("units", queries[-1:], 3)] == [0, 0, 0]
    assert store.nearest("units", queries[-1:], 1)[0].id == late.entry.id
    exact = store.nearest("units", queries, 1, exact=True)
    assert [h.id for h in exact] == [r.entry.id for r in (*records[:9], late)]
    assert all(h.distance == e.distance for h, e in zip(hits, exact, strict=True) if h.id == e.id)


def test_foreign_and_newer_tables_are_refused(tmp_path: Path) -> None:
    import pyarrow as pa

    cases = ((None, "no begat index"), ({b"begat_index_version": b"2"}, "newer begat"), ({b"begat_index_version": b"1"}, "columns"))
    for name, (metadata, word) in zip("abc", cases, strict=True):
        (tmp_path / name).mkdir()
        db = lancedb.connect(tmp_path / name)
        for table in ("models", "blobs"):
            db.create_table(table, schema=pa.schema([pa.field("id", pa.string())], metadata=metadata))
        with pytest.raises(InputError, match=word):
            open_store(tmp_path / name)


def test_a_lost_table_of_fingerprints_is_one_line_a_model(store: Store, tmp_path: Path) -> None:
    import shutil

    rng = np.random.default_rng(4)
    records = [record(rng, f"m{i}") for i in range(2)]
    store.add(records)
    store.close()
    shutil.rmtree(tmp_path / "index" / "blobs.lance")
    with open_store(tmp_path / "index") as reader:
        assert sorted(reader.verify()) == sorted(f"fingerprint {r.entry.id} is missing" for r in records)
        with pytest.raises(InputError, match="is missing"):
            reader.get(records[0].entry.id)


def test_a_long_history_of_small_adds(store: Store) -> None:
    rng = np.random.default_rng(3)
    ids = [store.add([record(rng, f"m{i}", per_kind=1, kinds=("units",))]).added[0] for i in range(70)]  # past the merge
    assert [e.id for e in store.manifest()] == ids
    assert store.verify() == []


def test_without_the_extra_one_line_names_it(tmp_path: Path) -> None:
    code = """import sys
sys.modules["lancedb"] = None
from begat.errors import MissingExtraError
from begat.index.store import open_store
with open_store(sys.argv[1] + "/s", "create") as store:
    assert store.count() == 0
assert not any(m.startswith(("lance", "pyarrow")) and sys.modules[m] for m in sys.modules)
try:
    open_store(sys.argv[1] + "/l", "create", engine="lance")
except MissingExtraError as err:
    print(err)
"""
    path = [p for p in sys.path if p.endswith("src")]
    out = subprocess.run([sys.executable, "-c", f"import sys; sys.path[:0] = {path!r}\n" + code, str(tmp_path)], capture_output=True, text=True)
    assert out.stdout == "index engine lance needs the packages lancedb and pyarrow; fix: pip install 'begat[index]'\n", out.stderr
    assert MissingExtraError.__mro__[1] is InputError
