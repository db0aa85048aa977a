"""A progress bar on stderr, shown for work that lasts.

Enters: `begat.types.Progress` calls.  Leaves: a bar on a terminal's stderr; nothing elsewhere. `rich` is only imported once a task has
run for half a second.
"""

from __future__ import annotations

import sys
import time
from typing import Any

_DELAY = 0.5
_shown: set[StderrProgress] = set()


def stop_all() -> None:
    """Remove every bar, so that the terminal is as it was when an error or Ctrl-C ends the work."""
    for progress in tuple(_shown):
        progress.done()


class StderrProgress:
    """Implements `begat.types.Progress`."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._task: Any = None
        self._name, self._total, self._at, self._start = "", 0, 0, 0.0

    def start(self, task: str, total: int) -> None:
        """Begin a task."""
        self.done()
        self._name, self._total, self._at, self._start = task, total, 0, time.monotonic()

    def step(self, n: int = 1) -> None:
        """Advance; the bar appears when the task has lasted `_DELAY` seconds."""
        self._at += n
        if self._bar is None and sys.stderr.isatty() and time.monotonic() - self._start > _DELAY:
            self._show()
        if self._bar is not None:
            self._bar.update(self._task, completed=self._at)

    def done(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            _shown.discard(self)
            bar, self._bar = self._bar, None
            bar.stop()

    def _show(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"), TimeRemainingColumn())
        self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
        _shown.add(self)
        self._bar.start()
        self._task = self._bar.add_task(self._name, total=self._total or None)
