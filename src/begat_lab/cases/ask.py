"""Asks begat about a case, in one process, through the library.

Enters: a case's folder and truth.  Leaves: for every command the statements that were made, each
judged; an error or a crash is a record of its own.  Who runs many: `begat_lab.cases.bench`; who
judges: `checks/`.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from begat import InputError
from begat_lab.cases import statements
from begat_lab.cases.checks import check, unsaid
from begat_lab.cases.registry import Case
from begat_lab.cases.statements import Statement
from begat_lab.cases.truth import Truth

#: what a record's status may be. "refused": an error in one line; "crash": an exception that nobody
#: foresaw; "unsaid": true, and
#: should have been said
STATUSES = ("true", "false", "withheld", "unverifiable", "refused", "crash", "unsaid")


@dataclass(frozen=True, slots=True)
class Record:
    """A statement and whether it is true; `words`: the headline it stands under; seconds: of the
    command.
    """

    case: str
    command: str
    statement: str
    about: str
    status: str
    why: str
    words: str
    seconds: float


def ask(case: Case, folder: Path, truth: Truth, commands: tuple[str, ...] | None = None) -> list[Record]:
    """All records of a case whose models lie in `folder`."""
    out: list[Record] = []
    for command in case.commands if commands is None else [c for c in case.commands if c in commands]:
        for question in _QUESTIONS[command](folder, truth, case.name):
            out += answered(case.name, command, truth, question.models, question.run, question.read)
    return out


@dataclass(frozen=True, slots=True)
class _Question:
    """models: names it is about; run: asks; read: result → (statements, headline)."""

    models: tuple[str, ...]
    run: Callable[[], Any]
    read: Callable[[Any], tuple[list[Statement], str]]


def answered(
    name: str,
    command: str,
    truth: Truth,
    models: tuple[str, ...],
    run: Callable[[], Any],
    read: Callable[[Any], tuple[list[Statement], str]],
) -> list[Record]:
    """Records of one question: `run` asks, `read` makes (statements, headline) of the result."""
    start = time.perf_counter()
    try:
        result = run()
    except InputError as err:
        line = err.line().replace(str(err.file or ""), "…")
        return [Record(name, command, " ".join(models), "outcome", "refused", line, line, time.perf_counter() - start)]
    except Exception as err:  # a crash is a finding of this program
        line = f"{type(err).__name__}: {err}"[:300]
        return [Record(name, command, " ".join(models), "outcome", "crash", line, line, time.perf_counter() - start)]
    seconds = time.perf_counter() - start
    said, headline = read(result)
    judged = [(s, *check(s, truth)) for s in said]
    out = [Record(name, command, s.words, s.about, status, why, headline, seconds) for s, status, why in judged]
    missing = unsaid(command, result, truth, models)
    return out + [Record(name, command, about, "expected", "unsaid", why, headline, seconds) for about, why in missing]


def _compare(folder: Path, truth: Truth, name: str) -> Iterator[_Question]:
    """The first two; of every third case the other way about too."""
    import begat

    both = [("a", "b"), ("b", "a")] if zlib.crc32(name.encode()) % 3 == 0 else [("a", "b")]
    for x, y in both:
        yield _Question(
            (x, y),
            partial(begat.compare, folder / x, folder / y),
            lambda v, x=x, y=y: (statements.of_comparison(v, x, y), v.sentence),  # type: ignore[misc]
        )


def _inspect(folder: Path, truth: Truth, name: str) -> Iterator[_Question]:
    import begat

    yield _Question(("b",), lambda: begat.inspect(folder / "b"), lambda r: (statements.of_inspection(r, "b"), r.sentence))


def _decompose(folder: Path, truth: Truth, name: str) -> Iterator[_Question]:
    import begat

    recipe = truth.recipes.get("b")
    parents, base = (recipe.parents, recipe.base) if recipe else (("a",), None)
    yield _Question(
        ("b", *parents),
        lambda: begat.decompose(folder / "b", [folder / p for p in parents], base=folder / base if base else None),
        lambda d: (statements.of_decomposition(d, "b", parents), d.sentence),
    )


def _tree(folder: Path, truth: Truth, name: str) -> Iterator[_Question]:
    from begat.index.family import family_tree

    names = tuple(truth.models)
    yield _Question(
        names, lambda: family_tree([folder / n for n in names]), lambda t: (statements.of_tree(t), f"{len(t.edges)} edges")
    )


def _search(folder: Path, truth: Truth, name: str) -> Iterator[_Question]:
    from begat.index.ask import ask as search
    from begat.index.manage import add

    names = tuple(truth.models)
    index = folder / "index"

    def run() -> Any:
        add(str(index), [folder / n for n in names[1:]])
        return search(folder / names[0], str(index))

    yield _Question(names, run, lambda r: (statements.of_search(r), f"{len(r.relatives)} relatives, {len(r.leads)} leads"))


def _audit(folder: Path, truth: Truth, name: str) -> Iterator[_Question]:
    from begat.audit.run import audit

    yield _Question(("a", "b"), lambda: audit(folder / "b", [folder / "a"]), lambda r: (statements.of_audit(r), r.sentence))


_QUESTIONS: dict[str, Callable[[Path, Truth, str], Iterator[_Question]]] = {
    "compare": _compare,
    "inspect": _inspect,
    "decompose": _decompose,
    "tree": _tree,
    "search": _search,
    "audit": _audit,
}
