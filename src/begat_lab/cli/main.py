"""The `begat-lab` command group: commands by name, loaded when called, and one line on stderr for an error.

Enters: argv.  Leaves: an exit code: 0, or 2 for an error.  To add a command: one file, named here.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import NoReturn

import click

from begat import InputError

_COMMANDS = {
    "grow": "begat_lab.cli.grow",
    "kinds": "begat_lab.cli.kinds",
    "bench": "begat_lab.cli.bench",
    "bank": "begat_lab.cli.bank",
    "generate": "begat_lab.cli.generate",
    "bench-moe": "begat_lab.cli.bench_moe",
    "cases": "begat_lab.cli.cases",
}


class _Lazy(click.Group):
    """Imports a command's module, and torch with it, only when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = getattr(import_module(_COMMANDS[cmd_name]), cmd_name.replace("-", "_"))
        return command


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def cli() -> None:
    """Grow model families of known ancestry, to measure begat by."""


def main() -> NoReturn:
    """Entry point: run a command; an error is one line on stderr and exit code 2."""
    try:
        code = cli.main(standalone_mode=False)
    except InputError as err:
        _fail(err.line())
    except ModuleNotFoundError as err:
        _fail(f"the lab needs {err.name}; fix: pip install begat[lab]")
    except click.UsageError as err:
        _fail(f"{err.format_message()}; fix: {err.ctx.command_path if err.ctx else 'begat-lab'} --help")
    except click.ClickException as err:
        _fail(err.format_message())
    except (click.Abort, KeyboardInterrupt):
        _fail("interrupted; the same command goes on where it stopped")
    except OSError as err:
        _fail(f"{err.filename or 'output'}: {err.strerror or err}")
    sys.exit(code if isinstance(code, int) else 0)


def _fail(line: str) -> NoReturn:
    click.echo(f"begat-lab: error: {line}", err=True)
    sys.exit(2)
