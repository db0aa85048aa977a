"""`python -m begat_lab.train CONFIG`, on one rank or under torchrun. How it ends: `begat.cli.guard`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from begat.cli.guard import TRACEBACK, guarded


class _Train:
    """What `guarded` runs."""

    def run(self, words: Sequence[str], program: str) -> int:
        """Read the run and train."""
        from begat_lab.train.config import read_run
        from begat_lab.train.loop import train_run

        parser = argparse.ArgumentParser(
            prog=program, description="Train an openPangu decoder; the same command goes on where it stopped."
        )
        parser.add_argument("config", type=Path, help="a TOML file; begat_lab/train/config.py explains it")
        parser.add_argument("--stop-after", type=int, help="leave after this step as a kill would")
        parser.add_argument(TRACEBACK, action="store_true", help="show where an error came from")
        try:
            args = parser.parse_args(words)
        except SystemExit as err:  # help was printed, or what is wrong with the words
            return int(err.code or 0)
        train_run(read_run(args.config), lambda line: print(line, file=sys.stderr, flush=True), stop_after=args.stop_after)
        return 0


def _load() -> Any:
    return _Train()


if __name__ == "__main__":
    guarded("begat_lab.train", _load, interrupted="interrupted; the same command goes on where it stopped")
