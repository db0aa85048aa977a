"""The command line: one file per command. Options, one library call, one presenter.

Results go to stdout, progress and notices to stderr. Exit codes: 0 no evidence of derivation, 1 dependence found, 2 error, 3 cannot test.
"""

from begat.cli.main import main

__all__ = ["main"]
