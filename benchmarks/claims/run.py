"""Is every claim of every command true? Over the small cases of `begat_lab.cases`, whose truth is
known.

    python benchmarks/claims/run.py [--out benchmarks/claims/results]      # all cases; takes up
    where it stopped python benchmarks/claims/run.py --case layers/swapped                  # one
    case (or all whose names hold this), printed python benchmarks/claims/run.py --list

Enters: nothing but begat.  Leaves: a raw file, one line a statement
(`benchmarks/.cache/claims.jsonl`; the commit it was made with stands in its first line, another
commit starts it anew), tables by command and by claim, the list of all false ones, each with the
command that shows it again; with --out the same as `claims.md`. Exits 1 when something is false. A
statement that is withheld ("undetermined", no kind) is counted as withheld, never as false.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np

import begat
from begat_lab.cases import Case, cases
from begat_lab.cases.ask import Record, ask
from begat_lab.cases.tally import by_claim, by_command, listed, wrong

ROOT = Path(__file__).resolve().parents[2]
RAW = ROOT / "benchmarks" / ".cache" / "claims.jsonl"
AGAIN = "python benchmarks/claims/run.py --case {case}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", default="", help="this case, else all whose names hold it; nothing is kept")
    parser.add_argument("--command", default="", help="only this command")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--raw", type=Path, default=RAW)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.list:
        print("\n".join(f"{c.name:52s} {c.about}" for c in cases(args.case)))
        return 0
    commands = (args.command,) if args.command else None
    if args.case:
        found = [c for c in cases() if c.name == args.case] or cases(args.case)
        records = [r for case in found for r in once(case, commands)]
        show(records)
    else:
        records = list(everything(args.raw, commands))
    text = report(records, "Every claim against the truth, small cases", AGAIN)
    print(text)
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "claims.md").write_text(f"{text}\n\n{footer('run.py')}\n", encoding="utf-8")
    return int(bool(wrong(records)))


def once(case: Case, commands: tuple[str, ...] | None = None) -> list[Record]:
    with tempfile.TemporaryDirectory(prefix="begat-case-") as folder:
        return ask(case, Path(folder), case.make(Path(folder)), commands)


def everything(raw: Path, commands: tuple[str, ...] | None) -> Iterator[Record]:
    """Those of the raw file, if this commit made it, and then the rest, which join it."""
    head = {"commit": commit(), "commands": commands}
    raw.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.loads(line) for line in raw.read_text("utf-8").splitlines()] if raw.exists() else []
    if not lines or lines[0] != json.loads(json.dumps(head)):
        lines = [head]
        raw.write_text(json.dumps(head) + "\n", encoding="utf-8")
    done = {line["done"] for line in lines[1:] if "done" in line}
    yield from (Record(**line) for line in lines[1:] if "done" not in line and line["case"] in done)
    todo = [c for c in cases() if c.name not in done]
    with raw.open("a", encoding="utf-8") as stream:
        for number, case in enumerate(todo, 1):
            records = once(case, commands)
            stream.writelines(json.dumps(asdict(r), ensure_ascii=False) + "\n" for r in records)
            stream.write(json.dumps({"done": case.name}) + "\n")
            stream.flush()
            print(f"\r{number}/{len(todo)} {case.name:60s}", end="", file=sys.stderr)
            yield from records
    print(file=sys.stderr)


def show(records: list[Record]) -> None:
    """Every statement of a few cases, under its headline."""
    before = ("", "")
    for r in records:
        if (r.case, r.words) != before:
            print(f"\n{r.case}: begat {r.command}\n  {r.words}")
            before = r.case, r.words
        print(f"    {r.status:12s} {r.statement}" + (f"   [{r.why}]" if r.why else ""))


def report(records: list[Record], title: str, again: str) -> str:
    """All tables; `again` shows a case."""
    names = {r.case for r in records}
    status = Counter(r.status for r in records)
    said = status["true"] + status["false"]
    return "\n\n".join(
        (
            f"# {title}",
            f"{len(names):,} cases: {said:,} claims were made, "
            f"{status['false']:,} of them false; {status['withheld']:,} were withheld, {status['unverifiable']:,} are not for the truth to "
            f"say; {status['refused']:,} errors in one line, {status['crash']:,} crashes; {status['unsaid']:,} times something true was "
            "not said.",
            by_command(records),
            by_claim(records),
            "## False",
            listed(records, ("false", "crash"), again),
            "## True and not said",
            listed(records, ("unsaid",), again),
            "## Refused",
            listed(records, ("refused",), again),
        )
    )


def footer(command: str) -> str:
    return (
        f"(python: {platform.python_version()}; numpy: {np.__version__}; begat: {begat.__version__} at {commit()}; machine: "
        f"{platform.machine()}, {os.cpu_count()} cores; date: {datetime.date.today()}; "
        f"command: python benchmarks/claims/{command} --out benchmarks/claims/results)"
    )


def commit() -> str:
    """The commit of the sources, "+" where they were changed since."""
    try:
        head = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.strip()
        changed = subprocess.run(
            ["git", "status", "--porcelain", "src"], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "no repository"
    return head + ("+" if changed else "")


if __name__ == "__main__":
    sys.exit(main())
