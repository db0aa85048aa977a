"""begat search beside its strongest peer, modelDNA 0.1.0: which of N bases does a model come from?

    pip install modeldna==0.1.0
    python benchmarks/index/peer.py FAMILY [--pedigree full] [--per-cell 3] [--out benchmarks/index/results]

Enters: a family grown by `begat-lab grow full`.  Leaves: a table by cell. Both get one reference set (the models from scratch that members go
back to, and others of the same recipe) and the same queries from the same folders, in one process, one after the other.

Right: the first-named base is one the member goes back to, and the tool claims it. begat: a relative at family-wise 10^-6, or a lead, counted
apart; modelDNA: a positive class (P >= 0.90). Strangers: models from scratch that are not in the set and go back to nothing in it; whatever
is claimed of them is false.
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
import time
from collections import defaultdict
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import begat
from begat.errors import InputError
from begat.index.entries import record_of
from begat.index.search import search
from begat.index.store import open_store
from begat.pipeline.sketch import sketch
from begat_lab.kinship import Kinship
from begat_lab.pedigree import Family, Member, read_pedigree
from begat_lab.truth import read_truth

POSITIVE = frozenset(("EXACT_COPY", "QUANTIZED_COPY", "FINE_TUNE", "SAME_LINEAGE", "LIKELY_MERGE"))
#: bases in the set, and strangers asked about
BASES, STRANGERS = 40, 30


@dataclass(frozen=True)
class Answer:
    """One tool on one query. strength: modelDNA's probability, begat's log10 e-value with N paid."""

    tool: str
    cell: str
    query: str
    roots: list[str]
    first: str
    claim: str
    right: bool
    seconds: float
    strength: float | None


def roots_of(family: Family, member: Member) -> set[str]:
    todo, out = [member], set()
    while todo:
        m = todo.pop()
        todo += [family.by_name[p] for p in m.parents]
        out |= set() if m.parents else {m.name}
    return out


def ask_begat(folder: Path, store: object) -> tuple[str, str, float | None]:
    try:
        found = search(sketch(folder, name=folder.name), store, in_tree=0)  # type: ignore[arg-type]
    except InputError as err:
        return "", f"error: {err.line()[:80]}", None
    if found.relatives:
        return found.relatives[0].entry.name, "relative", found.relatives[0].log10_e
    if found.leads:
        return found.leads[0].entry.name, "lead", None
    return "", "nothing", None


def ask_modeldna(folder: Path, db: object) -> tuple[str, str, float | None]:
    from modeldna.scan import scan

    try:
        found = scan(str(folder), db).verdict
    except Exception as err:
        return "", f"error: {type(err).__name__}", None
    name = Path(found.best.candidate_id).name if found.best else ""
    return name, str(found.verdict.value), found.probability


def table(rows: list[Answer]) -> list[str]:
    tools = ["begat", "modeldna"]
    cells: dict[str, list[Answer]] = defaultdict(list)
    for r in rows:
        cells[r.cell].append(r)
    lines = ["| cell | queries | begat: right base | of these as a lead | modelDNA: right base, claimed | first but unresolved |", "|---|---|---|---|---|---|"]
    total = {t: [0, 0] for t in tools}
    for cell, group in sorted(cells.items()):
        if cell == "stranger":
            continue
        a, b = ([r for r in group if r.tool == t] for t in tools)
        good = [r for r in a if r.right]
        claimed = [r for r in b if r.right and r.claim in POSITIVE]
        weak = [r for r in b if r.right and r.claim not in POSITIVE]
        total["begat"][0] += len(good)
        total["begat"][1] += len(a)
        total["modeldna"][0] += len(claimed)
        lines.append(f"| {cell} | {len(a)} | {len(good)} | {sum(r.claim == 'lead' for r in good)} | {len(claimed)} | {len(weak)} |")
    lines.append(f"| **all** | {total['begat'][1]} | {total['begat'][0]} | | {total['modeldna'][0]} | |")
    apart = {t: [r for r in cells["stranger"] if r.tool == t] for t in tools}
    claims = {"begat": [r for r in apart["begat"] if r.claim in ("relative", "lead")], "modeldna": [r for r in apart["modeldna"] if r.claim in POSITIVE]}
    weak = [r.strength or 0 for r in apart["modeldna"] if r.claim == "SAME_FAMILY_UNRESOLVED"]
    lines += ["", f"Strangers: begat claims {len(claims['begat'])} of {len(apart['begat'])}; modelDNA claims {len(claims['modeldna'])} of "
              f"{len(apart['modeldna'])} and calls {len(weak)} SAME_FAMILY_UNRESOLVED (P up to {max(weak, default=0):.2f})."]  # fmt: skip
    return lines


def main() -> int:
    from modeldna.db.store import ReferenceDB
    from modeldna.fingerprint.extract import extract_fingerprint
    from modeldna.io.source import open_source

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("family", type=Path)
    parser.add_argument("--pedigree", default="full")
    parser.add_argument("--per-cell", type=int, default=3)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    family = read_pedigree(args.pedigree)
    kin = Kinship(family)
    there = [m for m in family.members if (args.family / m.name).is_dir() and read_truth(args.family / m.name)]
    there = [m for m in there if not (args.family / m.name / "adapter_config.json").exists()]
    used = sorted({r for m in there if m.parents for r in roots_of(family, m)})
    scratch = [m.name for m in there if not m.parents]
    bases = [n for n in scratch if n in used] + [n for n in scratch if n not in used and re.fullmatch(r"stranger-\d+", n)]
    bases = bases[:BASES]
    strangers = [n for n in reversed(scratch) if n not in bases and all(kin.relation(n, b) == "independent" for b in bases)][:STRANGERS]
    seen: dict[str, int] = defaultdict(int)
    queries = []
    for m in there:
        cell = re.sub(r"-\d+$", "", m.name)
        if m.parents and m.descent.inherits and roots_of(family, m) & set(bases) and seen[cell] < args.per_cell:
            seen[cell] += 1
            queries.append((cell, m.name, sorted(roots_of(family, m))))
    queries += [("stranger", n, []) for n in strangers]
    rows: list[Answer] = []
    with tempfile.TemporaryDirectory() as temporary:
        db = ReferenceDB(Path(temporary) / "db")
        for n in bases:
            path = str(args.family / n)
            db.add(extract_fingerprint(open_source(path), model_id=path), family=n)
        with open_store(Path(temporary) / "index", "create") as store:
            store.add(record_of(sketch(args.family / n, name=n), n) for n in bases)
            sizes = {"begat": statistics.median(e.size for e in store.manifest()),
                     "modeldna": statistics.median(p.stat().st_size for p in (Path(temporary) / "db").rglob("*.gz"))}  # fmt: skip
            for cell, name, roots in queries:
                for tool, ask, where in (("begat", ask_begat, store), ("modeldna", ask_modeldna, db)):
                    start = time.perf_counter()
                    first, claim, strength = ask(args.family / name, where)
                    seconds = time.perf_counter() - start
                    rows.append(Answer(tool, cell, name, roots, first, claim, first in roots and not claim.startswith("error"), seconds, strength))
                print(f"{len(rows) // 2}/{len(queries)}", file=sys.stderr, end="\r")
    lines = table(rows)
    times = {t: statistics.median(r.seconds for r in rows if r.tool == t) for t in sizes}
    lines += [f"A query takes {times['begat'] / times['modeldna']:.2f} of modelDNA's time (medians, sketch and search, one process); a fingerprint "
              f"{sizes['begat'] / sizes['modeldna']:.2f} of its bytes ({sizes['begat']:,.0f} against {sizes['modeldna']:,.0f})."]  # fmt: skip
    print("\n".join(lines))
    if args.out:
        day = datetime.date.today().isoformat()
        head = {"command": f"python benchmarks/index/peer.py families/{family.name} --out benchmarks/index/results", "date": day, "begat": begat.__version__,
                "modeldna": version("modeldna"), "python": platform.python_version(), "machine": platform.machine(), "bases": len(bases)}  # fmt: skip
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / f"peer_{day}.json").write_text(json.dumps({"header": head, "rows": [asdict(r) for r in rows]}) + "\n")
        title = "# begat search beside modelDNA 0.1.0\n\n"
        (args.out / f"peer_{day}.md").write_text(title + "\n".join(f"- {k}: {v}" for k, v in head.items()) + "\n\n" + "\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
