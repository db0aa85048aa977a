"""From a path to an answer: sketch a model, or load its fingerprint, and search an index for it.

Enters: paths.  Leaves: a `SearchResult`.  The search itself: `begat.index.search`.
"""

from __future__ import annotations

import os
from pathlib import Path

from begat.errors import InputError, UntestableError, printable
from begat.fingerprint import Fingerprint
from begat.fingerprint_file import is_fingerprint, load
from begat.index.search import IN_TREE, SCREENED, SearchResult, search
from begat.index.store import open_store
from begat.types import Progress
from begat.verdict.policy import POLICY


def ask(
    model: str | Path, index: str | os.PathLike[str], *, base: str | Path | None = None, screened: int = SCREENED, exact: bool = False,
    tree: bool = True, progress: Progress | None = None,
) -> SearchResult:  # fmt: skip
    """Search an index for relatives of a model.

    Args:
        model: weight file or folder, or a fingerprint file.
        index: where the index lies.
        base: the base model, where `model` is a PEFT adapter folder.
        screened, exact: as for `search`.
        tree: lay the nearest relatives out.

    Raises:
        InputError: no index there, unreadable model, a base for a fingerprint.
        UntestableError: nothing of the model can be tested.
    """
    with open_store(index) as store:
        query = fingerprint_of(model, base, progress=progress)
        return search(query, store, screened=screened, in_tree=IN_TREE if tree else 0, exact=exact, progress=progress)


def answer(
    model: str | Path, index: str | os.PathLike[str], *, base: str | Path | None = None, screened: int = SCREENED, exact: bool = False,
    tree: bool = True, progress: Progress | None = None,
) -> SearchResult:  # fmt: skip
    """As `ask`; a model that no fingerprint can be made of is an answer too, whose `untestable` says why."""
    try:
        return ask(model, index, base=base, screened=screened, exact=exact, tree=tree, progress=progress)
    except UntestableError as err:
        with open_store(index) as store:
            total = store.count()
        return SearchResult(
            query=printable(Path(model).resolve().name, 200), id="", layers=0, candidates=total, screened=0, tested=0,
            needed_log10_e=POLICY.dependence_log10_e, relatives=(), leads=(), tree=None, members=(), same=(), unreadable=(), notes=(), seconds=0.0,
            untestable=err.reason(),
        )  # fmt: skip


def fingerprint_of(
    model: str | Path, base: str | Path | None = None, *, name: str = "", progress: Progress | None = None
) -> Fingerprint:  # fmt: skip
    """The fingerprint in a file, or a new one of a model, which is then called `name`."""
    if not is_fingerprint(model):
        from begat.pipeline.sketch import sketch

        return sketch(model, base=base, name=name, progress=progress)
    if base is not None:
        raise InputError("is a fingerprint, which takes no base", file=model, fix="leave --base out, or name the adapter folder")
    return load(model)
