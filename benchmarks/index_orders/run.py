"""Are independent models accused whose orders one index fixes? Pattern by pattern, faint to strong, shallow to deep.

    python benchmarks/index_orders/run.py [--depths 4,24] [--strengths 0.1,0.2,0.3,1.0] [--align] [--out benchmarks/index_orders/results]

Enters: nothing (tiny models of `patterns.py`).  Leaves: per table, way of differing by layer, depth and strength the log10 e-value of two independent
models, as `compare` gives it and as the order tests alone would without `begat.pipeline.by_index`; and of a child of a model without and with a
pattern. Exits 1 where two independent models reach 10^6 or such a child is lost.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

import begat
from begat.canon.resolve import resolve
from begat.pipeline.by_index import ByIndex
from begat.pipeline.exact import run_axes
from begat.source import open_checkpoint

sys.path.insert(0, str(Path(__file__).parent))
from patterns import LAYERS, TABLES, Tensors, child, model


def put(folder: Path, made: tuple[Tensors, dict[str, Any]]) -> Path:
    folder.mkdir()
    save_file({n: np.ascontiguousarray(w) for n, w in made[0].items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(made[1]))
    return folder


def without_guard(a: Path, b: Path) -> float:
    keep = ByIndex.keep
    ByIndex.keep = lambda self, tests: list(tests)  # type: ignore[method-assign]
    try:
        return run_axes(*(resolve(open_checkpoint(p)) for p in (a, b)), 1).log10_e or 0.0
    finally:
        ByIndex.keep = keep  # type: ignore[method-assign]


def row(rule: str, layers: str, depth: int, strength: float, align: bool) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        a, b = (put(Path(folder) / str(s), model(s, rule, strength, depth, layers=layers)) for s in (1, 2))
        found = begat.compare(a, b, align=align)
        return {"table": rule, "layers": layers, "depth": depth, "strength": strength, "verdict": found.verdict,
                "log10_e": round(found.log10_e or 0.0, 1), "without": round(without_guard(a, b), 1)}  # fmt: skip


def children(depth: int, strength: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        parent, config = model(1, "random table", strength, depth)
        a, b = put(Path(folder) / "a", (parent, config)), put(Path(folder) / "b", (child(parent, 2), config))
        found = begat.compare(a, b)
        axes = [x.axis for x in found.axes if x.tests and (x.log10_e or 0) > 6]
        return {"child of strength": strength, "depth": depth, "verdict": found.verdict, "log10_e": round(found.log10_e or 0.0), "axes": axes}


def table(rows: list[dict[str, Any]], found: list[dict[str, Any]]) -> str:
    strengths = sorted({r["strength"] for r in rows})
    head = "log10 e of two independent models, in brackets the order tests without the look"
    lines = [head, "", "| table | differs by layer | depth | " + " | ".join(f"{s:g} sd" for s in strengths) + " |", "|---" * (3 + len(strengths)) + "|"]
    for key in sorted({(r["depth"], r["table"], r["layers"]) for r in rows}):
        here = {r["strength"]: r for r in rows if (r["depth"], r["table"], r["layers"]) == key}
        cells = [f"{here[s]['log10_e']:.1f} ({here[s]['without']:.0f})" if s in here else "–" for s in strengths]
        lines.append(f"| {key[1]} | {key[2]} | {key[0]} | " + " | ".join(cells) + " |")
    lines += ["", "| child of a parent with a random table of | depth | verdict | log10 e | axes found |", "|---|---|---|---|---|"]
    lines += [f"| {r['child of strength']:g} sd | {r['depth']} | {r['verdict']} | {r['log10_e']} | {', '.join(r['axes'])} |" for r in found]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--depths", default="4,24")
    parser.add_argument("--strengths", default="0.1,0.2,0.3,1.0")
    parser.add_argument("--layers", default=",".join(LAYERS))
    parser.add_argument("--align", action="store_true", help="look behind disguises too, as compare does by default")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    depths, strengths = [int(x) for x in args.depths.split(",")], [float(x) for x in args.strengths.split(",")]
    rows = [row(t, w, d, s, args.align) for d in depths for t in TABLES for w in args.layers.split(",") for s in strengths]
    found = [children(d, s) for d in depths for s in (0.0, 0.3)]
    worst = max(rows, key=lambda r: r["log10_e"])
    wrong = [r for r in rows if r["verdict"] not in ("no-evidence", "cannot-test")]
    lost = [r for r in found if r["verdict"] in ("no-evidence", "cannot-test")]
    where = f"{worst['table']}, {worst['layers']}, depth {worst['depth']}, strength {worst['strength']:g}"
    text = f"{table(rows, found)}\n\n{len(rows)} pairs: {len(wrong)} accused; largest log10 e {worst['log10_e']} ({where}). "
    text += f"Children lost: {len(lost)} of {len(found)}."
    print(text)
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        day = datetime.date.today().isoformat()
        head = f"# Orders fixed by index\n\n- begat {begat.__version__}, python {platform.python_version()}, numpy {np.__version__}, {day}\n"
        head += f"- command: python benchmarks/index_orders/run.py {' '.join(sys.argv[1:])}\n\n"
        (args.out / f"orders_{day}_depth_{args.depths.replace(chr(44), chr(45))}.md").write_text(head + text + "\n")
    return 1 if lost or worst["log10_e"] >= 6 else 0


if __name__ == "__main__":
    sys.exit(main())
