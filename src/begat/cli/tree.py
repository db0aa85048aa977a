"""`begat tree MODEL…`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from begat.cli.progress import StderrProgress
from begat.errors import InputError

_EPILOG = """\b
Exit codes:
  0  no two of the models are kin
  1  kin found
  2  error: bad input or usage, one line on stderr"""


def _file(flag: str, words: str) -> Callable[[Callable[..., int]], Callable[..., int]]:
    return click.option(flag, type=click.Path(dir_okay=False, path_type=Path), help=words)


@click.command(epilog=_EPILOG)
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
    from begat.report.tree_json import dumps

    if graphml is not None:
        from begat.report.tree_graphml import require

        require()
    found = family_tree(models, progress=StderrProgress())
    if svg is not None:
        from begat.report.tree_svg import render_svg

        _write(svg, render_svg(found))
    if newick is not None:
        from begat.report.tree_newick import render_newick

        _write(newick, render_newick(found))
    if graphml is not None:
        from begat.report.tree_graphml import render_graphml

        _write(graphml, render_graphml(found))
    if html is not None:
        from begat.report.tree_html import render_html

        _write(html, render_html(found))
    if as_json:
        click.echo(dumps(found))
    else:
        from begat.report.tree_text import print_text

        print_text(found)
    return int(bool(found.edges))


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8", newline="\n")
    except OSError as err:
        raise InputError(f"tree cannot be written: {err.strerror}", file=file) from None
