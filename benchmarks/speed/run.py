"""Time `begat compare` on a 254M-parameter bf16 pair, side by side with `sha256sum` and with the floor.

    python benchmarks/speed/run.py [--folder .cache/speed] [--runs 7] [--out results]

Enters: the models of `make_pair.py` (written once, page cache warmed by reading them).  Leaves: a table of medians and ratios. All commands are
run in turn inside one loop, so that a noisy machine is noisy for all of them.

The floor: a verdict must start Python, import numpy and click, and read its share of bytes; `python -c "import numpy, click"` is timed as that
floor. A full map must move every byte of both files once from the page cache (`cat FILES > /dev/null`) and do one decode and three products a value.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))


def measure(command: list[str]) -> tuple[float, float, str]:
    """Wall seconds, peak RSS in MB and stdout of one command."""
    start = time.perf_counter()
    keep = "begat" in command
    proc = subprocess.Popen(command, stdout=subprocess.PIPE if keep else subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    out = proc.stdout.read() if proc.stdout else b""
    _, _, usage = os.wait4(proc.pid, 0)
    proc.returncode = 0
    return time.perf_counter() - start, usage.ru_maxrss / 1024, out.decode()


def commands(folder: Path) -> dict[str, list[str]]:
    begat = [sys.executable, "-m", "begat", "compare", "--json"]
    names = ("parent", "child", "stranger", "rotated", "hidden", "replaced", "shallow")
    parent, child, stranger, rotated, hidden, replaced, shallow = (str(folder / n) for n in names)
    files = [str(folder / n / "model.safetensors") for n in ("parent", "child")]
    return {
        "floor: python -c 'import numpy, click'": [sys.executable, "-c", "import numpy, click"],
        "floor: cat both files": ["cat", *files],
        "sha256sum of both files": ["sha256sum", *files],
        "begat compare parent child": [*begat, parent, child],
        "begat compare --no-align parent stranger": [*begat, "--no-align", parent, stranger],
        "begat compare --map full parent child": [*begat, "--map", "full", parent, child],
        "begat compare --map full --no-align parent stranger": [*begat, "--map", "full", "--no-align", parent, stranger],
        "begat compare parent rotated": [*begat, parent, rotated],
        "begat compare parent hidden": [*begat, parent, hidden],
        "begat compare parent replaced": [*begat, parent, replaced],
        "begat compare parent shallow": [*begat, parent, shallow],
        "begat compare parent stranger": [*begat, parent, stranger],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=HERE.parent / ".cache" / "speed")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    subprocess.run([sys.executable, str(HERE / "make_pair.py"), str(args.folder)], check=True)
    todo = commands(args.folder)
    times: dict[str, list[float]] = {name: [] for name in todo}
    memory: dict[str, float] = {}
    read: dict[str, float] = {}
    found: dict[str, str] = {}
    for _ in range(args.runs + 1):  # the first round warms the page cache and is dropped
        for name, command in todo.items():
            seconds, rss, out = measure(command)
            times[name].append(seconds)
            memory[name] = max(memory.get(name, 0), rss)
            if name.startswith("begat"):
                report = json.loads(out)
                found[name] = report["verdict"]
                read[name] = report["bytes_read"] / report["bytes_total"]
    medians = {name: statistics.median(t[1:]) for name, t in times.items()}
    sha = medians["sha256sum of both files"]
    lines = ["| command | verdict | median s | least s | × sha256sum | peak RSS MB | share of bytes read |", "|---|---|---|---|---|---|---|"]
    for name in todo:
        share = f"{read[name]:.2%}" if name in read else "–"
        lines.append(
            f"| {name} | {found.get(name, '–')} | {medians[name]:.2f} | {min(times[name][1:]):.2f} | {medians[name] / sha:.2f} | {memory[name]:.0f} | {share} |"
        )
    print("\n".join(lines))
    if args.out:
        _write(args.out, lines, times, args.runs)
    return 0


def _write(out: Path, lines: list[str], times: dict[str, list[float]], runs: int) -> None:
    import numpy

    import begat

    day = datetime.date.today().isoformat()
    head = {
        "begat": begat.__version__, "python": platform.python_version(), "numpy": numpy.__version__, "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "date": day, "runs": runs, "command": "python benchmarks/speed/run.py --out benchmarks/speed/results",
    }  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    (out / f"speed_{day}.json").write_text(json.dumps({"header": head, "seconds": times}, indent=1) + "\n")
    text = "# Speed: 254M-parameter bf16 pair, 2 × 509 MB, page cache warm\n\n" + "\n".join(
        f"- {k}: {v}" for k, v in head.items()
    )
    (out / f"speed_{day}.md").write_text(text + "\n\n" + "\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(main())
