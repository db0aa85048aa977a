"""How growing is shown on stderr: a bar over training steps on a terminal, a line a member elsewhere.

Enters: `begat_lab.grow.Watcher` calls.  Leaves: a bar or lines.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

import click

from begat_lab.grow import Watcher


class Lines(Watcher):
    """One line for each finished member."""

    def __init__(self) -> None:
        self._members, self._done = 0, 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        pass

    def start(self, steps: int, members: int) -> None:
        """Remember how many there will be."""
        self._members = members

    def member(self, name: str, seconds: float, kept: bool) -> None:
        """Say what became of it."""
        self._done += 1
        click.echo(f"{self._done}/{self._members} {name}: {'was there' if kept else f'{seconds:.1f} s'}", err=True)


class Bars(Lines):
    """A bar over the training steps of all members; the last finished member is named beside it."""

    def __init__(self) -> None:
        super().__init__()
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"), TimeRemainingColumn())
        self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task: Any = None

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.stop()

    def start(self, steps: int, members: int) -> None:
        """Open the bar."""
        super().start(steps, members)
        self._task = self._bar.add_task("growing", total=max(1, steps))

    def tick(self, steps: int) -> None:
        """Advance."""
        self._bar.advance(self._task, steps)

    def member(self, name: str, seconds: float, kept: bool) -> None:
        """Name it beside the bar."""
        self._done += 1
        self._bar.update(self._task, description=f"{self._done}/{self._members} {name}")
