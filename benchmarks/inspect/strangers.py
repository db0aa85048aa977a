"""Does any model that was copied from nothing say that it was?

Models of 27 architectures straight from transformers, under the structures and storages of `../null`.

    python benchmarks/inspect/strangers.py [--pairs 100] [--seed 2] [--out benchmarks/inspect/results]

Enters: nothing (both models of each pair that `../null/run.py` draws).  Leaves: what was found, by structure, on stdout and with --out as
`strangers_<date>.{json,md}`. Layers and experts drew their orders apart in every one of them, and none was rounded but by its storage, which says so.
Needs torch, transformers, ml_dtypes and gguf.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import json
import platform
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

import begat

_HERE = Path(__file__).parent
sys.path[:0] = [str(_HERE), str(_HERE.parent / "null")]
_SPEC = importlib.util.spec_from_file_location("null_run", _HERE.parent / "null" / "run.py")
assert _SPEC is not None
assert _SPEC.loader is not None
null_run = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(null_run)

from expected import DESCENT, STATES  # noqa: E402
from members import found_words  # noqa: E402


def run(pairs: int, seed: int) -> list[dict[str, Any]]:
    rows = []
    for n in range(pairs):
        with tempfile.TemporaryDirectory() as folder:
            name, structure, storage, *paths = null_run.pair(n, seed, Path(folder))
            for path in paths:
                i = begat.inspect(path)
                rows.append({
                    "pair": n, "model": name, "structure": structure, "storage": storage, "found": {x: found_words(i, x) for x in (*DESCENT, *STATES)},
                    "e": {x: i.finding(x).found.log10_e for x in ("layers", "experts")}, "sentence": i.sentence,
                })  # fmt: skip
        print(f"{n + 1} of {pairs}", file=sys.stderr, end="\r", flush=True)
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    names = (*DESCENT, *STATES)
    lines = ["| structure | models | " + " | ".join(names) + " |", "|---|---|" + "---|" * len(names)]
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[row["structure"]].append(row)
    for structure, members in sorted(groups.items()):
        lines.append(
            f"| {structure} | {len(members)} | "
            + " | ".join(str(sum(r["found"][n] for r in members) or "·") for n in names)
            + " |"
        )
    return "\n".join(lines)


def summary(rows: list[dict[str, Any]]) -> str:
    false = [f"{r['model']} {r['structure']} {r['storage']}: {n}" for r in rows for n in DESCENT if r["found"][n]]
    named = ": " + "; ".join(false) if false else ""
    bound = "" if false else f" (95 % upper bound on the rate: {3 / len(rows):.1e})"
    lines = [f"{len(rows)} models of {len({r['model'] for r in rows})} architectures. False alarms: {len(false)}{bound}{named}."]
    for name in ("layers", "experts"):
        e = 10.0 ** np.array([r["e"][name] for r in rows if r["e"][name] is not None])
        if len(e):
            lines.append(f"e-values of the search over {name}: {len(e)} models, mean {e.mean():.2f}, largest {e.max():.2f}.")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    null_run.torch.set_num_threads(1)
    null_run.transformers.logging.set_verbosity_error()
    null_run.transformers.logging.disable_progress_bar()
    rows = run(args.pairs, args.seed)
    print(table(rows), summary(rows), sep="\n\n")
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        day = datetime.date.today().isoformat()
        head = {
            "begat": begat.__version__, "python": platform.python_version(), "numpy": np.__version__,
            "transformers": null_run.transformers.__version__, "date": day,
            "command": f"python benchmarks/inspect/strangers.py --pairs {args.pairs} --seed {args.seed} --out benchmarks/inspect/results",
        }  # fmt: skip
        body = ",\n".join(json.dumps(r, ensure_ascii=False) for r in rows)
        (args.out / f"strangers_{day}.json").write_text(
            f'{{"header": {json.dumps(head)}, "rows": [\n{body}\n]}}\n', encoding="utf-8"
        )
        text = "# What inspect finds in strangers\n\n" + "\n".join(f"- {k}: {v}" for k, v in head.items())
        (args.out / f"strangers_{day}.md").write_text(f"{text}\n\n{table(rows)}\n\n{summary(rows)}\n", encoding="utf-8")
    return int(any(r["found"][n] for r in rows for n in DESCENT))


if __name__ == "__main__":
    sys.exit(main())
