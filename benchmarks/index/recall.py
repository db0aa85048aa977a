"""Does `begat search` name the true parent, by kind of descent and disguise, and never a stranger?

    python benchmarks/index/recall.py FAMILY [--pedigree full] [--per-cell 5] [--out benchmarks/index/results]

Enters: a family grown by `begat-lab grow full` (or its finished members).  Leaves: a table by cell. Every member is sketched into one index. Then every
member is asked about, its own descendants left out (a model that is new has none yet); they still count as candidates.

Right at rank 1: the first model listed is a parent. "Or tied": or a parent is among those that the bits kept cannot tell from the first. "Or a copy":
or one of these holds a parent's weights without any training in between (copied, re-encoded, disguised, wrapped: the index holds many of those, at
distance 0). By exact evidence or, where there is none, as a lead.
False: a relative listed that the pedigree calls independent, at the family-wise 10^-6 of the search.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import re
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy

import begat
from begat.fingerprint import Fingerprint
from begat.index.entries import record_of
from begat.index.search import search
from begat.index.store import Store, open_store
from begat.pipeline.sketch import sketch
from begat_lab.kinship import Kinship
from begat_lab.pedigree import Family, Member, read_pedigree
from begat_lab.truth import read_truth

#: kinds without training: what they make holds its parent's weights, re-encoded or moved about
SAME_WEIGHTS = frozenset(
    ("copied", "disguised", "awq", "fp8", "four-bit", "gptq", "int8", "gguf-q4-0", "gguf-q5-0", "gguf-q8-0", "gguf-q4-k", "gguf-q6-k", "gguf", "tower",
     "vocabulary-extended", "vocabulary-pruned")
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One query. rank: of the best-placed parent among relatives and leads, None when it is not listed; way: what the parent is listed by."""

    cell: str
    query: str
    parents: list[str]
    first: str
    rank: int | None
    right: bool
    right_or_tied: bool
    right_or_copy: bool
    way: str
    log10_e: float | None
    relatives: int
    leads: int
    false: list[str]
    false_leads: list[str]
    screened: int
    seconds: float


def cell_of(name: str) -> str:
    return re.sub(r"-\d+$", "", name)


def weights_of(family: Family, name: str) -> str:
    """The member whose weights these are."""
    member = family.by_name[name]
    while member.kind in SAME_WEIGHTS or any(member.kind.startswith(f"{k}-") for k in ("gguf", "gptq")):
        member = family.by_name[member.parents[0]]
    return member.name


def descendants(family: Family, name: str) -> set[str]:
    out = {name}
    for member in family.members:  # parents come first
        if out & set(member.parents):
            out.add(member.name)
    return out - {name}


def make(job: tuple[Path, Path | None]) -> Fingerprint:
    path, base = job
    return sketch(path, base=base, name=path.name)


_worker: dict[str, object] = {}


def start(folder: Path, pedigree: str, index: Path) -> None:
    family = read_pedigree(pedigree)
    store = open_store(index, "read")
    _worker.update(family=family, kin=Kinship(family), store=store, ids={e.name: e.id for e in store.manifest()})


def ask(name: str) -> Row:
    family, kin, store, ids = (_worker[k] for k in ("family", "kin", "store", "ids"))
    assert isinstance(family, Family) and isinstance(kin, Kinship) and isinstance(store, Store) and isinstance(ids, dict)
    from begat.fingerprint_file import loads

    member = family.by_name[name]
    found = search(loads(store.get(ids[name])), store, leave_out=[ids[d] for d in descendants(family, name) if d in ids])
    relatives, leads = [r.entry.name for r in found.relatives], [x.entry.name for x in found.leads]
    listed = [*relatives, *leads]
    parents = [p for p in member.parents if p in ids] if member.descent.inherits else []
    rank = min((listed.index(p) + 1 for p in parents if p in listed), default=None)
    first = listed[0] if listed else ""
    best = next((r for r in found.relatives if r.entry.name in parents), None)
    tied = {r.entry.name for r in found.relatives if r.tied}
    right_or_tied = first in parents or bool(tied & set(parents))
    copies = {weights_of(family, n) for n in (*tied, *listed[:1])} & {weights_of(family, p) for p in parents}
    way = "exact" if best else "lead" if rank else ""
    false = [[n for n in names if kin.relation(name, n) == "independent"] for names in (relatives, leads)]
    return Row(cell_of(name), name, parents, first, rank, first in parents, right_or_tied, bool(copies), way,
               best.log10_e if best else None, len(relatives), len(leads), *false, found.screened, found.seconds)  # fmt: skip


