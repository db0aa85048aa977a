"""The `begat-lab` command group: commands by name, loaded, and torch with them, when called.

To add a command: one file, named here, one row in `exits.py`.
"""

from __future__ import annotations

import click

from begat.cli.commands import SETTINGS, Lazy, traceback_option
from begat_lab.cli.exits import epilog

_COMMANDS = {
    "grow": "begat_lab.cli.grow",
    "kinds": "begat_lab.cli.kinds",
    "bench": "begat_lab.cli.bench",
    "bank": "begat_lab.cli.bank",
    "generate": "begat_lab.cli.generate",
    "bench-moe": "begat_lab.cli.bench_moe",
    "cases": "begat_lab.cli.cases",
}


@click.group(cls=Lazy, modules=_COMMANDS, epilog=epilog(), context_settings=SETTINGS)
@traceback_option
def cli() -> None:
    """Grow model families of known ancestry, to measure begat by."""
