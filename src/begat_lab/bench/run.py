"""Score every pair by every method, in worker processes, into an append-only file that a kill costs one pair at most.

Enters: a family's folder, pairs, names of methods.  Leaves: `raw.jsonl`: a head that says of which family, then one line a pair with the scores that
were computed, or the reason why there is none.  Truth is not in it: labels are read off the pedigree when figures are made (`measure.py`).
Besides the methods of `begat_lab.methods` there is "begat": the whole of `begat compare` as a user runs it, with its verdict.
Seconds and bytes are measured apart, on fresh models, because scoring many pairs keeps weights in memory: `costs`.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import signal
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any

import numpy as np

import begat
from begat import InputError
from begat.canon.resolve import resolve
from begat.types import F64, I64, TensorKey
from begat_lab.bench.pairs import Pair
from begat_lab.methods import METHODS, Model
from begat_lab.text import standard_library

RAW, BEGAT = "raw.jsonl", "begat"
_KEPT = 40  # models whose weights and activations a worker keeps
#: sentences and tokens of the probe that forward methods run
PROBE = (64, 16)
Entry = dict[str, Any]
Scores = dict[tuple[str, str], dict[str, Entry]]


class Watcher:
    """Told how the work goes; this one does not listen."""

    def start(self, total: int) -> None:
        """Before the first pair: how many have something to score."""

    def pair(self, a: str, b: str) -> None:
        """A pair was scored and written."""


@dataclass(frozen=True, slots=True)
class Task:
    """A pair and the methods it still lacks."""

    a: str
    b: str
    methods: tuple[str, ...]


def method_names() -> list[str]:
    """Everything that can be asked of a pair, begat's verdict first."""
    return [BEGAT, *METHODS]


class Results:
    """The file of raw scores: read on opening, appended to."""

    def __init__(self, file: Path, head: dict[str, str]) -> None:
        """Raises InputError when the file belongs to another family."""
        self.file, self.scores = file, {}  # type: Path, Scores
        self.costs: dict[str, list[Entry]] = {}
        whole = b""
        if file.is_file():
            whole = file.read_bytes()
            whole = whole[: whole.rfind(b"\n") + 1]  # a kill may have cut the last line
        lines = [json.loads(line) for line in whole.splitlines()]
        if lines and lines[0] != {"bench": 1, **head}:
            raise InputError("raw results of another family or version", file=file, expected=head, found=lines[0],
                             fix="name another output folder, or delete the file")  # fmt: skip
        for line in lines[1:]:
            self._take(line)
        if not lines:
            whole = (json.dumps({"bench": 1, **head}) + "\n").encode()
        if not file.is_file() or whole != file.read_bytes():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(whole)

    def _take(self, line: Entry) -> None:
        if "cost" in line:
            self.costs.setdefault(line["cost"], []).append(line)
        else:
            self.scores.setdefault((line["a"], line["b"]), {}).update(line["scores"])

    def add(self, line: Entry) -> None:
        """Write one line, whole, to the disk."""
        self._take(line)
        with self.file.open("a", encoding="utf-8", newline="\n") as stream:
            stream.write(json.dumps(line) + "\n")

    def forget(self, names: Iterable[str]) -> None:
        """Drop what these methods said, so that they are asked again."""
        drop = set(names)
        head = self.file.read_text(encoding="utf-8").split("\n", 1)[0] + "\n"
        rows = [{"a": a, "b": b, "scores": {m: e for m, e in found.items() if m not in drop}} for (a, b), found in self.scores.items()]
        kept = [row for row in rows if row["scores"]]
        costs = [line for name, lines in self.costs.items() if name not in drop for line in lines]
        part = self.file.with_name(self.file.name + ".part")
        part.write_text(head + "".join(json.dumps(line) + "\n" for line in [*kept, *costs]), encoding="utf-8", newline="\n")
        part.replace(self.file)
        self.scores, self.costs = {}, {}
        for line in [*kept, *costs]:
            self._take(line)


def plan(pairs: list[Pair], names: list[str], results: Results, sampled: dict[str, int]) -> list[Task]:
    """What is still to be scored. `sampled`: methods that score only so many of the hard strangers, those whose names have the least digest."""
    hard = sorted(((p.a, p.b) for p in pairs if p.group == "hard"), key=lambda ab: hashlib.sha256("/".join(ab).encode()).digest())
    chosen = {m: set(hard[:n]) for m, n in sampled.items()}
    tasks = []
    for p in pairs:
        there = results.scores.get((p.a, p.b), {})
        lacks = [m for m in names if m not in there and (p.group != "hard" or m not in chosen or (p.a, p.b) in chosen[m])]
        if lacks:
            tasks.append(Task(p.a, p.b, tuple(lacks)))
    return tasks


def score(folder: Path, tasks: list[Task], results: Results, jobs: int = 1, watcher: Watcher | None = None) -> None:
    """Work through the tasks, `jobs` at a time; every finished pair is written at once."""
    watcher = watcher or Watcher()
    watcher.start(len(tasks))
    with _workers(folder, min(jobs, len(tasks))) as many:
        for task, found in many(_score_task, tasks):
            results.add({"a": task.a, "b": task.b, "scores": found})
            watcher.pair(task.a, task.b)


def costs(folder: Path, pairs: list[Pair], names: list[str], results: Results, most: int, seed: int = 0) -> None:
    """Seconds and bytes of each method on up to `most` hard strangers, every model opened anew, in one process."""
    hard = [p for p in pairs if p.group == "hard"]
    chosen = [hard[i] for i in np.random.default_rng(seed).permutation(len(hard))[:most]]
    tasks = [(name, p.a, p.b) for name in names if name not in results.costs for p in chosen]
    with _workers(folder, min(1, len(tasks))) as many:
        for _, line in many(_cost_task, tasks):
            results.add(line)


