"""What the exit codes of `begat-lab` mean. The codes, and what 2 and 130 always mean:
`begat.cli.exits`.

The lab makes and measures; it judges nothing, so no command ends with 1 or 3.
"""

from __future__ import annotations

from begat.cli.exits import Exits, epilog_of

TABLE: dict[str, Exits] = {
    "bank": Exits("measured and written"),
    "bench": Exits("measured and written"),
    "bench-moe": Exits("measured"),
    "cases": Exits("listed or written"),
    "generate": Exits("done"),
    "grow": Exits("grown, or grown before"),
    "kinds": Exits("done"),
}


def epilog(command: str = "") -> str:
    """The end of a command's `--help`."""
    return epilog_of(TABLE[command] if command else Exits("done"))
