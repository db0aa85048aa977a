"""The command line: one file per command. Options, one library call, one presenter.

Results go to stdout, progress and notices to stderr. Exit codes: `exits.py`; how faults and Ctrl-C end: `guard.py`.
"""

from begat.cli.main import main

__all__ = ["main"]
