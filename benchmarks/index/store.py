"""Engines of the index side by side: adding, opening, searching, recall, memory and disk, at several sizes.

    python benchmarks/index/store.py --out benchmarks/index/results [--models 1000 100000 1000000] [--engines sqlite lance]

Entries are synthetic: `PER_KIND` probes of each of four kinds a model, fingerprints of `BLOB` bytes (placeholders; fetching real sizes is
measured apart). A third of the models are relatives: families of twenty whose bits are their founder's, each turned over with the member's
own rate of 0.02 to 0.35; the rest are strangers. A query is a new relative of a founder: 60 probes, 15 a kind. Every engine and size runs in
processes of its own; latencies are warm, over `QUERIES` queries a rate. CPU time (all threads) stands beside the clock's, for machines that do
other things as well. The result is written anew after every row.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from begat.index.store import Entry, Probe, Record, export_store, make_record, open_store
from begat.index.store.hamming import count_bits, words
from begat.index.store.records import label, row_sums

KINDS = ("units", "residual", "token-units", "gram")
PER_KIND, COPIES, FAMILY, BATCH, BLOB, QUERIES = 3, 5, 20, 5000, 64, 6
RATES = (0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35)
SEED = 20261126
NAMES = {
    ("sqlite", "exact"): "sqlite, scan", ("sqlite", "approximate"): "sqlite, hash tables", ("lance", "exact"): "lance, scan",
    ("lance", "approximate"): "lance, IVF",
}  # fmt: skip


def flipped(rng: np.random.Generator, bits: np.ndarray, rate: float) -> np.ndarray:
    return bits ^ np.packbits(rng.random((*bits.shape[:-1], 256), dtype=np.float32) < rate, axis=-1)


def batch_bits(number: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """(probes [size, 12, 32] of batch `number`, positions of founders); each batch draws from its own seed, so that queries can redraw it."""
    rng = np.random.default_rng([SEED, number])
    bits = rng.integers(0, 256, size=(size, len(KINDS) * PER_KIND, 32), dtype=np.uint8)
    founders = np.arange(0, size // 3 - FAMILY + 1, FAMILY)
    for founder in founders:
        for member in range(1, FAMILY):
            bits[founder + member] = flipped(rng, bits[founder], RATES[member % len(RATES)])
    return bits, founders


def records(models: int) -> Iterator[list[Record]]:
    for number, at in enumerate(range(0, models, BATCH)):
        size = min(BATCH, models - at)
        bits, _ = batch_bits(number, size)
        labels = np.array([label(KINDS[p // PER_KIND], p % PER_KIND, "mlp") for p in range(bits.shape[1])] * size, np.uint64)
        sums = row_sums(bits.reshape(-1, 32), labels).reshape(size, -1).sum(axis=1, dtype=np.uint64)
        yield [_record(at + i, bits[i], int(sums[i])) for i in range(size)]


def _record(number: int, bits: np.ndarray, total: int) -> Record:
    """As `make_record` makes it, without its checks, which `add` repeats."""
    blob = fingerprint(number)
    entry = Entry(
        id=hashlib.sha256(blob).hexdigest(), name=f"model-{number}", source=f"models/{number}", format="safetensors", family="llama",
        parameters=7_000_000_000, layers=32, header_digest=f"{number:064x}", added="2026-11-26T19:00:00Z", fingerprint_version=1, note="",
        size=len(blob), probes=len(bits), probe_sum=f"{total:016x}",
    )  # fmt: skip
    return Record(entry, blob, tuple(Probe(KINDS[p // PER_KIND], p % PER_KIND, "mlp", b) for p, b in enumerate(bits)))


def fingerprint(number: int) -> bytes:
    return number.to_bytes(8, "little") * (BLOB // 8)


def queries(models: int) -> Iterator[tuple[float, str, dict[str, np.ndarray]]]:
    """(flip rate, the founder's id, probes by kind [15, 32])."""
    rng = np.random.default_rng(SEED + 1)
    for rate in RATES:
        for _ in range(QUERIES):
            number = int(rng.integers(0, max(1, models // BATCH)))
            size = min(BATCH, models - number * BATCH)
            bits, founders = batch_bits(number, size)
            founder = int(rng.choice(founders))
            at = number * BATCH + founder
            mine = bits[founder].reshape(len(KINDS), 1, PER_KIND, 32).repeat(COPIES, 1).reshape(len(KINDS), -1, 32)
            drawn = flipped(rng, mine, rate)
            yield rate, hashlib.sha256(fingerprint(at)).hexdigest(), dict(zip(KINDS, drawn, strict=True))


# --- what runs in processes of its own ----------------------------------------------------------------------


def build(place: str, engine: str, models: int) -> dict[str, float]:
    adding = 0.0
    with open_store(place, "create", engine=engine) as store:
        for batch in records(models):
            start = time.perf_counter()
            store.add(batch)
            adding += time.perf_counter() - start
        start = time.perf_counter()
        store.compact()
        compacting = time.perf_counter() - start
    size = sum(f.stat().st_size for f in Path(place).rglob("*") if f.is_file())
    return {"add models/s": models / adding, "compact s": compacting, "bytes": size, "bytes/model": size / models, "peak MB": peak()}


def opening(place: str) -> dict[str, float]:
    start = time.perf_counter()
    with open_store(place) as store:
        store.count()
        return {"open s": time.perf_counter() - start}


def manifest(place: str) -> dict[str, float]:
    with open_store(place) as store:
        start = time.perf_counter()
        n = sum(1 for _ in store.manifest())
        return {"manifest entries/s": n / (time.perf_counter() - start), "peak MB": peak()}


def searching(place: str, models: int, exact: bool) -> dict[str, object]:
    """Latency of a 60-probe query; per rate, how far the hits agree with an exact scan, and whether the founder is among them."""
    asked = list(queries(models))
    times, cpu_times, found = [], [], []
    with open_store(place) as store:
        for kind, probes in asked[0][2].items():  # warm
            store.nearest(kind, probes, 10, exact=exact)
        base = peak()
        for rate, founder, by_kind in asked:
            start, start_cpu = time.perf_counter(), time.process_time()
            hits = [store.nearest(kind, probes, 10, exact=exact) for kind, probes in by_kind.items()]
            times.append(time.perf_counter() - start)
            cpu_times.append(time.process_time() - start_cpu)
            far = [[[h.distance for h in some if h.query == q] for q in range(PER_KIND * COPIES)] for some in hits]
            mine = [len({h.query for h in some if h.id == founder}) for some in hits]
            found.append((rate, far, sum(mine)))
    return {
        "p50 ms": 1e3 * float(np.median(times)), "p95 ms": 1e3 * float(np.quantile(times, 0.95)),
        "p50 cpu ms": 1e3 * float(np.median(cpu_times)), "found": found, "peak MB": max(base, peak()),
    }  # fmt: skip


def cold(place: str, models: int) -> dict[str, float]:
    """One search in a fresh process, opening included: what a single command pays. The system's file cache stays warm."""
    _, _, by_kind = next(iter(queries(models)))
    start = time.perf_counter()
    with open_store(place) as store:
        for kind, probes in by_kind.items():
            store.nearest(kind, probes, 10)
    return {"one search in a fresh process ms": 1e3 * (time.perf_counter() - start), "peak MB": peak()}


def floor(models: int) -> dict[str, float]:
    """What an exact scan cannot beat: reading all probes once (memory bandwidth), and numpy counting the bits of every pair."""
    n = min(models * PER_KIND, 3_000_000)
    data = np.random.default_rng(1).integers(0, 256, size=(n, 32), dtype=np.uint8)
    packed = words(data)
    start = time.process_time()
    int(packed.sum())
    reading = time.process_time() - start
    start = time.process_time()
    for at in range(0, n, 16384):
        block = packed[:, at : at + 16384]
        for q in range(15):
            count_bits(block ^ packed[:, q : q + 1])
    counting = time.process_time() - start
    scale = models * PER_KIND * len(KINDS) / n
    return {"read once cpu ms": 1e3 * reading * scale, "count pairs cpu ms": 1e3 * counting * scale}


def blobs(place: str, engine: str) -> dict[str, float]:
    """Fingerprints of 100 KB and 1 MB: adding and fetching."""
    rng = np.random.default_rng(1)
    out = {}
    for size in (100_000, 1_000_000):
        some = [
            make_record(rng.bytes(size), [Probe("units", 0, "mlp", rng.integers(0, 256, size=32, dtype=np.uint8))], name=f"m{i}", source="", format="",
                        family="", parameters=0, layers=0, header_digest="0" * 64, fingerprint_version=1)
            for i in range(100)
        ]  # fmt: skip
        with open_store(f"{place}-{size}", "create", engine=engine) as store:
            start = time.perf_counter()
            for one in some:
                store.add([one])
            out[f"add {size // 1000} KB one by one ms"] = 1e1 * (time.perf_counter() - start)
            times = []
            for one in some:
                start = time.perf_counter()
                store.get(one.entry.id)
                times.append(time.perf_counter() - start)
            out[f"get {size // 1000} KB p50 ms"] = 1e3 * float(np.median(times))
            start = time.perf_counter()
            export_store(store, f"{place}-{size}-out")
            out[f"export {size // 1000} KB ms a model"] = 1e1 * (time.perf_counter() - start)
    return out


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


# --- one run ------------------------------------------------------------------------------------------------


def apart(what: str, *args: object) -> dict:
    """Run one of the functions above in a process of its own."""
    code = f"import sys, json; sys.path[:0] = {sys.path!r}; import store as s; print(json.dumps(s.{what}(*{args!r})))"
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, cwd=Path(__file__).parent)
    if done.returncode:
        raise SystemExit(f"{what}{args}: {done.stderr[-2000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def recalls(exact: list, other: list) -> dict[str, dict[str, float]]:
    """By flip rate: recall@10 against the exact scan (hits no farther than its tenth), and queries whose founder was found by a probe."""
    out = {}
    for rate in RATES:
        pairs = [(e, o) for e, o in zip(exact, other, strict=True) if e[0] == rate]
        good = total = 0
        for (_, far_e, _), (_, far_o, _) in pairs:
            for kind_e, kind_o in zip(far_e, far_o, strict=True):
                for e, o in zip(kind_e, kind_o, strict=True):
                    total += len(e)
                    good += sum(x <= e[-1] for x in o)
        probes = len(KINDS) * PER_KIND * COPIES
        out[str(rate)] = {
            "recall@10": good / total,
            "founder found by a probe": sum(o[2] for _, o in pairs) / (probes * len(pairs)),
            "founder found by the query": sum(o[2] > 0 for _, o in pairs) / len(pairs),
        }
    return out


def measure(engine: str, models: int, root: Path) -> dict:
    place = str(root / f"{engine}-{models}")
    row: dict = {"engine": engine, "models": models, "probes": models * PER_KIND * len(KINDS)}
    row["build"] = apart("build", place, engine, models)
    row["open"] = apart("opening", place)
    row["manifest"] = apart("manifest", place)
    row["cold"] = apart("cold", place, models)
    exact, fast = apart("searching", place, models, True), apart("searching", place, models, False)
    row["recall"] = {"exact": recalls(exact["found"], exact["found"]), "approximate": recalls(exact["found"], fast["found"])}
    row["search"] = {"exact": {k: v for k, v in exact.items() if k != "found"}, "approximate": {k: v for k, v in fast.items() if k != "found"}}
    row["floor"] = apart("floor", models)
    shutil.rmtree(place)
    print(json.dumps({k: v for k, v in row.items() if k != "recall"}), file=sys.stderr, flush=True)
    for way, by_rate in row["recall"].items():
        print(way, {r: [round(x, 3) for x in v.values()] for r, v in by_rate.items()}, file=sys.stderr, flush=True)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--table", action="store_true", help="print the tables of docs/index.md from the results in --out, and measure nothing")
    parser.add_argument("--models", type=int, nargs="+", default=[1000, 100_000, 1_000_000])
    parser.add_argument("--engines", nargs="+", default=["sqlite", "lance"])
    args = parser.parse_args()
    if args.table:
        print(tables(json.loads((args.out / "store.json").read_text("utf-8"))))
        return
    versions = {n: importlib.metadata.version(n) for n in ("numpy", "lancedb", "pyarrow")}
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as tmp:
        result: dict = {
            "command": "python benchmarks/index/store.py " + " ".join(a for a in sys.argv[1:]),
            "date": time.strftime("%Y-%m-%d"),
            "machine": {"cpu": cpu(), "cores": os.cpu_count(), "python": platform.python_version(), **versions},
            "settings": {"probes a model": PER_KIND * len(KINDS), "fingerprint bytes": BLOB, "queries a rate": QUERIES, "probes a query": 60, "k": 10},
            "rows": [],
            "blobs": {e: apart("blobs", str(Path(tmp) / f"blobs-{e}"), e) for e in args.engines},
        }
        args.out.mkdir(parents=True, exist_ok=True)
        for models in args.models:
            for engine in args.engines:
                result["rows"].append(measure(engine, models, Path(tmp)))
                (args.out / "store.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def tables(result: dict) -> str:
    """The result as the tables of docs/index.md: ratios first."""
    ways = list(NAMES)
    by = {(r["engine"], r["models"]): r for r in result["rows"]}
    sizes = sorted({m for _, m in by})
    out = [_line("CPU time of one search, as a share of the sqlite scan's", [f"{m:,} models" for m in sizes]), "|---|" + "---|" * len(sizes)]

    def cell(way: tuple[str, str], models: int) -> str:
        row, base = by.get((way[0], models)), by.get(("sqlite", models))
        if row is None or base is None:
            return "not measured"
        s = row["search"][way[1]]
        ratio = s["p50 cpu ms"] / base["search"]["exact"]["p50 cpu ms"]
        return f"{ratio:.2g} ({s['p50 cpu ms']:,.0f} ms; clock {s['p50 ms']:,.0f}, p95 {s['p95 ms']:,.0f} ms)"

    out += [_line(NAMES[w], [cell(w, m) for m in sizes]) for w in ways]
    floors = [by["sqlite", m]["floor"] for m in sizes if ("sqlite", m) in by]
    out.append(_line("floor: bits of every pair counted, nothing else", [f"{f['count pairs cpu ms']:,.0f} ms" for f in floors]))
    out.append(_line("floor: every probe read once", [f"{f['read once cpu ms']:.2g} ms" for f in floors]))
    lines = (
        ("models added a second", lambda r: f"{r['build']['add models/s']:,.0f}"), ("compact, s", lambda r: f"{r['build']['compact s']:,.1f}"),
        ("bytes a model on disk", lambda r: f"{r['build']['bytes/model']:,.0f}"), ("open, s", lambda r: f"{r['open']['open s']:.2g}"),
        ("one search in a fresh process, s", lambda r: f"{r['cold']['one search in a fresh process ms'] / 1e3:.2g}"),
        ("entries listed a second", lambda r: f"{r['manifest']['manifest entries/s']:,.0f}"),
        ("peak memory, MB: adding", lambda r: f"{r['build']['peak MB']:,.0f}"), ("scan", lambda r: f"{r['search']['exact']['peak MB']:,.0f}"),
        ("approximate search", lambda r: f"{r['search']['approximate']['peak MB']:,.0f}"),
    )  # fmt: skip
    out += ["", _line("sqlite : lance", [f"{m:,} models" for m in sizes]), "|---|" + "---|" * len(sizes)]
    for name, show in lines:
        out.append(_line(name, [" : ".join(show(by[e, m]) if (e, m) in by else "not measured" for e in ("sqlite", "lance")) for m in sizes]))
    out += ["", _line("fingerprints one by one", ["sqlite", "lance"]), "|---|---|---|"]
    for key in result["blobs"]["sqlite"]:
        out.append(_line(key, [f"{result['blobs'][e][key]:.2g}" for e in ("sqlite", "lance")]))
    for models in (m for m in sizes if m > 1000):
        out += ["", _line(f"{models:,} models: share found at flip rate", [str(r) for r in RATES]), "|---|" + "---|" * len(RATES)]
        for way in (w for w in ways if (w[0], models) in by and w != ("lance", "exact")):
            recall = by[way[0], models]["recall"][way[1]]
            for what in ("recall@10", "founder found by a probe", "founder found by the query")[way[1] == "exact" :]:
                out.append(_line(f"{NAMES[way]}: {what}", [f"{recall[str(r)][what]:.2f}" for r in RATES]))
    return "\n".join(out)


def _line(name: str, cells: list[str]) -> str:
    return "| " + " | ".join([name, *cells]) + " |"


def cpu() -> str:
    names = [line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return names[0] if names else platform.processor()


if __name__ == "__main__":
    main()
