"""`begat replay REPORT`."""

from __future__ import annotations

from pathlib import Path

import click

from begat.cli.progress import StderrProgress
from begat.errors import printable


@click.command()
@click.argument("report", type=click.Path(path_type=Path))
@click.option("--a", type=click.Path(path_type=Path), help="Where checkpoint A is now.")
@click.option("--b", type=click.Path(path_type=Path), help="Where checkpoint B is now.")
@click.option("--base", type=click.Path(path_type=Path), help="Where the adapter's base is now.")
@click.option("--json", "as_json", is_flag=True, help="Print the differences as JSON.")
def replay(report: Path, a: Path | None, b: Path | None, base: Path | None, as_json: bool) -> int:
    """Run the comparison of a JSON report again and check that its numbers come out the same.

    Exit code 0 when they do, 1 when something differs, 2 on error.
    """
    from begat.replay import replay as run

    result = run(report, a, b, base, StderrProgress())
    if as_json:
        import json

        click.echo(json.dumps({"same": result.same, "differences": [list(d) for d in result.differences]}, indent=2))
    elif result.same:
        click.echo(f"The same: {result.verdict.verdict}, log10 e = {result.verdict.log10_e}.")
    else:
        click.echo(f"{len(result.differences)} numbers differ:")
        for name, then, now in result.differences[:20]:
            click.echo(f"  {printable(name)}: was {printable(then)}, is {printable(now)}")
    return 0 if result.same else 1
