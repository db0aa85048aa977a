"""`begat decompose CHILD --parents P1 P2 …`."""

from __future__ import annotations

from pathlib import Path

import click

from begat.cli.exits import CANNOT, FOUND, NOTHING, epilog
from begat.cli.output import OUTPUT, check_outputs, deliver, lazily
from begat.cli.progress import StderrProgress
from begat.recipes import Decomposition

_TEXT, _JSON, _HTML = (
    lazily(f"begat.report.decompose_{n}") for n in ("text:print_text", "json:dumps", "html:render_html")
)


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


@click.command(cls=_Greedy, epilog=epilog("decompose"))
@click.argument("child", type=click.Path(path_type=Path))
@click.option("--parents", type=click.Path(path_type=Path), multiple=True, required=True, metavar="P1 P2 …",
              help="Candidate parents, one to eight. For an adapter folder: candidate bases.")  # fmt: skip
@click.option("--base", type=click.Path(path_type=Path), help="The model the parents were tuned from: fit differences from it.")
@click.option("--full", is_flag=True, help="Read every value instead of 128 public rows of each matrix.")
@click.option("--nonce", default="", help="Your own word, mixed into the public seed that chooses the sampled rows.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON (schema: begat/report/schema).")
@click.option("--html", type=OUTPUT, help="Also write one self-contained HTML report here.")
def decompose(
    child: Path, parents: tuple[Path, ...], base: Path | None, full: bool, nonce: str, as_json: bool, html: Path | None
) -> int:  # fmt: skip
    """How is CHILD composed of its parents: merge coefficients, stitched layers, a low-rank difference?

    CHILD is a folder or file as for `begat compare`, or a PEFT adapter folder: then which of the candidate bases it was trained on.
    """
    from begat.pipeline.decompose import decompose as run

    check_outputs({"--html": html}, (child, *parents, base))
    found = run(child, parents, base, full=full, nonce=nonce, progress=StderrProgress())
    return deliver(
        code_of(found), lambda: click.echo(_JSON(found)) if as_json else _TEXT(found), (html, lambda: _HTML(found))
    )


def code_of(found: Decomposition) -> int:
    """The exit code of a result: found where the parents explain the child, or an adapter fits one of the bases."""
    if found.method == "cannot-test":
        return CANNOT
    fits = any(m.fits for m in found.adapter) if found.method == "adapter" else found.method != "unexplained"
    return FOUND if fits else NOTHING
