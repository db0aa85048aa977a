"""What does `begat inspect` find in every member of a grown family, and what should it?

    python benchmarks/inspect/run.py FAMILY [--out benchmarks/inspect/results]

Enters: a folder grown by `begat-lab grow` (truth.json beside each member; the truth is read after the inspection).  Leaves: a
table finding × kind on stdout and, with --out,
`inspect_<family>_<date>.{json,md}`. Rules for what is expected: `expected.py`.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from safetensors.numpy import save_file

import begat

sys.path.insert(0, str(Path(__file__).parent))
from expected import DESCENT, STATES, Lineage, expected
from members import found_words


def judge(folder: Path, lineage: Lineage) -> dict[str, Any]:
    """One member: what was found, what was expected, and the details that can be wrong."""
    start = time.perf_counter()
    inspection = begat.inspect(folder)
    found = {name: found_words(inspection, name) for name in (*DESCENT, *STATES)}
    truth = expected(lineage, inspection)
    return {
        "member": folder.name, "kind": lineage.kind, "group": lineage.group, "found": found, "expected": truth.findings,
        "wrong": truth.wrong(inspection),
        "log10_e": {n: inspection.finding(n).found.log10_e for n in ("layers", "experts")}, "seconds":
        time.perf_counter() - start,
    }  # fmt: skip


def dequantised(folder: Path, out: Path) -> Path:
    """The values that a quantised member stands for, as bfloat16 under the same names: what a careless converter writes."""
    c = begat.open_checkpoint(folder)
    tensors = {}
    for name, entry in c.entries.items():
        values = c.read(name).T if entry.transposed else c.read(name).reshape(entry.shape)
        tensors[name] = np.ascontiguousarray(values.astype(ml_dtypes.bfloat16))
    out.mkdir(parents=True)
    save_file(tensors, out / "model.safetensors")
    config = json.loads((folder / "config.json").read_text("utf-8"))
    config.pop("quantization_config", None)
    (out / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return out


def unpacked(folder: Path, lineage: Lineage, out: Path) -> dict[str, Any]:
    """A quantised member written back as floats: the grid must be found in them."""
    start = time.perf_counter()
    inspection = begat.inspect(dequantised(folder, out))
    found = {name: found_words(inspection, name) for name in (*DESCENT, *STATES)}
    grids = [(i.what, i.numbers["tensors"]) for i in inspection.finding("grid").found.items if i.numbers.get("run")]
    due = {"rounded": True, "layers": False, "experts": False, "declared": False, "rank": False}
    if not lineage.options.get("desc_act"):  # scattered groups: zeros of a grid that is not seen
        due["zeros"] = False
    return {
        "member": f"{folder.name}, as bfloat16", "kind": lineage.kind, "group": f"{lineage.group}, as bfloat16", "found": found, "expected": due,
        "wrong": [], "grids": grids, "log10_e": {"layers": None, "experts": None}, "seconds": time.perf_counter() - start,
    }  # fmt: skip


def table(rows: list[dict[str, Any]]) -> str:
    """Finding × kind: found of expected; false ones in bold; in brackets what was found where either is right; · where nothing was due or found."""
    names = (*DESCENT, *STATES)
    lines = ["| group | members | " + " | ".join(names) + " | wrong details |", "|---|---|" + "---|" * (len(names) + 1)]
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[row["group"]].append(row)
    for group, members in groups.items():
        cells = []
        for name in names:
            due = [r for r in members if r["expected"].get(name)]
            right = sum(r["found"][name] for r in due)
            false = sum(r["found"][name] for r in members if r["expected"].get(name) is False)
            free = sum(r["found"][name] for r in members if name not in r["expected"])
            words = [f"{right} of {len(due)}"] if due else []
            words += [f"**{false} false**"] if false else []
            words += [f"({free})"] if free else []
            cells.append(", ".join(words) or "·")
        wrong = "; ".join(sorted({w for r in members for w in r["wrong"]})) or "none"
        lines.append(f"| {group} | {len(members)} | " + " | ".join(cells) + f" | {wrong} |")
    return "\n".join(lines)


def summary(rows: list[dict[str, Any]]) -> str:
    """False alarms, misses, and the null's own numbers."""
    false = [f"{r['member']}: {n}" for r in rows for n in DESCENT if r["found"][n] and r["expected"].get(n) is False]
    missed = [f"{r['member']}: {n}" for r in rows for n in (*DESCENT, *STATES) if r["expected"].get(n) and not r["found"][n]]
    null = [
        10.0 ** r["log10_e"]["layers"]
        for r in rows
        if r["log10_e"]["layers"] is not None and r["expected"].get("layers") is False
    ]
    lines = [
        f"{len(rows)} members. False alarms of findings that show descent: {len(false)}{': ' + ', '.join(false) if false else ''}."
    ]
    lines.append(f"Missed: {len(missed)}{': ' + ', '.join(missed) if missed else ''}.")
    grids = [f"{r['member']}: " + "; ".join(f"{what} ({n} tensors)" for what, n in r["grids"]) for r in rows if r.get("grids")]
    if grids:
        lines.append("Grids found in quantised members written back as bfloat16:\n\n- " + "\n- ".join(grids) + "\n")
    if null:
        lines.append(
            f"e-values of the search over layers in {len(null)} members without copies: mean {np.mean(null):.2f}, largest {max(null):.2f}."
        )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("family", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", default="", help="members whose name contains this")
    args = parser.parse_args()
    folders = sorted(f for f in args.family.iterdir() if (f / "truth.json").exists() and args.only in f.name)
    truths = {f.name: json.loads((f / "truth.json").read_text("utf-8")) for f in folders}
    rows = []
    for folder in folders:
        if truths[folder.name]["stores"] == "adapter":
            continue  # a difference, not a model
        lineage = Lineage(folder.name, truths)
        rows.append(judge(folder, lineage))
        if lineage.grid() == "declared":
            with tempfile.TemporaryDirectory() as place:
                rows.append(unpacked(folder, lineage, Path(place) / folder.name))
        print(f"{len(rows)} {folder.name}", end="\r", file=sys.stderr)
    print(table(rows), summary(rows), sep="\n\n")
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        day, name = datetime.date.today().isoformat(), args.family.name
        head = {
            "begat": begat.__version__, "python": platform.python_version(), "numpy": np.__version__, "date": day,
            "command": f"python benchmarks/inspect/run.py {name} --out benchmarks/inspect/results", "family": name,
            "members": len(rows),
        }  # fmt: skip
        body = ",\n".join(json.dumps(r, ensure_ascii=False, sort_keys=True) for r in rows)
        (args.out / f"inspect_{name}_{day}.json").write_text(
            f'{{"header": {json.dumps(head)}, "rows": [\n{body}\n]}}\n', encoding="utf-8"
        )
        text = f"# What inspect finds in the family {name}\n\n" + "\n".join(f"- {k}: {v}" for k, v in head.items())
        (args.out / f"inspect_{name}_{day}.md").write_text(f"{text}\n\n{table(rows)}\n\n{summary(rows)}\n", encoding="utf-8")
    return int(any(r["found"][n] and r["expected"].get(n) is False for r in rows for n in DESCENT))


if __name__ == "__main__":
    sys.exit(main())
