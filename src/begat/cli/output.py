"""Present a verdict: text or JSON on stdout, HTML into a file; returns the exit code of the verdict."""

from __future__ import annotations

from pathlib import Path

import click

from begat.errors import InputError
from begat.types import Verdict
from begat.verdict import POLICY


def emit(verdict: Verdict, as_json: bool, html: Path | None) -> int:
    """Write the asked-for presentations; the exit code comes from the decision table."""
    if html is not None:
        write_html(verdict, html)
    if as_json:
        from begat.report.json import dumps

        click.echo(dumps(verdict))
    else:
        from begat.report.text import print_text

        print_text(verdict)
    return POLICY.exit_codes[verdict.verdict]


def write_html(verdict: Verdict, file: Path) -> None:
    """Write the HTML report; InputError when the place cannot be written."""
    from begat.report.html import render_html

    try:
        file.write_text(render_html(verdict), encoding="utf-8")
    except OSError as err:
        raise InputError(f"report cannot be written: {err.strerror}", file=file) from None
