"""The entry point of `begat`: as little as can be imported before a fault, or Ctrl-C, is caught.

Enters: argv.  Leaves: an exit code (`exits.py`), always by `guard.py`.  The commands:
`commands.py`.
"""

from __future__ import annotations

from begat.cli.guard import guarded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn


def main() -> NoReturn:
    """Run `begat` on `sys.argv`; ends with `SystemExit`."""
    guarded("begat", _load)


def _load() -> Any:
    from begat.cli.commands import cli

    return cli


def __getattr__(name: str) -> Any:
    if name == "cli":
        return _load()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
