"""The contract every index engine keeps: what was added is found, listed and given back; nothing else; damage is one clean line.

A new engine registers in `begat.index.store.ENGINES` and is held to all of this.
"""

from __future__ import annotations

import dataclasses
import os
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from begat.errors import InputError
from begat.index.store import ENGINES, Probe, Record, Store, export_store, import_folder, make_record, open_store
from index.store_builders import KINDS, brute_force, flipped, random_bits, record

FLIPS = 100
Make = Callable[..., Store]


@pytest.fixture(params=list(ENGINES))
def engine(request: pytest.FixtureRequest) -> str:
    if request.param == "lance":
        pytest.importorskip("lancedb")
    return str(request.param)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "index"


@pytest.fixture
def store(engine: str, place: Path) -> Iterator[Store]:
    with open_store(place, "create", engine=engine) as opened:
        yield opened


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def filled(store: Store, rng: np.random.Generator, n: int = 12) -> list[Record]:
    records = [record(rng, f"model-{i}", family=("llama", "qwen")[i % 2]) for i in range(n)]
    store.add(records)
    return records


# --- what goes in comes out ---------------------------------------------------------------------------------


def test_an_empty_store(store: Store, rng: np.random.Generator) -> None:
    assert store.count() == 0
    assert list(store.manifest()) == []
    assert store.kinds() == {}
    assert store.nearest("units", random_bits(rng, 2), 5) == []
    assert store.verify() == []


def test_entries_fingerprints_and_probes_come_back(store: Store, rng: np.random.Generator) -> None:
    records = filled(store, rng)
    assert store.count() == 12
    assert list(store.manifest()) == [r.entry for r in records]
    for r in records:
        assert store.entry(r.entry.id) == r.entry
        assert store.get(r.entry.id) == r.blob
        assert [p.key() for p in store.probes(r.entry.id)] == sorted(p.key() for p in r.probes)
    assert store.kinds() == dict.fromkeys(KINDS, 36)
    assert store.verify() == []


def test_another_opening_sees_the_same(store: Store, place: Path, engine: str, rng: np.random.Generator) -> None:
    records = filled(store, rng)
    store.close()
    for mode in ("read", "write"):
        with open_store(place, mode) as again:
            assert again.engine == engine
            assert list(again.manifest()) == [r.entry for r in records]
            assert again.get(records[3].entry.id) == records[3].blob


def test_filters(store: Store, rng: np.random.Generator) -> None:
    records = filled(store, rng)
    ids = [r.entry.id for r in records]
    assert [e.id for e in store.manifest(family="qwen")] == ids[1::2]
    assert [e.id for e in store.manifest(name="model-3")] == [ids[3]]
    assert [e.id for e in store.manifest(format="gguf")] == []
    assert [e.id for e in store.manifest(header_digest=records[5].entry.header_digest)] == [ids[5]]
    for n in (1, 6, 64):
        assert [e.id for e in store.manifest(id=ids[7][:n])] == [i for i in ids if i.startswith(ids[7][:n])]
    assert [e.id for e in store.manifest(family="llama", name="model-3")] == []
    for odd in ("", "*", "%", "ABC", "a'", "0" * 65):
        with pytest.raises(InputError, match="not the beginning of an id"):
            list(store.manifest(id=odd))


def test_a_model_twice_is_reported_and_left_alone(store: Store, rng: np.random.Generator) -> None:
    first, second = record(rng, "a"), record(rng, "b")
    store.add([first])
    renamed = Record(dataclasses.replace(first.entry, name="other"), first.blob, first.probes)
    done = store.add([renamed, second, second])
    assert done.added == (second.entry.id,)
    assert sorted(done.present) == sorted([first.entry.id, second.entry.id])
    assert [e.name for e in store.manifest()] == ["a", "b"]
    assert store.kinds() == dict.fromkeys(KINDS, 6)
    assert store.verify() == []


