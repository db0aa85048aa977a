"""Rows of the vocabulary that look untrained: zero, repeated, tiny, all pointing one way, near the mean of all, or like fresh
draws; where they lie.

Enters: all rows of the embedding and of an untied head, in some columns.  Leaves: ranges of row numbers, each with what was
counted.
Added tokens, reserved tokens and tokens that training never met look so. Tokens never met all get the same push from the
softmax and end up nearly
parallel (Land and Bartolo, "Fishing for Magikarp", arXiv:2405.05417).
"""

from __future__ import annotations

import numpy as np

from begat.canon.config import initial_sd
from begat.inspection import Found, Item
from begat.signals.inspect.base import FINDINGS, Inspector, Look, runs, tower_words
from begat.types import F32, F64

#: columns looked at; rows from which a table counts; rows of a window of fresh draws
_COLUMNS, _LEAST, _WINDOW = 128, 32, 16
#: of the median root mean square, and of the median distance from the mean
_TINY, _NEAR = 0.05, 0.3
#: cosine with a common direction, rows that must have it, and directions that are looked for
_PARALLEL, _TOGETHER, _DIRECTIONS = 0.95, 8, 3
#: fresh draws: spread of row sizes over that of normal draws, mean squared cosine over that of random directions, and
#: distance of their size from the stated
#: deviation, at most; deviations that libraries use when a config states none
_SPREAD, _COSINE, _SIZE = 1.7, 1.35, 0.05
_USUAL = (0.02, 1.0)
_ROLES = ("embed.tokens", "head.weight")


def _run(look: Look) -> Found:
    items: list[Item] = []
    columns: list[int] = []
    tables = [
        k
        for k in sorted(look.model.tensors)
        if k.role in _ROLES and look.model.tensors[k].shape[0] >= _LEAST and 0 not in look.model.tensors[k].shape
    ]
    for key in tables:
        rows_VC = look.columns(key, _COLUMNS)
        columns.append(rows_VC.shape[1])
        look.step()
        name = "embedding" if key.role == "embed.tokens" else "head"
        stated = initial_sd(look.model.checkpoint.config, key.tower)
        found = untrained(rows_VC, (stated,) if stated else _USUAL, look.rng("directions", len(rows_VC)))
        items += [Item(f"{tower_words(key.tower)}{name}, {i.where}", i.what, i.numbers) for i in found]
    if not tables:
        return Found("not-run", f"no table of {_LEAST} token rows")
    looked = f"every row of {len(tables)} tables in up to {max(columns, default=0):,} neighbouring columns"
    if not items:
        return Found("nothing", "no rows of the vocabulary look untrained", looked_at=looked)
    return Found(
        "found",
        "; ".join(f"{i.where}: {i.what}" for i in items[:2]) + (" …" if len(items) > 2 else ""),
        tuple(items),
        looked_at=looked,
    )


def untrained(rows_VC: F32, deviations: tuple[float, ...], rng: np.random.Generator) -> list[Item]:
    """What looks untrained among the rows of a table; a row is named for the first thing that fits.

    Args:
        rows_VC: the rows, in some columns.
        deviations: standard deviations that fresh rows may have been drawn with.
        rng: draws the rows that are tried as common directions.
    """
    x_VC = rows_VC
    left = np.ones(len(x_VC), dtype=bool)
    items: list[Item] = []

    def take(which: np.ndarray, what: str, **numbers: float) -> None:
        at = np.flatnonzero(which & left)
        if len(at):
            left[at] = False
            items.append(Item(f"rows {runs(at.tolist())}", what, {"rows": len(at), "of": len(x_VC), **numbers}))

    take(np.asarray(~x_VC.any(axis=1)), "all zero")
    take(_repeated(rows_VC) & left, "equal to other rows in every column read")
    if left.sum() < _LEAST:
        return items
    size = _size(x_VC)
    median = float(np.median(size[left]))
    take(
        size < _TINY * median, f"less than {_TINY:g} of the median size", size=float(size[left].min() / median) if median else 0.0
    )
    for _ in range(_DIRECTIONS):
        together = _parallel(x_VC, left, rng)
        if together.sum() < _TOGETHER:
            break
        take(together, "nearly parallel, as tokens are that training never met")
    if left.sum() >= _LEAST:
        away = _size(x_VC - x_VC[left].mean(axis=0, dtype=np.float64).astype(np.float32))
        far = float(np.median(away[left]))
        near = (away < _NEAR * far) & left
        if near.any():
            take(near, "near the mean of all rows", distance=float(np.median(away[near]) / far))
    fresh = _fresh(x_VC, left, deviations)
    if fresh.any():
        take(
            fresh,
            "like fresh draws: of the initial size, in directions that have nothing in common",
            deviation=float(np.median(size[fresh])),
        )
    return items


