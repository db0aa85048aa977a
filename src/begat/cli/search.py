"""`begat search MODEL --index DIR`."""

from __future__ import annotations

from pathlib import Path

import click

from begat.cli.exits import CANNOT, FOUND, NOTHING, epilog
from begat.cli.output import OUTPUT, check_outputs, deliver, lazily
from begat.cli.progress import StderrProgress

_TEXT, _JSON, _HTML = (lazily(f"begat.report.search_{n}") for n in ("text:print_search", "json:dumps", "html:render_html"))


@click.command(epilog=epilog("search"))
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
@click.option("--html", type=OUTPUT, help="Also write one self-contained HTML report here.")
def search(
    model: Path, index: str, base: Path | None, screened: int, exact: bool, tree: bool, as_json: bool, html: Path | None
) -> int:  # fmt: skip
    """Where does MODEL come from: which models of an index is it related to?

    MODEL is a folder or file as for `begat compare`, or a fingerprint made by `begat sketch`.
    """
    from begat.index.ask import answer

    check_outputs({"--html": html}, (model, index, base))
    found = answer(model, index, base=base, screened=screened, exact=exact, tree=tree, progress=StderrProgress())
    return deliver(
        FOUND if found.relatives else CANNOT if found.untestable else NOTHING,
        lambda: click.echo(_JSON(found)) if as_json else _TEXT(found, str(model)),
        (html, lambda: _HTML(found, str(model))),
    )
