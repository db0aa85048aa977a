"""Models of an index, filtered, sorted, in pages.

Enters: what a query string asks for, and an open store.  Leaves: a `Listing`. The manifest is read when the index has
changed, fingerprints never.
"""

from __future__ import annotations

import os
import re
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from begat.index.store import Entry, Store

#: models on a page
PAGE = 50
#: entries that are kept between requests, at about a kilobyte each
REMEMBERED = 300_000
#: what can be sorted by → column's title
SORTS = {
    "name": "model",
    "family": "family",
    "format": "format",
    "parameters": "parameters",
    "layers": "layers",
    "added": "added",
}
_SIZE = re.compile(r"\s*(\d{1,9}(?:\.\d{1,6})?)\s*([kmbt]?)\s*", re.IGNORECASE)
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9, "t": 10**12}


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for: text in name, source, note or id; family and format; bounds on parameters as typed ("7b"); sort ("-" for descending); page from 1."""

    q: str = ""
    family: str = ""
    format: str = ""
    least: str = ""
    most: str = ""
    sort: str = "name"
    page: int = 1

    def query(self, **changes: object) -> str:
        """The query string of this wish with changes, defaults left out."""
        w, plain = replace(self, **changes), Wish()  # type: ignore[arg-type]
        return urlencode({k: getattr(w, k) for k in Wish.__slots__ if getattr(w, k) != getattr(plain, k)})

    @property
    def filters(self) -> bool:
        """Is anything left out?"""
        return any((self.q, self.family, self.format, self.least, self.most))


@dataclass(frozen=True, slots=True)
class Listing:
    """One page: its entries; `found` of `total` models; families and formats of the index with their counts; number of pages; what could not be understood."""

    entries: tuple[Entry, ...]
    found: int
    total: int
    families: tuple[tuple[str, int], ...]
    formats: tuple[tuple[str, int], ...]
    pages: int
    wish: Wish
    problem: str


def wish_of(params: Mapping[str, str]) -> Wish:
    """A query string's values, cut to size."""
    texts = {k: params.get(k, "")[:200] for k in ("q", "family", "format", "least", "most")}
    sort = params.get("sort", "name")
    page = params.get("page", "1")
    return Wish(**texts, sort=sort if sort.lstrip("-") in SORTS and sort.count("-") <= 1 else "name",
                page=max(1, int(page)) if page.isascii() and page.isdigit() and len(page) < 8 else 1)  # fmt: skip


class Manifest:
    """The entries of one index, read again only when its files have changed: checking a hundred thousand entries takes seconds."""

    def __init__(self) -> None:
        self._lock, self._entries = threading.Lock(), list[Entry]()
        self._stamp: object = None

    def entries(self, store: Store) -> list[Entry]:
        """All entries of `store`, in the order they were added."""
        stamp = _stamp(store)
        with self._lock:
            if stamp is not None and stamp == self._stamp:
                return self._entries
        entries = list(store.manifest())
        if stamp is not None and len(entries) <= REMEMBERED:
            with self._lock:
                self._stamp, self._entries = stamp, entries
        return entries


def _stamp(store: Store) -> object:
    """What changes whenever the index does, taken before it is read; None where that cannot be seen (object storage)."""
    if "://" in store.where:
        return None
    seen = []
    try:
        for folder, _, files in os.walk(store.where):
            for name in files:
                known = os.stat(os.path.join(folder, name))
                if name.endswith("-shm") or not known.st_size:  # SQLite makes these to read
                    continue
                seen.append((folder, name, known.st_mtime_ns, known.st_size, known.st_ino))
    except OSError:
        return None
    return store.count(), tuple(sorted(seen))


def list_models(entries: Sequence[Entry], wish: Wish) -> Listing:
    """The page that was asked for, of all entries of an index."""
    kept, problem = chosen(entries, wish)
    key = wish.sort.lstrip("-")
    kept.sort(
        key=lambda e: (v.casefold() if isinstance(v := getattr(e, key), str) else v, e.name.casefold(), e.id),
        reverse=wish.sort.startswith("-"),
    )
    pages = max(1, -(-len(kept) // PAGE))
    page = min(wish.page, pages)
    return Listing(
        tuple(kept[(page - 1) * PAGE : page * PAGE]), len(kept), len(entries), _counts(e.family for e in entries), _counts(e.format for e in entries), pages,
        replace(wish, page=page), problem,
    )  # fmt: skip


def chosen(entries: Sequence[Entry], wish: Wish) -> tuple[list[Entry], str]:
    """Entries that fit the filters, and which filter could not be understood."""
    least, most = parameters(wish.least), parameters(wish.most)
    problem = next(
        (f"“{t}” is no size; write 7b or 350m" for t, n in ((wish.least, least), (wish.most, most)) if t.strip() and n is None),
        "",
    )
    q = wish.q.strip().casefold()
    kept = [
        e for e in entries
        if (not q or q in e.name.casefold() or q in e.source.casefold() or q in e.note.casefold() or e.id.startswith(q))
        and (not wish.family or (e.family or "-") == wish.family)
        and (not wish.format or (e.format or "-") == wish.format)
        and (least is None or e.parameters >= least) and (most is None or e.parameters <= most)
    ]  # fmt: skip
    return kept, problem


def parameters(text: str) -> int | None:
    """A number of parameters as people write it: "7b", "1.5 M", "350000"."""
    found = _SIZE.fullmatch(text)
    return None if found is None else int(float(found[1]) * _UNITS[found[2].lower()])


def short(n: int) -> str:
    """A number of parameters as people read it: "616 K", "7.24 B"."""
    for unit, name in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K")):
        if n >= unit:
            return f"{n / unit:.3g} {name}" if n / unit < 999.5 else f"{n / unit:,.0f} {name}"
    return str(n)


def _counts(values: object) -> tuple[tuple[str, int], ...]:
    counted = Counter(v or "-" for v in values)  # type: ignore[attr-defined]
    return tuple(sorted(counted.items(), key=lambda x: (-x[1], x[0])))
