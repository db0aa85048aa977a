"""The entry point of `begat-lab`. How it ends: `begat.cli.guard`; its commands: `commands.py`.

Enters: argv.  Leaves: an exit code: 0, 2 for an error, 130 after Ctrl-C.
"""

from __future__ import annotations

from typing import Any, NoReturn

from begat.cli.guard import guarded


def main() -> NoReturn:
    """Run `begat-lab` on `sys.argv`; ends with `SystemExit`."""
    guarded(
        "begat-lab",
        _load,
        interrupted="interrupted; the same command goes on where it stopped",
        missing="pip install begat[lab]",
    )


def _load() -> Any:
    from begat_lab.cli.commands import cli

    return cli


def __getattr__(name: str) -> Any:
    if name == "cli":
        return _load()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
