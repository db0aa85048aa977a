"""`begat-lab bench FAMILY`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import click

from begat import InputError
from begat_lab.bench.bench import FILES
from begat_lab.bench.bench import bench as run
from begat_lab.bench.run import Watcher, method_names
from begat_lab.cli.exits import epilog
from begat_lab.cli.grow import grow_family
from begat_lab.pedigree import read_pedigree, shipped


@click.command(epilog=epilog("bench"))
@click.argument("family")
@click.option("-o", "--out", type=click.Path(file_okay=False, path_type=Path), help="Folder for the results (default: bench/NAME).")
@click.option("-m", "--methods", help="Only these, with commas between (default: all).")
@click.option("--again", help="Ask these methods again, with commas between: of a begat that has changed, say.")
@click.option("--quick", is_flag=True, help="At most 300 hard strangers a method and 8 pairs a kind.")
@click.option("--slow-pairs", type=click.IntRange(min=1), default=1000, show_default=True,
              help="Hard strangers that each slow method scores, always the same ones.")  # fmt: skip
@click.option("-j", "--jobs", type=click.IntRange(min=1), help="Pairs to score at a time (default: one a core). Changes no score.")
@click.option("--pedigree", help="Pedigree of a family that is still growing: its finished members are scored.")
@click.option("--ship", is_flag=True, help="Also write what begat ships of it: src/begat/stats/data/published.json of this checkout.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def bench(
    family: str, out: Path | None, methods: str | None, again: str | None, quick: bool, slow_pairs: int, jobs: int | None,
    pedigree: str | None, ship: bool, as_json: bool,
) -> None:  # fmt: skip
    """Measure begat and the published methods on every pair of a family of known ancestry.

    FAMILY is the folder of a grown family, or the name of a shipped pedigree, which is first grown into families/NAME: `begat-lab bench quick`
    takes about ten minutes on two cores. Writes a table, plots, a summary and all raw scores. After an interruption the same command goes on
    where it stopped.
    """
    folder = Path(family)
    if not folder.is_dir() and family in shipped():
        folder = Path("families") / family
        grow_family(read_pedigree(family), folder, jobs)
    elif not folder.is_dir():
        raise InputError("no such family", file=folder, fix=f"begat-lab grow PEDIGREE first, or name a shipped one: {', '.join(shipped())}")
    out = out or Path("bench") / folder.resolve().name
    with _Lines() if not sys.stderr.isatty() else _Bar() as watcher:
        found = run(folder, out, methods=_names(methods), again=_names(again) or [], quick=quick, slow_pairs=slow_pairs, jobs=jobs,
                    pedigree=pedigree, shipped=ship, watcher=watcher)  # fmt: skip
    click.echo(json.dumps(found.summary, indent=1) if as_json else f"{found.line}\n{out}: {', '.join(FILES)}")


def _names(text: str | None) -> list[str] | None:
    if text is None:
        return None
    names = [n.strip() for n in text.split(",")]
    for name in names:
        if name not in method_names():
            raise InputError("no such method", expected=", ".join(method_names()), found=name)
    return names


class _Lines(Watcher):
    """A line every hundred pairs."""

    def __init__(self) -> None:
        self._total = self._done = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        pass

    def start(self, total: int) -> None:
        self._total, self._done = total, 0

    def pair(self, a: str, b: str) -> None:
        self._done += 1
        if self._done % 100 == 0 or self._done == self._total:
            click.echo(f"{self._done}/{self._total} pairs", err=True)


class _Bar(_Lines):
    """A bar over pairs."""

    def __init__(self) -> None:
        super().__init__()
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("scoring"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task: Any = None

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.stop()

    def start(self, total: int) -> None:
        self._task = self._bar.add_task("scoring", total=max(1, total))

    def pair(self, a: str, b: str) -> None:
        self._bar.advance(self._task)
