"""Growing a family: every member of a pedigree into a folder of its own, in parallel, deterministically, resumable after a kill.

Enters: a `Family` and an output folder.  Leaves: OUT/<member>/ (Hugging Face layout and `truth.json`) and OUT/family.json.
One member: `grow_member`.  Pedigrees: `pedigree.py`.  Truth: `truth.py`.  How each kind is made: `descent/`.

A member is made in OUT/.growing and appears under its name by rename, whole, after its `truth.json` was written as the last file.
What a kill left half-made is made again from scratch, with the same bytes, because nothing but the seeds, the parents' files and
the text decides them; a long training is a chain of members in the pedigree, so that a kill costs at most one of them. A finished
member is kept if its `made_of` is what it would be made of now, and refused otherwise; it is never overwritten.
"""

from __future__ import annotations

import os
import queue as queues
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any

import torch

from begat import InputError
from begat_lab.descent import Job
from begat_lab.pedigree import Family, Member
from begat_lab.text import Corpus, standard_library
from begat_lab.training import Tick
from begat_lab.truth import describe_member, made_of, read_truth, write_family, write_truth

GROWING = ".growing"  # where members are made
Texts = Callable[[], dict[str, Corpus]]


class Watcher:
    """Told how the work goes; this one does not listen."""

    def start(self, steps: int, members: int) -> None:
        """Before the first member: training steps and members in all."""

    def tick(self, steps: int) -> None:
        """Training steps were done."""

    def member(self, name: str, seconds: float, kept: bool) -> None:
        """A member is finished, or was already."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a worker needs for any member."""

    out: Path
    threads: int
    texts: Texts


def grow(
    family: Family, out: Path, jobs: int = 1, watcher: Watcher | None = None, texts: Texts = standard_library
) -> dict[str, Any]:
    """Grow all members of `family` into `out`, `jobs` at a time, and return what `family.json` says.

    Raises:
        InputError: a finished member in `out` was made of something else, or a kind cannot do what it is asked.

    """
    watcher = watcher or Watcher()
    shutil.rmtree(out / GROWING, ignore_errors=True)
    out.mkdir(parents=True, exist_ok=True)
    watcher.start(sum(_steps(member) for member in family.members), len(family.members))
    plan = _Plan(out, family.threads, texts)
    for name, seconds, kept in _here(plan, family, watcher) if jobs == 1 else _apart(plan, family, watcher, jobs):
        watcher.member(name, seconds, kept)
    shutil.rmtree(out / GROWING, ignore_errors=True)
    return write_family(family, out, texts())


def grow_member(member: Member, plan: _Plan, corpora: dict[str, Corpus], tick: Tick) -> bool:
    """Make one member whose parents are finished. False: it was already there."""
    folder = plan.out / member.name
    source = made_of(member, plan.out, corpora, plan.threads)
    if (truth := read_truth(folder)) is not None:
        if truth["made_of"] != source:
            changed = sorted(
                key for key in source.keys() | truth["made_of"].keys() if source.get(key) != truth["made_of"].get(key)
            )
            raise InputError("finished member was made of something else", file=folder, expected=", ".join(changed) + " as now",
                             found="another", fix="delete the folder, or grow into another one")  # fmt: skip
        tick(_steps(member))
        return False
    if folder.exists():
        raise InputError(
            "folder is in the way, and no member of a family", file=folder, fix="delete it, or grow into another folder"
        )
    began = time.monotonic()
    half = plan.out / GROWING / f"{member.name}-{os.getpid()}"
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir(parents=True)
    job = Job(
        folder=half,
        parents=tuple(plan.out / parent for parent in member.parents),
        options=member.options,
        shape=member.shape,
        dtype=getattr(torch, member.dtype),
        seeds=member.seeds,
        training=member.training,
        tokens_N=corpora[member.text].train if member.text else None,
        tick=tick,
    )
    try:
        child = member.descent.make(job)
    except InputError as err:
        raise InputError(f"member '{member.name}': {err.problem}", file=err.file, tensor=err.tensor, expected=err.expected,
                         found=err.found, fix=err.fix) from None  # fmt: skip
    write_truth(half, describe_member(member, half, plan.out, child, source, corpora, time.monotonic() - began))
    half.rename(folder)
    return True


