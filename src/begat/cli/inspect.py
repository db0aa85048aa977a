"""`begat inspect MODEL`."""

from __future__ import annotations

from pathlib import Path

import click

from begat.cli.progress import StderrProgress
from begat.errors import InputError

_EPILOG = """\b
Exit codes:
  0  nothing found that shows earlier weights (states such as pruning may be noted)
  1  found: copied layers, sibling experts, or numbers that were rounded before
  2  error: bad input or usage, one line on stderr"""


@click.command(epilog=_EPILOG)
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--base", type=click.Path(path_type=Path), help="Base model, where MODEL is a PEFT adapter folder.")
@click.option("--full", is_flag=True, help="Read every value instead of a few rows of every matrix.")
@click.option("--nonce", default="", help="Your own word, mixed into the public seed that chooses the sampled rows.")
@click.option("--json", "as_json", is_flag=True, help="Print the inspection as JSON (schema: begat/report/schema).")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Also write one self-contained HTML page here.")
def inspect(model: Path, base: Path | None, full: bool, nonce: str, as_json: bool, html: Path | None) -> int:
    """What does one model alone say about its making?

    Copied layers, experts with a common ancestor, numbers on a quantisation grid, low rank, untrained vocabulary rows,
    pruned weights.
    """
    from begat.pipeline.inspect import inspect as run

    inspection = run(model, base=base, full=full, nonce=nonce, progress=StderrProgress())
    if html is not None:
        from begat.report.inspect_html import render_inspection_html

        try:
            html.write_text(render_inspection_html(inspection), encoding="utf-8")
        except OSError as err:
            raise InputError(f"report cannot be written: {err.strerror}", file=html) from None
    if as_json:
        from begat.report.inspect_json import dumps

        click.echo(dumps(inspection))
    else:
        from begat.report.inspect_text import print_inspection

        print_inspection(inspection)
    return int(inspection.descent)
