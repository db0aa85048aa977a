"""What an inspector is, and what it may ask for.

Enters and leaves: see the package. `Look` is implemented in `begat.pipeline.inspect`: it draws the rows and pays for them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from begat.canon.model import Canonical
from begat.inspection import Found
from begat.registry import Registry
from begat.signals.axes import Site
from begat.source.dtypes import DTYPES
from begat.types import F32, TensorEntry, TensorKey


class Look(Protocol):
    """A model under inspection.

    Attributes:
        model: the canonical model.
        full: everything is to be read.
        needed: log10 of the e-value from which a finding counts (the policy's).
    """

    @property
    def model(self) -> Canonical: ...
    @property
    def full(self) -> bool: ...
    @property
    def needed(self) -> float: ...

    def rng(self, *path: object) -> np.random.Generator:
        """The public generator for one purpose."""

    def units(self, sites: Sequence[Site], m: int) -> list[list[F32]] | None:
        """Features of the same m units of every site, [m, D] per view; sites must be of one shape. None: too few that
        are treated alike.
        """

    def cost(self, site: Site, m: int) -> int:
        """Bytes that reading m units of a site takes."""

    def chunks(self, key: TensorKey, rows: int) -> Iterator[F32]:
        """`rows` public rows of a canonical matrix, or all of it in runs when `full`; float32 [n, in]."""

    def rows(self, key: TensorKey, rows: int) -> F32:
        """At most `rows` public rows of a canonical matrix in order, float32 [n, in], also when `full`."""

    def columns(self, key: TensorKey, cols: int) -> F32:
        """All rows of a table at `cols` neighbouring columns (more when `full`), float32 [rows, cols]."""

    def entry(self, key: TensorKey) -> TensorEntry:
        """The stored tensor behind a key."""

    def step(self) -> None:
        """Tell the progress bar that a piece is done."""


@dataclass(frozen=True, slots=True)
class Inspector:
    """One question to a model; texts as in `begat.inspection.Finding`."""

    title: str
    basis: str
    null: str
    says_not: str
    run: Callable[[Look], Found]


FINDINGS: Registry[Inspector] = Registry("finding")


def matrices(look: Look) -> list[TensorKey]:
    """Keys of all matrices with values in them, in order."""
    return [k for k in sorted(look.model.tensors) if not look.model.tensors[k].is_vector and 0 not in look.model.tensors[k].shape]


def is_float(entry: TensorEntry) -> bool:
    """Stored as floats of 16 bits or more, not as numbers that a scale turns into values."""
    kind = DTYPES[entry.dtype]
    return entry.scaling is None and kind.mantissa is not None and kind.bits >= 16


def runs(numbers: Sequence[int]) -> str:
    """Sorted numbers with runs joined: "0, 2–4, 7"."""
    out: list[list[int]] = []
    for n in numbers:
        if out and out[-1][1] == n - 1:
            out[-1][1] = n
        else:
            out.append([n, n])
    words = [f"{a}" if a == b else f"{a}–{b}" for a, b in out]
    return ", ".join(words if len(words) <= 12 else [*words[:11], f"… ({len(words) - 11} more runs)"])


def tower_words(tower: str) -> str:
    """A prefix for towers other than the language model."""
    return "" if tower == "text" else f"{tower}: "
