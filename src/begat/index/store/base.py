"""The interface every engine keeps, and the registry of engines. One contract test holds them all (`tests/contracts/test_store_contract.py`).

Enters: records, ids, queries.  Leaves: entries, fingerprints, hits.  To add an engine: one file here that fills in `Store` and registers a
subclass in `ENGINES`, imported by `open.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import ClassVar, Literal, Self

from begat.errors import InputError
from begat.index.store.records import Added, Entry, Hit, Probe, Record, check_id
from begat.registry import Registry
from begat.types import U8

Mode = Literal["create", "read", "write"]
#: version of the stored layout, of every engine; a store with a higher one is refused
VERSION = 1
#: seconds a writer waits for another one
PATIENCE = 30.0


class Store(ABC):
    """An open index. Use as a context manager. One writer at a time, any number of readers beside it.

    Every method raises InputError, in one line, for damage, for a missing model, for a store opened for reading only and for a
    writer that waited too long. What a call of `add` or `remove` has returned from is on disk; a call that was killed has either
    happened or not.
    """

    #: name in `ENGINES`; the file or folder in a store's folder that shows it is of this engine
    engine: ClassVar[str]
    sign: ClassVar[str]
    where: str
    mode: Mode

    @classmethod
    @abstractmethod
    def open(cls, where: str, mode: Mode, patience: float) -> Store:
        """Open (or create) the store at `where`; `open_store` has checked that it is this engine's."""

    @abstractmethod
    def close(self) -> None:
        """Let go of files and locks."""

    @abstractmethod
    def add(self, records: Iterable[Record]) -> Added:
        """Store all records or none. A fingerprint that is there already is reported, and left as it is."""

    @abstractmethod
    def remove(self, ids: Iterable[str]) -> tuple[str, ...]:
        """Remove all these models or, if one is unknown, none; returns the ids removed."""

    @abstractmethod
    def manifest(
        self, *, id: str | None = None, name: str | None = None, family: str | None = None, format: str | None = None,
        header_digest: str | None = None,
    ) -> Iterator[Entry]:  # fmt: skip
        """Entries in the order they were added, without touching fingerprints. `id` may be a prefix; the others are exact."""

    @abstractmethod
    def get(self, id: str) -> bytes:
        """A fingerprint's bytes, their digest checked."""

    @abstractmethod
    def probes(self, id: str) -> tuple[Probe, ...]:
        """A model's probes, ordered by kind, layer, part, bits; their check sum checked."""

    @abstractmethod
    def nearest(self, kind: str, queries_QB: U8, k: int, *, exact: bool = False) -> list[Hit]:
        """The `k` nearest stored probes of `kind` to each query by Hamming distance, ordered by query and distance.

        Args:
            queries_QB: uint8 of shape [Q, 32].
            exact: look at every stored probe. Otherwise an engine may use its approximate index, whose recall docs/index.md states;
                distances are exact either way.
        """

    @abstractmethod
    def kinds(self) -> dict[str, int]:
        """How many probes of each kind are stored."""

    @abstractmethod
    def count(self) -> int:
        """How many models are stored."""

    @abstractmethod
    def compact(self) -> None:
        """Merge small pieces, bring the approximate index up to date, give space back. Changes no answer of an exact search."""

    @abstractmethod
    def verify(self) -> list[str]:
        """Every fault, one line each; none = sound. Reads everything: digests, check sums, owners of probes, layout version."""

    def entry(self, id: str) -> Entry:
        """The entry of a full id."""
        for entry in self.manifest(id=check_id(id, self.where)):
            return entry
        raise self.unknown(id)

    def unknown(self, id: str) -> InputError:
        """The error for an id that is not there."""
        return InputError("no such model in this index", file=self.where, found=id, fix="begat index list shows the ids")

    def must_write(self) -> None:
        """InputError when the store was opened for reading."""
        if self.mode == "read":
            raise InputError("index is open for reading only", file=self.where, fix="open it with mode 'write'")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


#: engines by name
ENGINES: Registry[type[Store]] = Registry("index engine")
