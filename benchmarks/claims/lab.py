"""Is every claim true over pairs of a grown family? The truth is the pedigree's.

    python benchmarks/claims/lab.py FAMILY [--pairs 400] [--out benchmarks/claims/results] python
    benchmarks/claims/lab.py FAMILY --pair parent tuned-0        # one pair, every statement

Enters: a folder grown by `begat-lab grow`, or one that is still growing.  Leaves: the tables of
`run.py` over `begat compare` of pairs of its members (every parent and child; of the others, by
relation, evenly many, strangers half), and `begat inspect` of every member; a raw file beside the
cache, by which an interrupted run goes on.  Exits 1 when something is false.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from itertools import combinations
from pathlib import Path

import numpy as np
from run import ROOT, commit, footer, report, show

import begat
from begat_lab.cases.ask import Record, answered
from begat_lab.cases.family import Grown, read_family, truth_of_pair
from begat_lab.cases.statements import of_comparison, of_inspection
from begat_lab.cases.tally import wrong

RAW = ROOT / "benchmarks" / ".cache" / "claims-lab.jsonl"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("family", type=Path)
    parser.add_argument("--pairs", type=int, default=400, help="at most, beside every parent and child")
    parser.add_argument("--pair", nargs=2, metavar=("A", "B"))
    parser.add_argument("--raw", type=Path, default=RAW)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    family = {n: g for n, g in read_family(args.family).items() if g.kind != "lora"}
    if args.pair:
        records = once(*args.pair, family)
        show(records)
        return int(bool(wrong(records)))
    records = list(everything(args.raw, chosen(family, args.pairs), family))
    text = report(
        records, "Every claim against the pedigree, a grown family", "python benchmarks/claims/lab.py FAMILY --pair {case}"
    )
    print(text)
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "claims-lab.md").write_text(
            f"{text}\n\n{footer(f'lab.py FAMILY, {len(family)} members')}\n", encoding="utf-8"
        )
    return int(bool(wrong(records)))


def chosen(family: dict[str, Grown], most: int) -> list[tuple[str, str]]:
    """Parents and children; then pairs of every relation in turn, half of them strangers, drawn
    with a fixed seed.
    """
    lineal = [(p, n) for n, g in family.items() for p in g.parents if p in family]
    pools: dict[str, list[tuple[str, str]]] = {}
    rng = np.random.default_rng(1)
    names = list(family)
    pairs = [p for p in combinations(names, 2) if p not in lineal and p[::-1] not in lineal]
    for i in rng.permutation(len(pairs))[: 40 * most]:
        relation = truth_of_pair(*pairs[i], family).pairs["a", "b"].relation
        pools.setdefault(relation, []).append(pairs[i])
    strangers = pools.pop("independent", [])[: most // 2]
    related = [pool[i] for i in range(most) for pool in pools.values() if i < len(pool)][: most // 2]
    return [*lineal, *strangers, *related]


def once(a: str, b: str, family: dict[str, Grown]) -> list[Record]:
    truth = truth_of_pair(a, b, family)
    x, y = family[a].folder, family[b].folder
    out = answered(
        f"{a} {b}", "compare", truth, ("a", "b"), lambda: begat.compare(x, y), lambda v: (of_comparison(v, "a", "b"), v.sentence)
    )
    return out + answered(
        f"{a} {b}", "inspect", truth, ("b",), lambda: begat.inspect(y), lambda r: (of_inspection(r, "b"), r.sentence)
    )


def everything(raw: Path, pairs: list[tuple[str, str]], family: dict[str, Grown]) -> Iterator[Record]:
    raw.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.loads(line) for line in raw.read_text("utf-8").splitlines()] if raw.exists() else []
    if not lines or lines[0] != {"commit": commit()}:
        lines = [{"commit": commit()}]
        raw.write_text(json.dumps(lines[0]) + "\n", encoding="utf-8")
    done = {line["done"] for line in lines[1:] if "done" in line}
    yield from (Record(**line) for line in lines[1:] if "done" not in line and line["case"] in done)
    with raw.open("a", encoding="utf-8") as stream:
        for a, b in (p for p in pairs if " ".join(p) not in done):
            records = once(a, b, family)
            stream.writelines(json.dumps(asdict(r), ensure_ascii=False) + "\n" for r in records)
            stream.write(json.dumps({"done": f"{a} {b}"}) + "\n")
            stream.flush()
            yield from records


if __name__ == "__main__":
    sys.exit(main())
