"""`begat-lab cases`."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import click

from begat import InputError
from begat_lab.cases.truth import PairTruth
from begat_lab.cli.exits import epilog


@click.command(epilog=epilog("cases"))
@click.argument("pattern", default="")
@click.option(
    "-o",
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write the models of every case here, one new folder a case.",
)
def cases(pattern: str, out: Path | None) -> int:
    """List the small cases of known truth whose names hold PATTERN, or write them out to look at.

    Every case gets a folder with its models and truth.json: which parts depend on which, how, which
    way. What begat says of a case, held against that: python benchmarks/claims/run.py --case NAME.
    Needs no torch.
    """
    from begat_lab.cases import cases as find

    found = find(pattern)
    if not found:
        raise InputError("no case has this in its name", found=pattern, fix="begat-lab cases lists all")
    for case in found:
        if out is None:
            click.echo(f"{case.name:52s} {case.about}")
            continue
        folder = out / case.name.replace("/", "-")
        if folder.exists():
            raise InputError("exists already", file=folder, fix="name another folder")
        truth = case.make(folder)
        pairs = {f"{a} | {b}": _plain(t) for (a, b), t in truth.pairs.items()}
        (folder / "truth.json").write_text(
            json.dumps({"case": case.name, "about": case.about, "pairs": pairs}, indent=1) + "\n", encoding="utf-8"
        )
        click.echo(folder)
    return 0


def _plain(truth: PairTruth) -> dict[str, object]:
    """A pair's truth for JSON: sets as sorted lists, places in words."""
    out: dict[str, object] = {f.name: getattr(truth, f.name) for f in fields(truth)}
    for name, value in out.items():
        if isinstance(value, frozenset):
            out[name] = sorted(" → ".join(map(str, x)) if isinstance(x, tuple) else str(x) for x in value)
    return out
