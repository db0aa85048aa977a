"""`begat demo`."""

from __future__ import annotations

import os
import sys
import webbrowser
from pathlib import Path

import click

from begat.cli.exits import FOUND, NOTHING, epilog
from begat.cli.output import OUTPUT, check_outputs, deliver, lazily
from begat.cli.progress import StderrProgress

_TEXT, _JSON, _HTML = (lazily(f"begat.report.{n}") for n in ("demo:print_demo", "json:dumps", "html:render_html"))


@click.command(epilog=epilog("demo"))
@click.option("--html", type=OUTPUT, default=Path("begat-demo.html"), show_default=True,
              help="Where to write the report of parent and fine-tune.")  # fmt: skip
@click.option(
    "--open/--no-open", "open_", default=None, help="Open the report in a browser (default: only from a terminal with a screen)."
)
@click.option("--json", "as_json", is_flag=True, help="Print the verdicts as a JSON array.")
def demo(html: Path, open_: bool | None, as_json: bool) -> int:
    """Compare a shipped family of tiny trained models: a parent, its fine-tune, a 4-bit copy, a twin and a stranger.

    Works offline.
    """
    from begat.demo import data_folder, run_demo

    check_outputs({"--html": html}, (data_folder(),))
    pairs = run_demo(StderrProgress())
    code = deliver(
        NOTHING if all(p.right for p in pairs) else FOUND,
        lambda: click.echo("[" + ",\n".join(_JSON(p.verdict) for p in pairs) + "]") if as_json else _TEXT(pairs),
        (html, lambda: _HTML(pairs[0].verdict)),
    )
    if not as_json:
        click.echo(f"\nReport of parent and fine-tune: {html.resolve()}")
    if open_ or (open_ is None and _has_screen()):
        webbrowser.open(html.resolve().as_uri())
    return code


def _has_screen() -> bool:
    screen = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or sys.platform in ("darwin", "win32")
    return sys.stdout.isatty() and bool(screen) and not os.environ.get("CI")
