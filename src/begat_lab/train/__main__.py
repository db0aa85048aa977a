"""`python -m begat_lab.train CONFIG`, on one rank or under torchrun. An error is one line on stderr and exit code 2."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from begat import InputError
from begat_lab.train.config import read_run
from begat_lab.train.loop import train_run


def main() -> int:
    """Read the run and train."""
    parser = argparse.ArgumentParser(
        prog="begat_lab.train", description="Train an openPangu decoder; the same command goes on where it stopped."
    )
    parser.add_argument("config", type=Path, help="a TOML file; begat_lab/train/config.py explains it")
    parser.add_argument("--stop-after", type=int, help="leave after this step as a kill would")
    args = parser.parse_args()
    try:
        train_run(read_run(args.config), lambda line: print(line, file=sys.stderr, flush=True), stop_after=args.stop_after)
    except InputError as err:
        print(f"begat_lab.train: error: {err.line()}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
