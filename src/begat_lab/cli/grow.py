"""`begat-lab grow PEDIGREE`."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import click

from begat_lab.cli.exits import epilog
from begat_lab.cli.progress import Bars, Lines
from begat_lab.grow import grow as run
from begat_lab.pedigree import Family, read_pedigree


@click.command(epilog=epilog("grow"))
@click.argument("pedigree")
@click.option(
    "-o", "--out", type=click.Path(file_okay=False, path_type=Path), help="Folder to grow into (default: families/NAME)."
)
@click.option(
    "-j", "--jobs", type=click.IntRange(min=1), help="Members to make at a time (default: one a core). Changes no byte."
)
def grow(pedigree: str, out: Path | None, jobs: int | None) -> None:
    """Grow a family of models of known ancestry, one folder each, with truth.json beside the weights.

    PEDIGREE is a TOML file, or the name of a shipped one: quick, gpt2, bert, moe (minutes), full (hours).
    After an interruption the same command goes on where it stopped.
    """
    family = read_pedigree(pedigree)
    out = out or Path("families") / family.name
    began = time.monotonic()
    members = grow_family(family, out, jobs)
    click.echo(f"{members} members in {out}, {time.monotonic() - began:.0f} s")


def grow_family(family: Family, out: Path, jobs: int | None) -> int:
    """Grow `family` into `out`, shown on stderr; returns the number of members."""
    with Bars() if sys.stderr.isatty() else Lines() as watcher:
        return len(run(family, out, jobs or _cores(), watcher)["members"])


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
