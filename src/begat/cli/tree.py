"""`begat tree MODEL…`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from begat.cli.exits import CANNOT, FOUND, NOTHING, epilog
from begat.cli.output import OUTPUT, check_outputs, deliver, lazily
from begat.cli.progress import StderrProgress

_TEXT, _JSON, _HTML, _SVG, _NEWICK, _GRAPHML, _NEEDS = (
    lazily(f"begat.report.tree_{n}")
    for n in ("text:print_text", "json:dumps", "html:render_html", "svg:render_svg", "newick:render_newick",
              "graphml:render_graphml", "graphml:require")
)  # fmt: skip


def _file(flag: str, words: str) -> Callable[[Callable[..., int]], Callable[..., int]]:
    return click.option(flag, type=OUTPUT, help=words)


@click.command(epilog=epilog("tree"))
@click.argument("models", nargs=-1, required=True, metavar="MODEL|INDEX…")
@_file("--svg", "Also write the picture as SVG here.")
@_file("--newick", "Also write Newick here: one line a family, #H1 for models of several parents.")
@_file("--graphml", "Also write GraphML here (extra: tree).")
@_file("--html", "Also write one self-contained HTML page here, to move and zoom in.")
@click.option("--json", "as_json", is_flag=True, help="Print the tree as JSON (schema: begat/report/schema).")
def tree(models: tuple[str, ...], svg: Path | None, newick: Path | None, graphml: Path | None, html: Path | None, as_json: bool) -> int:
    """How are several models related to each other?

    MODELs are weight files or folders, fingerprint files (begat sketch), or indexes, which stand for all models in them. Arrows
    are drawn where one-way evidence exists; everything else stays undirected, and what cannot be told stays unresolved.
    """
    from begat.index.family import family_tree

    if graphml is not None:
        _NEEDS()
    check_outputs({"--svg": svg, "--newick": newick, "--graphml": graphml, "--html": html}, models)
    found = family_tree(models, progress=StderrProgress())
    return deliver(
        FOUND if found.edges else NOTHING if found.tested else CANNOT,
        lambda: click.echo(_JSON(found)) if as_json else _TEXT(found),
        (svg, lambda: _SVG(found)),
        (newick, lambda: _NEWICK(found)),
        (graphml, lambda: _GRAPHML(found)),
        (html, lambda: _HTML(found)),
    )
