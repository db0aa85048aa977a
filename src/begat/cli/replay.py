"""`begat replay REPORT`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from begat.cli.exits import FOUND, NOTHING, epilog
from begat.cli.output import deliver
from begat.cli.progress import StderrProgress
from begat.errors import printable


@click.command(epilog=epilog("replay"))
@click.argument("report", type=click.Path(path_type=Path))
@click.option("--a", type=click.Path(path_type=Path), help="Where checkpoint A is now.")
@click.option("--b", type=click.Path(path_type=Path), help="Where checkpoint B is now.")
@click.option("--base", type=click.Path(path_type=Path), help="Where the adapter's base is now.")
@click.option("--json", "as_json", is_flag=True, help="Print the differences as JSON.")
def replay(report: Path, a: Path | None, b: Path | None, base: Path | None, as_json: bool) -> int:
    """Run the comparison of a JSON report again and check that its numbers come out the same."""
    from begat.replay import replay as run

    result = run(report, a, b, base, StderrProgress())
    code = NOTHING if result.same else FOUND
    if as_json:
        found = {"same": result.same, "differences": [list(d) for d in result.differences]}
        return deliver(code, lambda: click.echo(json.dumps(found, indent=2)))
    if result.same:
        lines = [f"The same: {result.verdict.verdict}, log10 e = {result.verdict.log10_e}."]
    else:
        lines = [f"{len(result.differences)} numbers differ:"]
        lines += [f"  {printable(name)}: was {printable(then)}, is {printable(now)}" for name, then, now in result.differences[:20]]
    return deliver(code, lambda: click.echo("\n".join(lines)))
