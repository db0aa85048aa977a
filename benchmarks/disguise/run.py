"""Is `begat compare` right about disguised and reshaped children, cell by cell of kind × disguise?

    python benchmarks/disguise/run.py FAMILY [--pedigree full] [--cell NAME …] [--out benchmarks/disguise/results]

Enters: a family grown by `begat-lab grow full` (or the finished members of one). Leaves: two tables: per cell how many children were found from the
model from scratch that they go back to, by exact or by calibrated evidence, and in how many the map of layers is exact; and the strangers of every
cell: the same children against a model that has nothing to do with them.

Truth comes from the pedigree alone. Which layer of the ancestor lies in which layer of the child is composed from the options of the kinds in between.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import re
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy

import begat
from begat_lab.kinship import Kinship
from begat_lab.pedigree import Family, Member, read_pedigree
from begat_lab.truth import read_truth

#: kinds that are disguised, or whose shape differs from their parent's
RESHAPED = ("disguised", "prune-depth", "prune-width", "up-scale", "upcycled", "upcycled-split", "upcycled-moge", "vocabulary-extended", "vocabulary-pruned",
            "vocabulary-replaced", "stitched")  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One comparison; `layers`: layer map found, `true_layers`: None where the truth has none."""

    cell: str
    a: str
    b: str
    related: bool
    verdict: str
    log10_e: float | None
    way: str
    share: float | None
    layers: list[list[int]]
    true_layers: list[int] | None
    seconds: float


def cell_of(name: str) -> str:
    return re.sub(r"-\d+$", "", name)


def root_of(family: Family, member: Member) -> Member:
    """The first parent's first parent …, from scratch."""
    while member.parents:
        member = family.by_name[member.parents[0]]
    return member


def layers_of(family: Family, member: Member) -> list[int] | None:
    """Layer of the root in each layer; None where parts come from several parents, or layers do not move."""
    moved, chain = False, []
    while member.parents:
        chain.append(member)
        member = family.by_name[member.parents[0]]
    at = list(range(member.shape.num_hidden_layers))
    for step in reversed(chain):
        if step.kind == "stitched":
            return None
        if step.kind in ("prune-depth", "up-scale"):
            at, moved = [at[i] for i in step.options.layers], True
    return at if moved else None


def pairs(folder: Path, family: Family) -> Iterator[tuple[str, str, str, bool, list[int] | None]]:
    kin = Kinship(family)
    there = [m for m in family.members if (folder / m.name).is_dir() and read_truth(folder / m.name)]
    strangers = [m for m in there if m.name.startswith("stranger-") and m.kind == "scratch" and m.shape == root_of(family, m).shape]
    for member in there:
        root = root_of(family, member)
        if member.kind not in RESHAPED or not (folder / root.name).is_dir() or kin.relation(root.name, member.name) != "descended":
            continue
        yield cell_of(member.name), root.name, member.name, True, layers_of(family, member)
        apart = next((s for s in reversed(strangers) if kin.relation(s.name, member.name) == "independent"), None)
        if apart is not None:
            yield cell_of(member.name), apart.name, member.name, False, None


def compare(job: tuple[Path, tuple[str, str, str, bool, list[int] | None]]) -> Row:
    folder, (cell, a, b, related, layers) = job
    v = begat.compare(folder / a, folder / b, map="sampled")
    found = v.alignment
    way, share = "equal index", None
    if found is not None:
        best = max((r for r in found.routes if r.log10_e is not None), key=lambda r: r.log10_e or 0.0, default=None)
        if v.log10_e is not None and v.log10_e >= 6 and best is not None and (best.log10_e or 0) > 6 and found.why.startswith("the order tests"):
            way = best.route
        elif found.views is not None and found.views.shown:
            way = "three views, invariants" if found.views.laid_by.startswith("invariant") else "three views"
        share = found.views.share if found.views is not None else None
    map_found = [[m.layer_b, m.layer_a] for m in found.layers] if found is not None else []
    return Row(cell, a, b, related, v.verdict, v.log10_e, way, share, map_found, layers, v.seconds)


def table(rows: list[Row]) -> list[str]:
    cells: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        cells[row.cell].append(row)
    lines = ["| cell | children found | ways | log10 e, least | three views, least | layer maps exact | strangers accused |", "|---|---|---|---|---|---|---|"]
    for cell, group in cells.items():
        mine, apart = [r for r in group if r.related], [r for r in group if not r.related]
        hits = [r for r in mine if begat_found(r)]
        ways = ", ".join(f"{w} {n}" for w, n in sorted(count(r.way for r in hits).items()))
        exact = [r.log10_e for r in hits if not r.way.startswith("three views") and r.log10_e is not None]
        shares = [r.share for r in mine if r.share is not None]
        maps = [r for r in mine if r.true_layers is not None]
        right = sum(r.layers == [[i, a] for i, a in enumerate(r.true_layers or [])] for r in maps)
        lines.append(
            f"| {cell} | {len(hits)} of {len(mine)} | {ways or '–'} | {f'{min(exact):.0f}' if exact else '–'} | {f'{min(shares):.0%}' if shares else '–'} | "
            f"{f'{right} of {len(maps)}' if maps else '–'} | {sum(begat_found(r) for r in apart)} of {len(apart)} |"
        )
    mine, apart = [r for r in rows if r.related], [r for r in rows if not r.related]
    lines.append(
        f"| **all** | {sum(map(begat_found, mine))} of {len(mine)} | | | | | {sum(map(begat_found, apart))} of {len(apart)} |"
    )
    return lines


def count(items: Iterator[str]) -> dict[str, int]:
    out: dict[str, int] = defaultdict(int)
    for item in items:
        out[item] += 1
    return out


def begat_found(row: Row) -> bool:
    return row.verdict not in ("no-evidence", "cannot-test", "error")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("family", type=Path)
    parser.add_argument("--pedigree", default="full")
    parser.add_argument("--cell", action="append", help="only this cell (may be repeated)")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    family = read_pedigree(args.pedigree)
    jobs = [(args.family, p) for p in pairs(args.family, family) if not args.cell or p[0] in args.cell]
    rows = []
    with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as pool:
        for done, row in enumerate(pool.map(compare, jobs, chunksize=4), 1):
            rows.append(row)
            if done % 20 == 0 or done == len(jobs):
                print(f"{done}/{len(jobs)}", file=sys.stderr)
    lines = table(rows)
    print("\n".join(lines))
    if args.out:
        day = datetime.date.today().isoformat()
        command = f"python benchmarks/disguise/run.py families/{family.name} --out benchmarks/disguise/results"
        head = {"command": command, "date": day, "begat": begat.__version__,
                "python": platform.python_version(), "numpy": numpy.__version__, "machine": platform.machine(),
                "median seconds": round(statistics.median(r.seconds for r in rows), 2)}  # fmt: skip
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / f"disguise_{day}.json").write_text(json.dumps({"header": head, "rows": [asdict(r) for r in rows]}) + "\n")
        title = "# Disguised and reshaped children of the lab against the models they go back to\n\n"
        (args.out / f"disguise_{day}.md").write_text(title + "\n".join(f"- {k}: {v}" for k, v in head.items()) + "\n\n" + "\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
