"""The command `begat-lab`: one file per command. Options, one library call; results on stdout, progress on stderr; exit code 2 on error."""

from begat_lab.cli.main import main

__all__ = ["main"]