def test_a_name_twice_is_allowed_and_listed(store: Store, rng: np.random.Generator) -> None:
    one, two, three, other = record(rng, "same"), record(rng, "same"), record(rng, "same"), record(rng, "other")
    assert store.add([one]).same_name == ()
    done = store.add([two, other, three])
    assert done.same_name == ((two.entry.id, (one.entry.id,)), (three.entry.id, (one.entry.id, two.entry.id)))
    assert [e.id for e in store.manifest(name="same")] == [one.entry.id, two.entry.id, three.entry.id]


def test_hostile_names_are_kept_as_they_are(store: Store, rng: np.random.Generator) -> None:
    names = ["'; DROP TABLE models; --", 'a" OR "1"="1', "../../etc/passwd",
             "\x1b[2J\n\r", "名前\u202egnp.exe", "%", "_", "\\", "x" * 1024, "''", "a' OR 'a'='a"]
    records = [record(rng, n, note=n * 3) for n in names]
    store.add(records)
    for n, r in zip(names, records, strict=True):
        assert [e.id for e in store.manifest(name=n)] == [r.entry.id], n
        assert store.entry(r.entry.id).note == n * 3
    assert store.verify() == []


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"name": ""}, "name"), ({"name": "x" * 1025}, "name"), ({"name": "a\0b"}, "name"), ({"name": "\ud800"}, "name"), ({"name": 3}, "name"),
        ({"note": "x" * 10**7}, "note"), ({"parameters": -1}, "parameters"), ({"parameters": 10**4000}, "parameters"), ({"layers": 1.5}, "layers"),
        ({"layers": True}, "layers"), ({"header_digest": "abc"}, "header_digest"), ({"added": "yesterday"}, "added"), ({"id": "0" * 64}, "fingerprint"),
        ({"size": 1}, "fingerprint"), ({"probes": 1}, "probes"), ({"probe_sum": "0" * 16}, "probes"),
    ],
)  # fmt: skip
def test_a_bad_record_is_refused_and_nothing_of_its_call_is_stored(store: Store, rng: np.random.Generator, change: dict, word: str) -> None:
    good, bad = record(rng, "good"), record(rng, "bad")
    bad = Record(dataclasses.replace(bad.entry, **change), bad.blob, bad.probes)
    with pytest.raises(InputError, match=word) as err:
        store.add([good, bad])
    assert str(err.value).isprintable() and len(str(err.value)) < 1000
    assert store.count() == 0 and store.kinds() == {} and store.verify() == []


def test_a_bad_probe_is_refused(rng: np.random.Generator) -> None:
    bits = random_bits(rng, 1)[0]
    for bad in (Probe("Units", 0, "", bits), Probe("a b", 0, "", bits), Probe("u", -2, "", bits), Probe("u", 40000, "", bits), Probe("u", 0, "x" * 65, bits),
                Probe("u", 0, "\n", bits), Probe("u", 0, "", bits[:31]), Probe("u", 0, "", bits.astype(np.int64)), Probe("u", True, "", bits)):  # fmt: skip
        with pytest.raises(InputError, match="of a probe"):
            make_one(rng, bad)


def make_one(rng: np.random.Generator, probe: Probe) -> Record:
    meta = {"source": "", "format": "", "family": "", "parameters": 0, "layers": 0, "header_digest": "0" * 64, "fingerprint_version": 1}
    return make_record(rng.bytes(9), [probe], name="n", **meta)  # type: ignore[arg-type]


def test_an_error_in_the_middle_of_an_add_leaves_nothing(store: Store, rng: np.random.Generator) -> None:
    before = filled(store, rng, 3)

    def broken() -> Iterator[Record]:
        yield record(rng, "one")
        yield record(rng, "two")
        raise RuntimeError("the caller's")

    with pytest.raises((RuntimeError, InputError)):
        store.add(broken())
    assert list(store.manifest()) == [r.entry for r in before]
    assert store.verify() == []
    more = record(rng, "after")
    assert store.add([more]).added == (more.entry.id,)


# --- removal ------------------------------------------------------------------------------------------------


