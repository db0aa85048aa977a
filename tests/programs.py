"""Run `begat` or `begat-lab` in this process as its entry point does, and see how it ends."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from begat.cli.main import main


@dataclass(frozen=True)
class Done:
    """How a program ended."""

    returncode: int
    stdout: str
    stderr: str


def program(*words: str | Path, entry: Callable[[], Any] = main) -> Done:
    """`entry` with these words on the command line; it must end with SystemExit and nothing
    else."""
    out, err = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        patch.setattr(sys, "argv", ["begat", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            entry()
    return Done(int(stop.value.code or 0), out.getvalue(), err.getvalue())
