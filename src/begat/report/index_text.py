"""What `begat index` commands say, as text.

Enters: a result of `begat.index.manage`.  Leaves: lines for stdout; names from strangers are made printable.  For machines: `index_json.py`.
"""

from __future__ import annotations

from collections.abc import Iterator

from begat.errors import printable
from begat.index.manage import AddReport, Listing, Moved, Removed, Shown, Verified
from begat.index.store import Entry
from begat.report import words

_COLUMNS = ("id", "name", "family", "parameters", "layers", "format", "added")


def added(r: AddReport) -> Iterator[str]:
    """One line a model, then how many there are."""
    taken = dict(r.same_name)
    for e in r.added:
        also = f" (name also of {', '.join(i[:12] for i in taken[e.id][:3])})" if e.id in taken else ""
        yield f"added   {e.id[:12]}  {printable(e.name, 80)}{also}"
    for e in r.present:
        yield f"there   {e.id[:12]}  {printable(e.name, 80)}"
    for path, why in r.failed:
        yield f"failed  {printable(path, 80)}: {printable(why, 600)}"
    yield f"{printable(r.index, 200)}: {words.plural(r.count, 'model')}"


def listing(r: Listing) -> Iterator[str]:
    """A table of entries."""
    rows = [_row(e) for e in r.entries]
    if rows:
        width = [max(len(x) for x in column) for column in zip(_COLUMNS, *rows, strict=True)]
        for row in (_COLUMNS, *rows):
            yield "  ".join(x.ljust(w) for x, w in zip(row, width, strict=True)).rstrip()
    yield f"{len(rows)} of {words.plural(r.count, 'model')} in {printable(r.index, 200)} ({r.engine})"


def compacted(r: Listing) -> Iterator[str]:
    """One line."""
    yield f"{printable(r.index, 200)}: {words.plural(r.count, 'model')}, compacted"


def shown(r: Shown) -> Iterator[str]:
    """A field a line."""
    e = r.entry
    fields = [
        ("name", e.name), ("id", e.id), ("source", e.source), ("format", e.format), ("family", e.family or "unknown"),
        ("parameters", f"{e.parameters:,}"), ("layers", f"{e.layers:,}"), ("header digest", e.header_digest), ("added", e.added),
        ("fingerprint", f"{e.size:,} bytes, format version {e.fingerprint_version}"),
        ("probes", ", ".join(f"{n} {kind}" for kind, n in r.kinds) or "none"), ("note", e.note),
    ]  # fmt: skip
    for name, value in fields:
        if value:
            yield f"{name:<14}{printable(value, 400)}"


def removed(r: Removed) -> Iterator[str]:
    """One line a model, then how many are left."""
    for e in r.entries:
        yield f"removed {e.id[:12]}  {printable(e.name, 80)}"
    yield f"{printable(r.index, 200)}: {words.plural(r.count, 'model')} left"


def verified(r: Verified) -> Iterator[str]:
    """Every fault, or that there is none."""
    for fault in r.faults:
        yield f"fault: {printable(fault, 1000)}"
    if not r.faults:
        probes = sum(n for _, n in r.kinds)
        yield f"{printable(r.index, 200)}: sound ({words.plural(r.count, 'model')}, {words.plural(probes, 'probe')}, engine {r.engine})"


def exported(r: Moved) -> Iterator[str]:
    """One line."""
    yield f"{words.plural(r.moved, 'model')} written to {printable(r.folder, 200)}"


def imported(r: Moved) -> Iterator[str]:
    """One line."""
    there = f", {r.present:,} there already" if r.present else ""
    yield f"{words.plural(r.moved, 'model')} added to {printable(r.index, 200)}{there}"


def _row(e: Entry) -> tuple[str, ...]:
    return (
        e.id[:12], printable(e.name, 60), printable(e.family, 24), _parameters(e.parameters), str(e.layers), printable(e.format, 16), e.added[:10],
    )  # fmt: skip


def _parameters(n: int) -> str:
    for unit, size in (("T", 10**12), ("B", 10**9), ("M", 10**6), ("K", 10**3)):
        if n >= size:
            return f"{n / size:.3g}{unit}" if n < 1000 * size else f"{n // size:,}{unit}"
    return str(n)
