"""`begat search MODEL --index DIR`."""

from __future__ import annotations

from pathlib import Path

import click

from begat.cli.progress import StderrProgress
from begat.errors import InputError

EXITS = """\b
Exit codes:
  0  no relative found by exact evidence (leads may be named)
  1  relatives found
  2  error: bad input or usage, one line on stderr"""


@click.command(epilog=EXITS)
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--index", required=True, metavar="DIR", help="The index to search: a folder, or an address such as s3://bucket/index."
)
@click.option("--base", type=click.Path(path_type=Path), help="Base model, where MODEL is a PEFT adapter folder.")
@click.option(
    "--screened", type=click.IntRange(1, 100_000), default=128, show_default=True, help="Models to test exactly at most."
)
@click.option("--exact", is_flag=True, help="Screen by looking at every model of the index instead of an approximate index.")
@click.option("--tree/--no-tree", default=True, show_default=True, help="Lay the nearest relatives out as a family tree.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON (schema: begat/report/schema).")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Also write one self-contained HTML report here.")
def search(
    model: Path, index: str, base: Path | None, screened: int, exact: bool, tree: bool, as_json: bool, html: Path | None
) -> int:  # fmt: skip
    """Where does MODEL come from: which models of an index is it related to?

    MODEL is a folder or file as for `begat compare`, or a fingerprint made by `begat sketch`.
    """
    from begat.index.ask import ask

    found = ask(model, index, base=base, screened=screened, exact=exact, tree=tree, progress=StderrProgress())
    if html is not None:
        from begat.report.search_html import render_html

        try:
            html.write_text(render_html(found, str(model)), encoding="utf-8")
        except OSError as err:
            raise InputError(f"report cannot be written: {err.strerror}", file=html) from None
    if as_json:
        from begat.report.search_json import dumps

        click.echo(dumps(found))
    else:
        from begat.report.search_text import print_search

        print_search(found, str(model))
    return 1 if found.relatives else 0