def test_removed_models_are_gone_altogether(store: Store, rng: np.random.Generator) -> None:
    records = filled(store, rng)
    gone, kept = records[::3], [r for i, r in enumerate(records) if i % 3]
    assert store.remove(r.entry.id for r in gone) == tuple(r.entry.id for r in gone)
    assert [e.id for e in store.manifest()] == [r.entry.id for r in kept]
    assert store.kinds() == dict.fromkeys(KINDS, 3 * len(kept))
    for r in gone:
        for ask in (store.get, store.probes, store.entry):
            with pytest.raises(InputError, match="no such model"):
                ask(r.entry.id)
        hits = store.nearest("units", r.probes[0].bits[None], 100)
        assert r.entry.id not in {h.id for h in hits} and len(hits) == 3 * len(kept)
    assert store.verify() == []
    assert store.add(gone).added == tuple(r.entry.id for r in gone)
    assert store.verify() == []


def test_removing_an_unknown_model_removes_nothing(store: Store, rng: np.random.Generator) -> None:
    records = filled(store, rng, 3)
    with pytest.raises(InputError, match="no such model"):
        store.remove([records[0].entry.id, "0" * 64])
    with pytest.raises(InputError, match="not an id"):
        store.remove([records[0].entry.id, "x' OR '1'='1"])
    assert store.count() == 3


def test_a_removed_segment(store: Store, rng: np.random.Generator) -> None:
    """Enough probes that they are packed, indexed or merged."""
    many = [record(rng, f"m{i}", per_kind=200, kinds=("units",)) for i in range(100)]
    store.add(many)
    store.compact()
    store.remove([r.entry.id for r in many[::2]])
    assert store.verify() == []
    store.remove([r.entry.id for r in many[1::2]])
    assert store.verify() == [] and store.kinds() == {} and store.count() == 0
    assert store.nearest("units", many[0].probes[0].bits[None], 3) == []


# --- screening ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spread", [False, True])
def test_nearest_equals_brute_force(store: Store, rng: np.random.Generator, spread: bool) -> None:
    base = random_bits(rng, 4 * 3).reshape(4, 3, 32)
    records = [record(rng, f"m{i}", bits=flipped(rng, base, rate)) for i, rate in enumerate(np.linspace(0.0, 0.5, 40))]
    for some in ([[r] for r in records] if spread else [records]):
        store.add(some)
    for kind_at, kind in enumerate(KINDS):
        queries = np.concatenate([base[kind_at], random_bits(rng, 2), ~base[kind_at]])
        for k in (1, 7, 500):
            hits = store.nearest(kind, queries, k, exact=True)
            assert [h.query for h in hits] == sorted(h.query for h in hits)
            for q, query in enumerate(queries):
                want, got = brute_force(records, kind, query, k), [h for h in hits if h.query == q]
                assert [h.distance for h in got] == [far for far, _, _ in want]
                last = want[-1][0] if k < 500 else 257
                assert {(h.distance, h.id, h.layer) for h in got if h.distance < last} == {w for w in want if w[0] < last}
                assert all(h.part == "mlp" for h in got)


def test_opposite_bits_are_256_apart(store: Store, rng: np.random.Generator) -> None:
    bits = random_bits(rng, 1).reshape(1, 1, 32)
    ours = record(rng, "a", bits=~bits, per_kind=1, kinds=("units",))
    store.add([ours])
    assert [h.distance for h in store.nearest("units", bits[0], 1)] == [256]
    other = record(rng, "b", bits=bits, per_kind=1, kinds=("units",))
    store.add([other])
    assert [(h.distance, h.id) for h in store.nearest("units", bits[0], 2)] == [(0, other.entry.id), (256, ours.entry.id)]


