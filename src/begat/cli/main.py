"""The `begat` command group and what all commands share: error lines, exit codes, progress.

Enters: argv.  Leaves: an exit code.  Commands load when called, so that `begat compare` pays for nothing else.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import NoReturn

import click

from begat.errors import InputError

_COMMANDS = {
    "audit": "begat.cli.audit",
    "compare": "begat.cli.compare",
    "decompose": "begat.cli.decompose",
    "demo": "begat.cli.demo",
    "index": "begat.cli.index",
    "inspect": "begat.cli.inspect",
    "replay": "begat.cli.replay",
    "search": "begat.cli.search",
    "serve": "begat.cli.serve",
    "sketch": "begat.cli.sketch",
    "tree": "begat.cli.tree",
}

EXIT_CODES = """\b
Exit codes:
  0  no evidence of derivation
  1  dependence found (identical, re-encoded, derived, partly derived, …)
  2  error: bad input or usage, one line on stderr
  3  cannot test"""


class _Lazy(click.Group):
    """Imports a command's module only when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = getattr(import_module(_COMMANDS[cmd_name]), cmd_name)
        return command


def _print_version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value:
        from begat import __version__

        click.echo(f"begat {__version__}")
        ctx.exit(0)


@click.group(cls=_Lazy, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_print_version, help="Show the version and exit."
)
def cli() -> None:
    """Decide from the weights whether one model was made from another."""


def main() -> NoReturn:
    """Entry point: run a command, turn an InputError into one line on stderr and exit code 2."""
    try:
        code = cli.main(standalone_mode=False)
    except InputError as err:
        _fail(err.line())
    except click.UsageError as err:
        _fail(
            f"{err.format_message()}; fix: begat --help"
            if err.ctx is None
            else f"{err.format_message()}; fix: {err.ctx.command_path} --help"
        )
    except click.ClickException as err:
        _fail(err.format_message())
    except (click.Abort, KeyboardInterrupt):
        _fail("interrupted")
    except MemoryError:
        _fail("not enough memory for this checkpoint")
    except OSError as err:
        _fail(f"{err.filename or 'input'}: {err.strerror or err}")
    sys.exit(code if isinstance(code, int) else 0)


def _fail(line: str) -> NoReturn:
    click.echo(f"begat: error: {line}", err=True)
    sys.exit(2)
