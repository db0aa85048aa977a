"""`begat decompose CHILD --parents P1 P2 …`."""

from __future__ import annotations

from pathlib import Path

import click

from begat.cli.progress import StderrProgress
from begat.errors import InputError

EXITS = """\b
Exit codes:
  0  a recipe was found
  1  the given parents do not explain the child
  2  error: bad input or usage, one line on stderr"""


class _Greedy(click.Command):
    """`--parents` takes all words up to the next option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        out: list[str] = []
        inside = False
        for word in args:
            if word.startswith("-") and word != "-":
                inside = word == "--parents"
                if not inside:
                    out.append(word)
            elif inside:
                out += ["--parents", word]
            else:
                out.append(word)
        return super().parse_args(ctx, out)


@click.command(cls=_Greedy, epilog=EXITS)
@click.argument("child", type=click.Path(path_type=Path))
@click.option("--parents", type=click.Path(path_type=Path), multiple=True, required=True, metavar="P1 P2 …",
              help="Candidate parents, one to eight. For an adapter folder: candidate bases.")  # fmt: skip
@click.option("--base", type=click.Path(path_type=Path), help="The model the parents were tuned from: fit differences from it.")
@click.option("--full", is_flag=True, help="Read every value instead of 128 public rows of each matrix.")
@click.option("--nonce", default="", help="Your own word, mixed into the public seed that chooses the sampled rows.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON (schema: begat/report/schema).")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Also write one self-contained HTML report here.")
def decompose(
    child: Path, parents: tuple[Path, ...], base: Path | None, full: bool, nonce: str, as_json: bool, html: Path | None
) -> int:  # fmt: skip
    """How is CHILD composed of its parents: merge coefficients, stitched layers, a low-rank difference?

    CHILD is a folder or file as for `begat compare`, or a PEFT adapter folder: then which of the candidate bases it was trained on.
    """
    from begat.pipeline.decompose import decompose as run

    found = run(child, parents, base, full=full, nonce=nonce, progress=StderrProgress())
    if html is not None:
        from begat.report.decompose_html import render_html

        try:
            html.write_text(render_html(found), encoding="utf-8")
        except OSError as err:
            raise InputError(f"report cannot be written: {err.strerror}", file=html) from None
    if as_json:
        from begat.report.decompose_json import dumps

        click.echo(dumps(found))
    else:
        from begat.report.decompose_text import print_text

        print_text(found)
    return 1 if found.method == "unexplained" or (found.method == "adapter" and not any(m.fits for m in found.adapter)) else 0
