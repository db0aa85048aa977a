"""Hash tables: what they promise to find, what they cost in recall, and damage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from begat.index.store import Store, buckets, open_store, sqlite_probes
from index.store_builders import brute_force, flipped, random_bits, record

OWNER = np.dtype("<u4")


def tables(file: Path, bits_NB: np.ndarray) -> buckets.Buckets:
    n = len(bits_NB)
    buckets.write(file, bits_NB, np.arange(n, dtype=OWNER), buckets.width_for(n))
    assert file.stat().st_size == buckets.size(n, OWNER.itemsize, buckets.width_for(n))
    return buckets.Buckets(file, n, OWNER, buckets.width_for(n))


def test_every_probe_finds_itself_and_near_ones_always(tmp_path: Path) -> None:
    """Fewer than 24 differing bits cannot put three into each of eight groups, wherever they lie."""
    rng = np.random.default_rng(1)
    bits = random_bits(rng, 5000)
    opened = tables(tmp_path / "t", bits)
    assert np.array_equal(opened.owners, np.arange(5000))
    for at in range(0, 5000, 50):
        query = np.unpackbits(bits[at])
        query[rng.choice(256, 23, replace=False)] ^= 1
        found, probes = opened.near(np.packbits(query), 1)
        assert at in found
        assert np.array_equal(probes, bits[found])


@pytest.mark.parametrize("rate", [0.1, 0.2, 0.25, 0.3, 0.35])
def test_recall_is_what_the_formula_says(tmp_path: Path, rate: float) -> None:
    rng = np.random.default_rng(2)
    n = 40_000
    bits = random_bits(rng, n)
    opened = tables(tmp_path / "t", bits)
    picks = rng.choice(n, 500, replace=False)
    hit = np.mean([at in opened.candidates(flipped(rng, bits[at], rate)) for at in picks])
    want = buckets.recall(opened.width, rate)
    assert abs(hit - want) < 4 * np.sqrt(want * (1 - want) / 500) + 1e-9


def test_candidates_are_few_and_their_share_falls_with_size(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    share = []
    for n in (4000, 64_000):
        opened = tables(tmp_path / f"{n}", random_bits(rng, n))
        share.append(np.mean([opened.candidates(q).size for q in random_bits(rng, 20)]) / n)
    assert share[1] < share[0] / 3


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr(sqlite_probes, "HASH_FROM", 2000)
    return open_store(tmp_path / "index", "create", engine="sqlite")


def test_a_store_with_tables(store: Store, tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    records = [record(rng, f"m{i}", per_kind=40, kinds=("units", "gram")) for i in range(60)]
    store.add(records)
    store.compact()
    files = sorted((tmp_path / "index").glob("buckets-*"))
    assert len(files) == 2 and store.verify() == []
    late = [record(rng, f"late{i}", per_kind=40, kinds=("units",)) for i in range(3)]
    store.add(late)
    queries = np.stack([flipped(rng, r.probes[7].bits, 0.05) for r in (*records[:5], *late)])
    hits = store.nearest("units", queries, 1)
    for query, hit in zip(queries, hits, strict=True):
        assert (hit.distance, hit.id, hit.layer) == brute_force(records + late, "units", query, 1)[0]
    assert store.nearest("units", queries, 10) != store.nearest("units", queries, 10, exact=True)  # the tables were used
    store.compact()
    assert len(list((tmp_path / "index").glob("buckets-*"))) == 2
    assert store.nearest("units", queries, 1) == hits

    store.remove([records[0].entry.id])
    assert records[0].entry.id not in {h.id for h in store.nearest("units", queries, 10)}
    assert store.nearest("units", queries, 10) == store.nearest("units", queries, 10, exact=True)  # removal drops them
    store.compact()
    assert store.verify() == []
    assert records[0].entry.id not in {h.id for h in store.nearest("units", queries, 10)}


def test_missing_and_damaged_tables(store: Store, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    records = [record(rng, f"m{i}", per_kind=40, kinds=("units",)) for i in range(60)]
    store.add(records)
    store.compact()
    (file,) = (tmp_path / "index").glob("buckets-*")
    whole = file.read_bytes()
    query = records[3].probes[5].bits[None]
    best = store.nearest("units", query, 1)
    assert (best[0].id, best[0].distance) == (records[3].entry.id, 0)
    for content in (b"", whole[:-1], whole + b"\0"):
        file.write_bytes(content)
        assert store.nearest("units", query, 1) == best
        assert len(store.verify()) == 1 and "compact" in store.verify()[0]
    file.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
    assert len(store.verify()) == 1
    file.unlink()
    assert store.nearest("units", query, 1) == best
    store.compact()
    assert file.read_bytes() == whole and store.verify() == []
    file.rename(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    assert len(store.verify()) == 1 and store.nearest("units", query, 1) == best


def test_random_damage_is_an_error_or_an_answer(store: Store, tmp_path: Path) -> None:
    from begat.errors import InputError

    rng = np.random.default_rng(6)
    store.add([record(rng, f"m{i}", per_kind=40, kinds=("units",)) for i in range(60)])
    store.compact()
    (file,) = (tmp_path / "index").glob("buckets-*")
    whole = file.read_bytes()
    refused = 0
    for _ in range(60):
        damaged = bytearray(whole)
        for at in rng.integers(0, len(whole), size=2000):
            damaged[at] = rng.integers(0, 256)
        file.write_bytes(damaged)
        try:
            assert all(0 <= h.distance <= 256 for h in store.nearest("units", random_bits(rng, 3), 10))
        except InputError as err:
            refused += str(err).isprintable()
    assert refused
