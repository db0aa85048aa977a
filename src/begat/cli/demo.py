"""`begat demo`."""

from __future__ import annotations

import os
import sys
import webbrowser
from pathlib import Path

import click

from begat.cli.output import write_html
from begat.cli.progress import StderrProgress


@click.command()
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), default=Path("begat-demo.html"), show_default=True,
              help="Where to write the report of parent and fine-tune.")  # fmt: skip
@click.option(
    "--open/--no-open", "open_", default=None, help="Open the report in a browser (default: only from a terminal with a screen)."
)
@click.option("--json", "as_json", is_flag=True, help="Print the verdicts as a JSON array.")
def demo(html: Path, open_: bool | None, as_json: bool) -> int:
    """Compare a shipped family of tiny trained models: a parent, its fine-tune, a 4-bit copy, a twin and a stranger.

    Works offline. Exit code 0 when every verdict is what the known truth demands, 1 otherwise.
    """
    from begat.demo import run_demo

    pairs = run_demo(StderrProgress())
    write_html(pairs[0].verdict, html)
    if as_json:
        from begat.report.json import dumps

        click.echo("[" + ",\n".join(dumps(p.verdict) for p in pairs) + "]")
    else:
        from begat.report.demo import print_demo

        print_demo(pairs)
        click.echo(f"\nReport of parent and fine-tune: {html.resolve()}")
    if open_ or (open_ is None and _has_screen()):
        webbrowser.open(html.resolve().as_uri())
    return 0 if all(p.right for p in pairs) else 1


def _has_screen() -> bool:
    screen = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or sys.platform in ("darwin", "win32")
    return sys.stdout.isatty() and bool(screen) and not os.environ.get("CI")