def test_nearest_over_many_pieces(store: Store, rng: np.random.Generator) -> None:
    """Packed, compacted and lately added probes are all seen, each once."""
    records = []
    for step in range(3):
        new = [record(rng, f"m{step}-{i}", per_kind=300, kinds=("units", "gram")) for i in range(60)]
        store.add(new)
        records += new
        if step == 1:
            store.compact()
    queries = np.stack([flipped(rng, records[i].probes[11].bits, 0.2) for i in (0, 70, 179)])
    hits = store.nearest("units", queries, 10, exact=True)
    for q, query in enumerate(queries):
        want = brute_force(records, "units", query, 10)
        got = [h for h in hits if h.query == q]
        assert [h.distance for h in got] == [w[0] for w in want]
        assert (got[0].id, got[0].layer) == want[0][1:]
    store.compact()
    assert store.nearest("units", queries, 1, exact=True) == [h for i, h in enumerate(hits) if i % 10 == 0]
    assert store.verify() == []


def test_bad_queries(store: Store, rng: np.random.Generator) -> None:
    for kind, queries, k in (("units", random_bits(rng, 1)[:, :31], 1), ("units", random_bits(rng, 1)[0], 1), ("units", np.zeros((1, 32)), 1),
                             ("units", random_bits(rng, 1), 0), ("units", random_bits(rng, 1), 10**9), ("a'b", random_bits(rng, 1), 1)):  # fmt: skip
        with pytest.raises(InputError):
            store.nearest(kind, queries, k)
    assert store.nearest("never-seen", random_bits(rng, 1), 1) == []
    assert store.nearest("units", np.empty((0, 32), np.uint8), 1) == []


# --- opening ------------------------------------------------------------------------------------------------


def test_a_reader_cannot_write(store: Store, place: Path, rng: np.random.Generator) -> None:
    records = filled(store, rng, 2)
    with open_store(place, "read") as reader:
        for write in (lambda: reader.add([record(rng)]), lambda: reader.remove([records[0].entry.id]), reader.compact):
            with pytest.raises(InputError, match="reading only"):
                write()
        assert reader.count() == 2


def test_create_does_not_overwrite(store: Store, place: Path, engine: str, rng: np.random.Generator, tmp_path: Path) -> None:
    filled(store, rng, 2)
    for other in ENGINES:
        with pytest.raises(InputError, match="already"):
            open_store(place, "create", engine=other)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("x")
    with pytest.raises(InputError, match="not empty"):
        open_store(tmp_path / "full", "create", engine=engine)
    assert store.count() == 2


def test_other_things_are_refused(engine: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"SQLite format 3\0")
    (tmp_path / "empty").mkdir()
    for place in (tmp_path / "file", tmp_path / "empty", tmp_path / "absent", "a\0b", "ftp://x/y"):
        for mode in ("read", "write"):
            with pytest.raises(InputError) as err:
                open_store(place, mode)
            assert str(err.value).isprintable()
    with pytest.raises(InputError, match="not a folder"):
        open_store(tmp_path / "file", "create", engine=engine)
    with pytest.raises(InputError, match="no such index engine"):
        open_store(tmp_path / "x", "create", engine="mongo")


# --- two at once --------------------------------------------------------------------------------------------


def test_a_reader_sees_each_commit_whole(store: Store, place: Path, rng: np.random.Generator) -> None:
    with open_store(place, "read") as reader:
        for n in range(1, 6):
            one = record(rng, f"m{n}")
            store.add([one])
            assert reader.count() == n
            assert reader.get(one.entry.id) == one.blob
            assert {h.id for h in reader.nearest("units", one.probes[0].bits[None], 1)} == {one.entry.id}
        store.remove([one.entry.id])
        assert reader.count() == 4


WRITER = """
import sys, numpy as np
sys.path[:0] = {path!r}
from begat.index.store import open_store
from begat.index.store import lance, sqlite_probes
from index.store_builders import record
rng = np.random.default_rng(int(sys.argv[2]))
sqlite_probes.HASH_FROM, lance.ANN_FROM = 500, 1000
with open_store(sys.argv[1], "write") as store:
    print("ready", flush=True)
    for step in range(int(sys.argv[3])):
        batch = [record(rng, f"m{{sys.argv[2]}}-{{step}}-{{i}}", per_kind=20) for i in range(3)]
        done = store.add(batch)
        print(" ".join(done.added), flush=True)
        if step % 4 == 3:
            gone = batch[0].entry.id
            print("removing", gone, flush=True)
            store.remove([gone])
            print("removed", gone, flush=True)
        if step % 5 == 4:
            store.compact()
"""
PATH = [p for p in sys.path if p.endswith(("src", "tests"))]


