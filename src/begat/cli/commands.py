"""The `begat` command group. Commands load when called, so that `begat compare` pays for nothing
else.

Enters: words.  Leaves: the exit code that the command returns (`exits.py`).  To add a command: one
file, named here, one row in `exits.py`.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click
from click.shell_completion import shell_complete

from begat.cli.exits import epilog
from begat.cli.guard import TRACEBACK, wants_traceback

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


class Group(click.Group):
    """A group that suggests a command for a misspelt one, and alone prints its help."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(
            *args, **{"no_args_is_help": False, "invoke_without_command": True, **more}
        )

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does; an unknown command names those that it may have meant."""
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            near = difflib.get_close_matches(args[0].lower(), self.list_commands(ctx), 2, 0.6)
            meant = f" Did you mean {' or '.join(repr(n) for n in near)}?" if near else ""
            ctx.fail(f"No such command {args[0]!r}.{meant}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; without one, print the help and be done."""
        found = super().invoke(ctx)
        if ctx.invoked_subcommand is not None:
            return found
        click.echo(ctx.get_help())
        return 0


class Lazy(Group):
    """A group that imports a command's module only when it is asked for, and takes `--traceback`
    anywhere.

    Args:
        modules: command → module that holds it, under its own name with `_` for `-`.
    """

    def __init__(self, *args: Any, modules: dict[str, str] | None = None, **more: Any) -> None:
        super().__init__(*args, **more)
        self.modules = modules or {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.modules:
            return None
        command: click.Command = getattr(
            import_module(self.modules[cmd_name]), cmd_name.replace("-", "_")
        )
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """`--traceback` may stand behind the command too; `guard.py` looks for it by itself."""
        if wants_traceback(args):
            end = args.index("--") if "--" in args else len(args)
            args = [word for i, word in enumerate(args) if i >= end or word != TRACEBACK]
        return super().parse_args(ctx, args)

    def run(self, words: Sequence[str], program: str) -> Any:
        """Run words; returns what the command returned. Every exception passes, where `main` makes
        an `Abort` of some.
        """
        complete = f"_{program}_COMPLETE".replace("-", "_").upper()
        if instruction := os.environ.get(complete):
            return shell_complete(self, {}, program, complete, instruction)
        try:
            with self.make_context(program, list(words)) as ctx:
                return self.invoke(ctx)
        except click.exceptions.Exit as err:
            return err.exit_code


SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
traceback_option = click.option(
    TRACEBACK,
    is_flag=True,
    expose_value=False,
    help="Show where an error came from; may stand behind the command too.",
)


def _print_version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value:
        from begat import __version__

        click.echo(f"begat {__version__}")
        ctx.exit(0)


@click.group(cls=Lazy, modules=_COMMANDS, epilog=epilog(), context_settings=SETTINGS)
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_print_version,
    help="Show the version and exit.",
)
@traceback_option
def cli() -> None:
    """Decide from the weights whether one model was made from another."""