def queries(family: Family, there: list[Member], per_cell: int) -> Iterator[str]:
    seen: dict[str, int] = defaultdict(int)
    for member in there:
        cell = cell_of(member.name)
        seen[cell] += 1
        if not member.parents or not member.descent.inherits or seen[cell] <= per_cell:
            yield member.name


def table(rows: list[Row]) -> list[str]:
    cells: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        cells[row.cell if row.parents else "(no parent: strangers, distilled)"].append(row)
    lines = ["| cell | right at rank 1 | or tied | or tied, or a copy | listed by | parent's rank | log10 e (N paid), least | strangers listed |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    for cell, group in sorted(cells.items()):
        asked = [r for r in group if r.parents]
        ways = ", ".join(f"{w or 'not listed'} {sum(r.way == w for r in asked)}" for w in sorted({r.way for r in asked}))
        ranks = [r.rank for r in asked if r.rank]
        exact = [r.log10_e for r in asked if r.log10_e is not None]
        strangers = f"{sum(len(r.false) for r in group)} in {len(group)}"
        lines.append(
            f"| {cell} | {f'{sum(r.right for r in asked)} of {len(asked)}' if asked else '–'} | "
            f"{f'{sum(r.right_or_tied for r in asked)} of {len(asked)}' if asked else '–'} | "
            f"{f'{sum(r.right_or_copy for r in asked)} of {len(asked)}' if asked else '–'} | {ways or '–'} | "
            f"{f'{statistics.median(ranks):g}' if ranks else '–'} | {f'{min(exact):.0f}' if exact else '–'} | {strangers} |"
        )
    asked = [r for r in rows if r.parents]
    lines.append(
        f"| **all** | {sum(r.right for r in asked)} of {len(asked)} | {sum(r.right_or_tied for r in asked)} of {len(asked)} | "
        f"{sum(r.right_or_copy for r in asked)} of {len(asked)} | | | | "
        f"{sum(len(r.false) for r in rows)} in {len(rows)} (leads: {sum(len(r.false_leads) for r in rows)}) |"
    )
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("family", type=Path)
    parser.add_argument("--pedigree", default="full")
    parser.add_argument("--per-cell", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    family = read_pedigree(args.pedigree)
    there = [m for m in family.members if (args.family / m.name).is_dir() and read_truth(args.family / m.name)]
    jobs = [(args.family / m.name, args.family / m.parents[0] if (args.family / m.name / "adapter_config.json").exists() else None) for m in there]
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as temporary:
        index = Path(temporary) / "index"
        with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as pool:
            made = list(pool.map(make, jobs, chunksize=8))
        with open_store(index, "create") as store:
            store.add(record_of(f, str(path)) for f, (path, _) in zip(made, jobs, strict=True))
            sizes = [(e.size, e.parameters) for e in store.manifest()]
        asked = list(queries(family, there, args.per_cell))
        with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn"), initializer=start, initargs=(args.family, args.pedigree, index)) as pool:
            for row in pool.map(ask, asked, chunksize=4):
                rows.append(row)
                if len(rows) % 20 == 0 or len(rows) == len(asked):
                    print(f"{len(rows)}/{len(asked)}", file=sys.stderr)
    lines = table(rows)
    print("\n".join(lines))
    if args.out:
        day = datetime.date.today().isoformat()
        head = {"command": f"python benchmarks/index/recall.py families/{family.name} --per-cell {args.per_cell} --out benchmarks/index/results", "date": day,
                "begat": begat.__version__, "python": platform.python_version(), "numpy": numpy.__version__, "machine": platform.machine(),
                "models in the index": len(there), "queries": len(rows), "median seconds": round(statistics.median(r.seconds for r in rows), 2),
                "median bytes of a fingerprint": statistics.median(s for s, _ in sizes)}  # fmt: skip
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / f"recall_{day}.json").write_text(json.dumps({"header": head, "rows": [asdict(r) for r in rows]}) + "\n")
        title = "# begat search on the lab's pedigree: is the true parent first?\n\n"
        (args.out / f"recall_{day}.md").write_text(title + "\n".join(f"- {k}: {v}" for k, v in head.items()) + "\n\n" + "\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
