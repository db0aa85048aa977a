"""Heavy work: one job at a time, the others wait, and all can be cancelled.

Enters: a function that reports to a `begat.types.Progress`.  Leaves: a `Job` that pages ask about. A cancelled job ends at
its next report of progress.
"""

from __future__ import annotations

import logging
import queue
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from begat.errors import BegatError, InputError

#: jobs that may wait, and jobs whose results are kept
WAITING, KEPT = 8, 48
_log = logging.getLogger("begat.web")


class Cancelled(Exception):
    """Somebody asked the job to end."""


class Job:
    """One piece of work; implements `begat.types.Progress` for it.

    Attributes:
        id: random, in the address of its page. kind: which pages show its result. title: what is done, in words (from a stranger's file).
        state: "queued", "running", "done", "failed" or "cancelled"; error: one line where it failed.
        task, at, total: how far it is; total 0: unknown.
        result: what the work returned; about: what its page needs besides.
    """

    def __init__(
        self, kind: str, title: str, work: Callable[[Job], Any], about: dict[str, Any], after: Callable[[], None] | None
    ) -> None:
        self.id, self.kind, self.title, self.about = secrets.token_hex(16), kind, title, about
        self.state, self.task, self.at, self.total, self.error = "queued", "", 0, 0, ""
        self.result: Any = None
        self.made, self.began, self.ended = time.time(), 0.0, 0.0
        self._work, self._after, self._stop = work, after, threading.Event()

    def start(self, task: str, total: int) -> None:
        """Begin a task."""
        self._check()
        self.task, self.total, self.at = task, total, 0

    def step(self, n: int = 1) -> None:
        """Advance."""
        self._check()
        self.at += n

    def done(self) -> None:
        """The task is over."""
        self._check()
        self.at = self.total

    def cancel(self) -> None:
        """Ask it to end."""
        self._stop.set()

    @property
    def over(self) -> bool:
        """Will nothing change any more?"""
        return self.state in ("done", "failed", "cancelled")

    def run(self) -> None:
        """Do the work."""
        self.began = time.time()
        try:
            self._check()
            self.state = "running"
            self.result = self._work(self)
            self.state = "done"
        except Cancelled:
            self.state = "cancelled"
        except (BegatError, MemoryError, OSError) as err:
            self.error = (
                err.line() if isinstance(err, InputError) else "not enough memory" if isinstance(err, MemoryError) else str(err)
            )
            self.state = "failed"
        except Exception as err:
            _log.exception("job failed")
            self.error, self.state = f"internal error ({type(err).__name__}); the server's log says more", "failed"
        finally:
            self.ended = time.time()
            self.tidy()

    def tidy(self) -> None:
        """Let go of what only the work needed."""
        after, self._after, self._work = self._after, None, _nothing
        if after is not None:
            after()

    def _check(self) -> None:
        if self._stop.is_set():
            raise Cancelled


def _nothing(_: Job) -> None:
    return None


class Jobs:
    """The queue and its one worker thread."""

    def __init__(self) -> None:
        self._waiting: queue.Queue[Job] = queue.Queue()
        self._known: OrderedDict[str, Job] = OrderedDict()
        self._lock = threading.Lock()
        self._worker: threading.Thread | None = None

    def submit(
        self, kind: str, title: str, work: Callable[[Job], Any], *, after: Callable[[], None] | None = None, **about: Any
    ) -> Job:  # fmt: skip
        """Queue work; `after` runs when it is over. InputError when too much is waiting."""
        job = Job(kind, title, work, about, after)
        with self._lock:
            if sum(j.state == "queued" for j in self._known.values()) >= WAITING:
                job.tidy()
                raise InputError("the server is busy", found=f"{WAITING} jobs waiting", fix="wait, or cancel one")
            for old in [id for id, j in self._known.items() if j.over][: max(0, len(self._known) + 1 - KEPT)]:
                del self._known[old]
            self._known[job.id] = job
            if self._worker is None:
                self._worker = threading.Thread(target=self._run, name="begat-jobs", daemon=True)
                self._worker.start()
        self._waiting.put(job)
        return job

    def get(self, id: str) -> Job | None:
        """A job by its id."""
        with self._lock:
            return self._known.get(id)

    def ahead(self, job: Job) -> int:
        """Jobs that come before this one."""
        with self._lock:
            known = list(self._known.values())
        return sum(not j.over for j in known[: known.index(job)]) if job in known else 0

    def latest(self, kind: str, **about: Any) -> Job | None:
        """The newest finished job of a kind about the same things."""
        with self._lock:
            known = list(self._known.values())
        same = (
            j
            for j in reversed(known)
            if j.kind == kind and j.state == "done" and all(j.about.get(k) == v for k, v in about.items())
        )
        return next(same, None)

    def stop(self) -> None:
        """Cancel everything."""
        with self._lock:
            for job in self._known.values():
                job.cancel()

    def _run(self) -> None:
        while True:
            self._waiting.get().run()