def _parallel(x_VC: np.ndarray, left: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Rows within `_PARALLEL` of the direction that most rows share; none in tables so narrow that chance aligns rows."""
    out = np.zeros(len(x_VC), dtype=bool)
    at = np.flatnonzero(left)
    if x_VC.shape[1] < 32 or not len(at):
        return out
    unit_VC = x_VC[at] / np.maximum(np.linalg.norm(x_VC[at], axis=1, keepdims=True), 1e-30)
    tried = unit_VC[rng.permutation(len(at))[:256]]
    centre = tried[int(((unit_VC @ tried.T) > _PARALLEL).sum(axis=0).argmax())]
    for _ in range(2):
        close = unit_VC @ centre > _PARALLEL
        if not close.any():
            return out
        centre = unit_VC[close].mean(axis=0)
        centre = centre / np.linalg.norm(centre)
    out[at[unit_VC @ centre > _PARALLEL]] = True
    return out


def _size(x_VC: F32) -> F64:
    """Root mean square of every row."""
    size: F64 = np.sqrt(np.einsum("vc,vc->v", x_VC, x_VC).astype(np.float64) / x_VC.shape[1])
    return size


def _repeated(rows_VC: F32) -> np.ndarray:
    rows = np.ascontiguousarray(rows_VC)
    _, back, counts = np.unique(
        rows.view(np.dtype((np.void, rows.shape[1] * 4))).ravel(), return_inverse=True, return_counts=True
    )
    repeated: np.ndarray = counts[back.ravel()] > 1
    return repeated


def _fresh(x_VC: np.ndarray, left: np.ndarray, deviations: tuple[float, ...]) -> np.ndarray:
    """Rows of windows of `_WINDOW` neighbours that behave like independent normal draws about zero with one of these deviations.

    Sizes of C such values have a relative standard deviation of 1/sqrt(2C), cosines a mean square of 1/C. Trained rows
    differ more in size and share directions.
    """
    out = np.zeros(len(x_VC), dtype=bool)
    columns = x_VC.shape[1]
    if columns < _WINDOW:
        return out
    for first in range(0, len(x_VC) - _WINDOW + 1, _WINDOW // 2):
        at = slice(first, first + _WINDOW)
        if not left[at].all():
            continue
        size = _size(x_VC[at])
        if size.min() <= 0 or size.std() / size.mean() > _SPREAD / (2 * columns) ** 0.5:
            continue
        if min(abs(size.mean() / s - 1) for s in deviations) > _SIZE:
            continue
        unit = x_VC[at] / np.linalg.norm(x_VC[at], axis=1, keepdims=True)
        if ((unit @ unit.T)[~np.eye(_WINDOW, dtype=bool)] ** 2).mean() <= _COSINE / columns:
            out[at] = True
    return out


FINDINGS.add("vocabulary")(
    Inspector(
        "Vocabulary rows that look untrained",
        "described",
        "Counted: rows that are zero or equal to others. Described, without an error rate: rows below a twentieth of the "
        "median size; at least eight rows within cosine 0.95 of one direction (the softmax pushes all tokens that never "
        "occur the same way); rows closer to the mean of all than three tenths of the median distance (new tokens are often "
        "started there); windows of 16 neighbours with the size, the spread of sizes and the spread of directions that "
        "independent draws of the stated initial deviation have.",
        "That tokens were added by somebody else: a tokenizer's reserved and never-met tokens look the same. An untrained "
        "model is all fresh draws.",
        _run,
    )
)
