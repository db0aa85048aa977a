"""`begat inspect MODEL`."""

from __future__ import annotations

from pathlib import Path

import click

from begat.cli.exits import epilog
from begat.cli.output import OUTPUT, check_outputs, deliver, lazily
from begat.cli.progress import StderrProgress

_TEXT, _JSON, _HTML = (
    lazily(f"begat.report.inspect_{n}") for n in ("text:print_inspection", "json:dumps", "html:render_inspection_html")
)


@click.command(epilog=epilog("inspect"))
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--base", type=click.Path(path_type=Path), help="Base model, where MODEL is a PEFT adapter folder.")
@click.option("--full", is_flag=True, help="Read every value instead of a few rows of every matrix.")
@click.option("--nonce", default="", help="Your own word, mixed into the public seed that chooses the sampled rows.")
@click.option("--json", "as_json", is_flag=True, help="Print the inspection as JSON (schema: begat/report/schema).")
@click.option("--html", type=OUTPUT, help="Also write one self-contained HTML page here.")
def inspect(model: Path, base: Path | None, full: bool, nonce: str, as_json: bool, html: Path | None) -> int:
    """What does one model alone say about its making?

    Copied layers, experts with a common ancestor, numbers on a quantisation grid, low rank, untrained vocabulary rows,
    pruned weights.
    """
    from begat.pipeline.inspect import inspect as run

    check_outputs({"--html": html}, (model, base))
    found = run(model, base=base, full=full, nonce=nonce, progress=StderrProgress())
    return deliver(
        int(found.descent),
        lambda: click.echo(_JSON(found)) if as_json else _TEXT(found),
        (html, lambda: _HTML(found)),
    )