# --- in a worker ----------------------------------------------------------------------------------------------

_worker: dict[str, Any] = {}  # what `_start` leaves for the tasks, in a worker process only


class _Kept(Model):
    """A model that keeps the weights it has read: a worker meets it in many pairs."""

    _reads: dict[TensorKey, F64]

    def read(self, key: TensorKey) -> F64:
        reads = self.__dict__.setdefault("_reads", {})
        if key not in reads:
            reads[key] = super().read(key)
        return reads[key]  # type: ignore[no-any-return]


def _start(folder: Path, probe_NT: I64) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        import torch

        torch.set_num_threads(1)
    except ImportError:
        pass  # forward methods say so themselves
    _worker.update(folder=folder, probe=probe_NT, models=OrderedDict())


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _model(name: str) -> Model:
    models: OrderedDict[str, Model] = _worker["models"]
    if name not in models:
        models[name] = _open(name, _Kept)
        if len(models) > _KEPT:
            models.popitem(last=False)[1].close()
    models.move_to_end(name)
    return models[name]


def _open(name: str, kind: type[Model] = Model) -> Model:
    return kind(resolve(begat.open_checkpoint(_worker["folder"] / name)), _worker["probe"])


def _score_task(task: Task) -> tuple[Task, dict[str, Entry]]:
    return task, {name: _guarded(name, task.a, task.b) for name in task.methods}


def _guarded(name: str, a: str, b: str) -> Entry:
    """What a method says; an exception becomes a reason, for one broken method must not cost the others their hours."""
    try:
        return _verdict(a, b) if name == BEGAT else _method(name, a, b)
    except InputError as error:
        return {"reason": str(error).replace(str(_worker["folder"]) + os.sep, "")}
    except Exception as error:
        return {"reason": f"{type(error).__name__}: {error}"}


def _method(name: str, a: str, b: str) -> Entry:
    digest = hashlib.sha256(f"{name}/{a}/{b}".encode()).digest()
    found = METHODS[name].score(_model(a), _model(b), np.random.default_rng(int.from_bytes(digest[:8], "big")))
    return {"reason": found.reason} if found.value is None else {"value": _short(found.value)}


def _verdict(a: str, b: str) -> Entry:
    found = begat.compare(_worker["folder"] / a, _worker["folder"] / b)
    trained = found.trained
    entry = {
        "verdict": found.verdict,
        "log10_p": _short(found.log10_p),
        "hits": sum(x.hits for x in found.axes),
        "sampled": sum(x.sampled for x in found.axes),
        "expected": _short(sum(x.expected for x in found.axes)),
        "share": _short(trained.share) if trained else None,
        "gains": _short(trained.gains) if trained else None,
        "state": trained.state if trained else None,
        "direction": found.direction,
    }
    if found.log10_e is None:
        return {"reason": "no exact test ran", **entry}
    value, views = found.log10_e, found.alignment.views if found.alignment else None
    if views is not None and not views.not_run:
        entry["views"] = _short(views.share)
        value = max(value, -math.log10(views.p)) if views.shown else value  # calibrated: as much as that many pairs can say
    return {"value": _short(value), **entry}


def _cost_task(task: tuple[str, str, str]) -> tuple[None, Entry]:
    name, a, b = task
    began = time.perf_counter()
    if name == BEGAT or name == "begat-exact":
        verdict = begat.compare(_worker["folder"] / a, _worker["folder"] / b, map="auto" if name == BEGAT else "none")
        nbytes = verdict.bytes_read
    else:
        x, y = _open(a), _open(b)
        METHODS[name].score(x, y)
        nbytes = sum(m.canonical.checkpoint.reader.bytes_read for m in (x, y))
        if METHODS[name].needs == "forward":
            nbytes += sum(m.canonical.checkpoint.nbytes for m in (x, y))
        x.close()
        y.close()
    return None, {"cost": name, "a": a, "b": b, "seconds": round(time.perf_counter() - began, 4), "bytes": nbytes}


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.7g}")


# --- processes ------------------------------------------------------------------------------------------------

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@contextmanager
def _workers(folder: Path, jobs: int) -> Iterator[Callable[[Callable[[Any], Any], list[Any]], Iterable[Any]]]:
    """A map over tasks in `jobs` processes of one thread each; results come as they are done."""
    if jobs < 1:
        yield lambda _work, _tasks: ()
        return
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))  # read by numpy when a worker imports it
    pool = ProcessPoolExecutor(jobs, get_context("spawn"), _start, (folder, probe()))
    try:
        yield partial(_unordered, pool, 3 * jobs)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _unordered(pool: ProcessPoolExecutor, ahead: int, work: Callable[[Any], Any], tasks: list[Any]) -> Iterator[Any]:
    waiting = iter(tasks)
    running = {pool.submit(work, task) for task in islice(waiting, ahead)}
    while running:
        done, running = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            yield future.result()
            running |= {pool.submit(work, task) for task in islice(waiting, 1)}


def probe() -> I64:
    """Token ids of the probe sentences: windows of held-out text, evenly spaced, [N, T]."""
    tokens = standard_library()["library"].validation.numpy().astype(np.int64)
    n, t = PROBE
    starts = np.linspace(0, len(tokens) - t, n).astype(np.int64)
    return np.stack([tokens[s : s + t] for s in starts])
