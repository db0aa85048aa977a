"""`begat-lab bank FAMILY…`."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import click

from begat_lab.bank import bank_text, measure_bank


@click.command()
@click.argument("families", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write (default: the one begat ships, in this checkout).",
)
def bank(families: tuple[Path, ...], out: Path | None) -> None:
    """Measure the bank of twins that ships with begat, on grown families.

    One row for every two plain members that go back to one draw of initial weights: how much of their training they share.
    """
    found = measure_bank(families, _tell)
    out = out or Path(str(resources.files("begat.stats").joinpath("data", "twins.json")))
    out.write_text(bank_text(found), encoding="utf-8")
    click.echo(f"{out}: " + ", ".join(f"{len(rows)} {relation}" for relation, rows in found["pairs"].items()))


def _tell(done: int, of: int) -> None:
    if done % 50 == 0 or done == of:
        click.echo(f"{done}/{of} pairs", err=True)