def writer(place: Path, seed: int, steps: int) -> subprocess.Popen[str]:
    code = WRITER.format(path=PATH)
    return subprocess.Popen([sys.executable, "-c", code, str(place), str(seed), str(steps)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_two_writers_at_once_lose_nothing(store: Store, place: Path) -> None:
    store.close()
    both = [writer(place, seed, 8) for seed in (1, 2)]
    out = [p.communicate(timeout=120) for p in both]
    assert [p.returncode for p in both] == [0, 0], [e for _, e in out]
    told = [line for o, _ in out for line in o.splitlines()]
    added = {i for line in told if line.split()[0] not in ("ready", "removing", "removed") for i in line.split()}
    removed = {line.split()[1] for line in told if line.startswith("removed")}
    assert len(added) == 48 and len(removed) == 4
    with open_store(place) as after:
        assert {e.id for e in after.manifest()} == added - removed
        assert after.verify() == []


def test_a_writer_that_waited_too_long_says_so(store: Store, place: Path, rng: np.random.Generator) -> None:
    inside, go_on = threading.Event(), threading.Event()
    first = record(rng, "first")

    def hold() -> None:
        with open_store(place, "write") as slow, slow._writing():  # type: ignore[attr-defined]
            inside.set()
            go_on.wait(30)

    holder = threading.Thread(target=hold)
    holder.start()
    assert inside.wait(30)
    try:
        with open_store(place, "write", patience=0.2) as late, pytest.raises(InputError, match="another process is writing"):
            late.add([first])
        with open_store(place, "read") as reader:
            assert reader.count() == 0
    finally:
        go_on.set()
        holder.join()
    assert store.add([first]).added == (first.entry.id,)


@pytest.mark.slow
def test_killed_writers_lose_nothing_and_corrupt_nothing(store: Store, place: Path) -> None:
    """SIGKILL at 15 random moments: all that was told to be there is, all that was told to be removed is not, every call whole or not at all."""
    store.close()
    draw = random.Random(11)
    added: set[str] = set()
    removed: set[str] = set()
    removing: set[str] = set()
    for seed in range(15):
        process = writer(place, 100 + seed, 10_000)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", process.communicate()[1]
        threading.Event().wait(draw.uniform(0.01, 0.7))
        process.kill()
        told = process.communicate()[0].splitlines()
        for line in told:
            words = line.split()
            {"removing": removing, "removed": removed}.get(words[0], added).update(words[1:] if words[0].startswith("remov") else words)
        with open_store(place, draw.choice(["read", "write"])) as after:
            here = {e.id for e in after.manifest()}
            names = [e.name.rsplit("-", 1)[0] for e in after.manifest()]
        assert added - removing <= here
        assert not removed & here
        unknown = here - added
        assert len(unknown) in (0, 3)  # at most the call that was killed, and that whole
        added |= unknown
        assert set(map(names.count, names)) <= {2, 3}
    with open_store(place, "write") as after:
        one = record(np.random.default_rng(5), "last")
        after.add([one])
        after.compact()
        assert after.verify() == []
        assert added - removing <= {e.id for e in after.manifest()}
    assert len(added) > 30


# --- damage -------------------------------------------------------------------------------------------------


def use(place: Path) -> list[str]:
    """Everything a reader does; the lines of InputErrors. Anything else escapes and fails."""
    lines = []
    try:
        with open_store(place, "read") as store:
            lines += store.verify()
            for ask in (lambda: list(store.manifest()), store.count, store.kinds,
                        lambda: [store.get(e.id) for e in store.manifest()], lambda: [store.probes(e.id) for e in store.manifest()],
                        lambda: store.nearest("units", np.zeros((2, 32), np.uint8), 5)):  # fmt: skip
                try:
                    ask()
                except InputError as err:
                    lines.append(str(err))
    except InputError as err:
        lines.append(str(err))
    assert all(line.isprintable() and len(line) < 1500 for line in lines), lines
    return lines


def files_of(place: Path) -> list[Path]:
    return sorted(f for f in place.rglob("*") if f.is_file() and f.stat().st_size and f.name not in ("index.lock",))


def damage_all(place: Path, tmp_path: Path, rng: np.random.Generator, change: Callable[[bytes, random.Random], bytes], rounds: int) -> int:
    """Damage one file after another of a copy; returns how often someone noticed."""
    draw, noticed = random.Random(3), 0
    names = [f.relative_to(place) for f in files_of(place)]
    draw.shuffle(names)
    for step in range(rounds):
        copy = tmp_path / f"copy{step}"
        shutil.copytree(place, copy)
        file = copy / names[step % len(names)]
        file.write_bytes(change(file.read_bytes(), draw))
        noticed += bool(use(copy))
        shutil.rmtree(copy)
    return noticed


def small(store: Store, rng: np.random.Generator) -> None:
    store.add([record(rng, f"m{i}") for i in range(4)])
    store.add([record(rng, "late", note="note " * 50)])
    store.close()


def test_truncated_files(store: Store, place: Path, tmp_path: Path, rng: np.random.Generator) -> None:
    small(store, rng)
    assert use(place) == []
    assert damage_all(place, tmp_path, rng, lambda data, draw: data[: draw.randrange(len(data))], 40) > 0


def test_flipped_bytes(store: Store, place: Path, tmp_path: Path, rng: np.random.Generator) -> None:
    small(store, rng)

    def flip(data: bytes, draw: random.Random) -> bytes:
        damaged = bytearray(data)
        for _ in range(draw.choice((1, 1, 4, 32))):
            damaged[draw.randrange(len(data))] = draw.choice((0, 1, 0x7F, 0x80, 0xFF, draw.randrange(256)))
        return bytes(damaged)

    assert damage_all(place, tmp_path, rng, flip, FLIPS) > 0


def test_other_files_under_their_names(store: Store, place: Path, tmp_path: Path, rng: np.random.Generator) -> None:
    small(store, rng)
    for content in (b"", b"SQLite format 3\0" + bytes(84), os.urandom(5000), b"{}"):
        damage_all(place, tmp_path, rng, lambda data, draw, c=content: c, min(8, len(files_of(place))))


def test_links_are_refused(store: Store, place: Path, tmp_path: Path, rng: np.random.Generator) -> None:
    small(store, rng)
    name = next(p.name for p in sorted(place.iterdir()) if p.name.startswith(("models", "index.sqlite")))
    (place / name).rename(tmp_path / "elsewhere")
    (place / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=r"not a regular file|not a folder"):
        open_store(place)


# --- export and import --------------------------------------------------------------------------------------


@pytest.mark.parametrize("to", list(ENGINES))
def test_export_and_import_into_every_engine(store: Store, tmp_path: Path, rng: np.random.Generator, to: str) -> None:
    if to == "lance":
        pytest.importorskip("lancedb")
    records = [*filled(store, rng, 5), record(rng, "\x1b[2J\n'名前'")]
    store.add(records[-1:])
    assert export_store(store, tmp_path / "out") == 6
    with open_store(tmp_path / "again", "create", engine=to) as other:
        assert import_folder(other, tmp_path / "out").added == tuple(r.entry.id for r in records)
        assert list(other.manifest()) == [r.entry for r in records]
        for r in records:
            assert other.get(r.entry.id) == r.blob
            assert [p.key() for p in other.probes(r.entry.id)] == [p.key() for p in store.probes(r.entry.id)]
        assert other.verify() == []
        assert import_folder(other, tmp_path / "out").present == tuple(r.entry.id for r in records)