# --- one process, or several ----------------------------------------------------------------------------------


def _here(plan: _Plan, family: Family, watcher: Watcher) -> Iterator[tuple[str, float, bool]]:
    """Member by member in this process."""
    before = torch.get_num_threads()
    torch.set_num_threads(plan.threads)
    try:
        corpora = _corpora(plan, family)
        for member in family.members:
            began = time.monotonic()
            made = grow_member(member, plan, corpora, watcher.tick)
            yield member.name, time.monotonic() - began, not made
    finally:
        torch.set_num_threads(before)


def _apart(plan: _Plan, family: Family, watcher: Watcher, jobs: int) -> Iterator[tuple[str, float, bool]]:
    """In worker processes, each member once its parents are finished; first those with the longest way to their last descendant."""
    context = get_context("spawn")
    ticks, stop = context.Queue(), context.Event()
    todo = {member.name: member for member in family.members}
    done: set[str] = set()
    ahead = _steps_ahead(family)
    running: dict[Future[tuple[float, bool]], str] = {}
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_start_worker, initargs=(plan, family, ticks, stop)) as pool:
        try:
            while todo or running:
                ready = [name for name, member in todo.items() if done.issuperset(member.parents)]
                for name in sorted(ready, key=ahead.__getitem__, reverse=True)[: jobs - len(running)]:
                    running[pool.submit(_work, todo.pop(name))] = name
                finished, _ = wait(running, timeout=0.2, return_when=FIRST_COMPLETED)
                _drain(ticks, watcher)
                for future in finished:
                    name = running.pop(future)
                    seconds, made = future.result()
                    done.add(name)
                    yield name, seconds, not made
        except BaseException:
            stop.set()  # nobody waits hours for the other members to learn that one cannot be made
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    _drain(ticks, watcher)


_worker: dict[str, Any] = {}  # what `_start_worker` leaves for `_work`, in a worker process only


def _start_worker(plan: _Plan, family: Family, ticks: Any, stop: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the main process, which stops the workers
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(plan.threads)
    _worker.update(plan=plan, corpora=_corpora(plan, family), ticks=ticks, stop=stop)


def _end_with_parent() -> None:
    """A worker whose parent was killed must not go on writing."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(member: Member) -> tuple[float, bool]:
    began, told = time.monotonic(), _Bundle(_worker["ticks"].put, _worker["stop"].is_set)
    made = grow_member(member, _worker["plan"], _worker["corpora"], told)
    told.flush()
    return time.monotonic() - began, made


class _Bundle:
    """A `Tick` that passes on 50 steps at a time, so that the queue costs nothing, and ends the member when all is to stop."""

    def __init__(self, put: Tick, stopped: Callable[[], bool]) -> None:
        self._put, self._stopped, self._steps = put, stopped, 0

    def __call__(self, steps: int) -> None:
        if self._stopped():
            raise KeyboardInterrupt
        self._steps += steps
        if self._steps >= 50:
            self.flush()

    def flush(self) -> None:
        self._put(self._steps)
        self._steps = 0


def _drain(ticks: Any, watcher: Watcher) -> None:
    try:
        while True:
            watcher.tick(ticks.get_nowait())
    except queues.Empty:
        return


def _corpora(plan: _Plan, family: Family) -> dict[str, Corpus]:
    corpora = plan.texts()
    for member in family.members:
        if member.text is not None and member.text not in corpora:
            raise InputError(f"member '{member.name}': no such text", expected=", ".join(corpora), found=member.text)
    return corpora


def _steps_ahead(family: Family) -> dict[str, int]:
    """Training steps from each member to its last descendant, along the longest line."""
    ahead = {member.name: 0 for member in family.members}
    for member in reversed(family.members):  # children come before their parents here
        ahead[member.name] += _steps(member)
        for parent in member.parents:
            ahead[parent] = max(ahead[parent], ahead[member.name])
    return ahead


def _steps(member: Member) -> int:
    return member.training.steps if member.training else 0
