"""`begat compare A B`."""

from __future__ import annotations

from pathlib import Path

import click

from begat.cli.exits import epilog
from begat.cli.output import OUTPUT, check_outputs, deliver, lazily
from begat.cli.progress import StderrProgress

_TEXT, _JSON, _HTML = (lazily(f"begat.report.{n}") for n in ("text:print_text", "json:dumps", "html:render_html"))


@click.command(epilog=epilog("compare"))
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.option("--base", type=click.Path(path_type=Path), help="Base model of whichever of the two is a PEFT adapter folder.")
@click.option("--map", "map_", type=click.Choice(["auto", "sampled", "full", "none"]), default="auto", show_default=True,
              help="Inheritance map from a few rows of every tensor, from every value, or none; auto is full for small checkpoints.")  # fmt: skip
@click.option("--nonce", default="", help="Your own word, mixed into the public seed that chooses the sampled rows.")
@click.option("--published", is_flag=True, help="Show published statistics even if they must read all attention weights.")
@click.option("--align/--no-align", default=True, show_default=True,
              help="Look behind disguises and changes of shape where the tests at equal index find nothing.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the verdict as JSON (schema: begat/report/schema).")
@click.option("--html", type=OUTPUT, help="Also write one self-contained HTML report here.")
def compare(
    a: Path, b: Path, base: Path | None, map_: str, nonce: str, published: bool, align: bool, as_json: bool, html: Path | None
) -> int:  # fmt: skip
    """Was checkpoint B made from checkpoint A, or A from B?

    A and B are folders or files: safetensors, torch .bin/.pt/.pth, GGUF, ONNX, or a PEFT adapter folder with --base.
    """
    from begat.pipeline.compare import compare as run
    from begat.verdict import POLICY

    check_outputs({"--html": html}, (a, b, base))
    verdict = run(a, b, base=base, map=map_, nonce=nonce, published=published, align=align, progress=StderrProgress())
    return deliver(
        POLICY.exit_codes[verdict.verdict],
        lambda: click.echo(_JSON(verdict)) if as_json else _TEXT(verdict),
        (html, lambda: _HTML(verdict)),
    )
