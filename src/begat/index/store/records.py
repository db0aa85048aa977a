"""What is stored: a fingerprint (opaque bytes), what is known of its model, and its probes. Everything is checked here, on the way in and out.

Enters: a fingerprint's bytes with metadata and probes, or rows of a store that may be damaged.  Leaves: frozen records, or an InputError.
Engines keep records (`sqlite.py`, `lance.py`); `exchange.py` writes them as lines of JSON.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from begat.errors import InputError
from begat.types import U8

U64 = npt.NDArray[np.uint64]

#: bytes and bits of a probe
WIDTH, BITS = 32, 256
BLOB_LIMIT = 16 << 20
PROBE_LIMIT = 4096
_HEX = re.compile(r"[0-9a-f]{64}")
_KIND = re.compile(r"[a-z][a-z0-9-]{0,31}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
#: longest text of each field, in characters; a damaged store must not make gigabytes of one name
_TEXT = {"name": 1024, "source": 4096, "format": 64, "family": 128, "note": 16384}
#: range of each whole number
_WHOLE = {"parameters": 1 << 62, "layers": 1 << 20, "fingerprint_version": 1 << 20, "size": BLOB_LIMIT, "probes": PROBE_LIMIT}
_DIGESTS = ("id", "header_digest")


@dataclass(frozen=True, slots=True, eq=False)
class Probe:
    """A short binary vector for screening: relatives lie clearly nearer than 128 bits, strangers at 128 ± 8.

    Attributes:
        kind: what was measured; only probes of one kind are compared. Lower-case letters, digits, hyphens; at most 32.
        layer: the layer it was measured in, -1 for none.
        part: the part of that layer, at most 64 characters.
        bits: 256 bits as uint8, shape [32].
    """

    kind: str
    layer: int
    part: str
    bits: U8

    def key(self) -> tuple[str, int, str, bytes]:
        """All fields as values that compare."""
        return self.kind, self.layer, self.part, self.bits.tobytes()


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the manifest: what is known of a model without opening its fingerprint.

    Attributes:
        id: sha256 of the fingerprint's bytes, in hex.
        name: the model's name; need not be unique.
        source: the path or address it was sketched from.
        format, family: the checkpoint's format, and the family it was recognised as ("" = none).
        parameters, layers: how many.
        header_digest: sha256 of the checkpoint's headers, in hex.
        added: when it was added, UTC, `2026-11-26T19:00:00Z`.
        fingerprint_version: version of the fingerprint's format.
        note: free text.
        size: bytes of the fingerprint.
        probes: number of its probes.
        probe_sum: check sum of its probes (`probe_sum`), 16 hex digits.
    """

    id: str
    name: str
    source: str
    format: str
    family: str
    parameters: int
    layers: int
    header_digest: str
    added: str
    fingerprint_version: int
    note: str
    size: int
    probes: int
    probe_sum: str


FIELDS = tuple(f.name for f in dataclasses.fields(Entry))


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """What `Store.add` takes: an entry, its fingerprint and its probes. `make_record` builds it."""

    entry: Entry
    blob: bytes
    probes: tuple[Probe, ...]


@dataclass(frozen=True, slots=True)
class Hit:
    """A stored probe near a query: which query, which model, where in it, how many bits differ (0 to 256)."""

    query: int
    id: str
    layer: int
    part: str
    distance: int


@dataclass(frozen=True, slots=True)
class Added:
    """What one call of `Store.add` did.

    Attributes:
        added: ids now stored.
        present: ids that were there already, left as they were.
        same_name: (id, ids that had its name before) of each added model whose name is taken.
    """

    added: tuple[str, ...]
    present: tuple[str, ...]
    same_name: tuple[tuple[str, tuple[str, ...]], ...]


def make_record(
    blob: bytes,
    probes: Iterable[Probe],
    *,
    name: str,
    source: str,
    format: str,
    family: str,
    parameters: int,
    layers: int,
    header_digest: str,
    fingerprint_version: int,
    note: str = "",
    added: str | None = None,
) -> Record:
    """A checked record; id, size and check sum follow from `blob` and `probes`. Raises InputError.

    Args:
        added: the time to note; None = now.
    """
    kept = tuple(probes)
    for probe in kept:
        check_probe(probe, name)
    entry = Entry(
        id=hashlib.sha256(blob).hexdigest(), name=name, source=source, format=format, family=family, parameters=parameters,
        layers=layers, header_digest=header_digest, added=now() if added is None else added,
        fingerprint_version=fingerprint_version, note=note, size=len(blob), probes=len(kept), probe_sum=probe_sum(kept),
    )  # fmt: skip
    record = Record(check_entry(entry), blob, kept)
    check_records([record])
    return record


def now() -> str:
    """The time as entries note it."""
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def check_entry(entry: Entry, where: str | None = None) -> Entry:
    """`entry` itself, if every field is of its type and range; else InputError. `where` names the store or file it came from."""
    for field, limit in _TEXT.items():
        value = getattr(entry, field)
        if type(value) is not str or len(value) > limit or "\0" in value or (field == "name" and not value):
            raise _bad(entry, field, f"text of {'1' if field == 'name' else '0'} to {limit} characters", value, where)
        if not value.isascii():
            try:
                value.encode("utf-8")
            except UnicodeEncodeError:
                raise _bad(entry, field, "text that UTF-8 can hold", value, where) from None
    for field, limit in _WHOLE.items():
        value = getattr(entry, field)
        if type(value) is not int or not 0 <= value <= limit:
            raise _bad(entry, field, f"a whole number from 0 to {limit}", value, where)
    for field in _DIGESTS:
        value = getattr(entry, field)
        if type(value) is not str or not _HEX.fullmatch(value):
            raise _bad(entry, field, "64 hex digits", value, where)
    if type(entry.added) is not str or not _TIME.fullmatch(entry.added):
        raise _bad(entry, "added", "a time like 2026-11-26T19:00:00Z", entry.added, where)
    if type(entry.probe_sum) is not str or not re.fullmatch(r"[0-9a-f]{16}", entry.probe_sum):
        raise _bad(entry, "probe_sum", "16 hex digits", entry.probe_sum, where)
    return entry


def check_probe(probe: Probe, name: str, where: str | None = None) -> None:
    """InputError unless every field of `probe` is of its type and range. `name` is its model's."""
    if type(probe.kind) is not str or not _KIND.fullmatch(probe.kind):
        raise _probe(name, "kind", "lower-case letters, digits and hyphens, at most 32", probe.kind, where)
    if type(probe.layer) is not int or not -1 <= probe.layer <= 32767:
        raise _probe(name, "layer", "a whole number from -1 to 32767", probe.layer, where)
    if type(probe.part) is not str or len(probe.part) > 64 or not probe.part.isprintable():
        raise _probe(name, "part", "at most 64 printable characters", probe.part, where)
    bits = probe.bits
    if not isinstance(bits, np.ndarray) or bits.dtype != np.uint8 or bits.shape != (WIDTH,):
        raise _probe(name, "bits", f"uint8 of shape [{WIDTH}]", f"{getattr(bits, 'dtype', type(bits).__name__)}", where)


def check_records(records: Sequence[Record], where: str | None = None) -> None:
    """InputError unless entry, fingerprint and probes of each record belong together."""
    for record in records:
        entry, blob = check_entry(record.entry, where), record.blob
        if not 0 < len(blob) <= BLOB_LIMIT:
            raise _bad(entry, "fingerprint", f"1 to {BLOB_LIMIT} bytes", f"{len(blob)} bytes", where)
        found = hashlib.sha256(blob).hexdigest()
        if found != entry.id or entry.size != len(blob):
            raise _bad(entry, "fingerprint", f"sha256 {entry.id}", found, where)
        for probe in record.probes:
            check_probe(probe, entry.name, where)
    for record, total in zip(records, probe_sums([r.probes for r in records]), strict=True):
        entry = record.entry
        if len(record.probes) != entry.probes or total != entry.probe_sum:
            raise _bad(entry, "probes", f"{entry.probes} with check sum {entry.probe_sum}", f"{len(record.probes)}", where)


def in_batches(records: Iterable[Record], where: str, size: int = 256) -> Iterator[list[Record]]:
    """Checked records, some at a time: check sums of many probes at once take a fraction of the time."""
    batch: list[Record] = []
    for record in records:
        batch.append(record)
        if len(batch) == size:
            check_records(batch, where)
            yield batch
            batch = []
    check_records(batch, where)
    yield batch


def check_kind(kind: str) -> str:
    """`kind` itself, if it can name a kind of probes; else InputError."""
    if type(kind) is not str or not _KIND.fullmatch(kind):
        raise InputError("not a kind of probes", expected="lower-case letters, digits and hyphens, at most 32", found=kind)
    return kind


def check_id(text: str, where: str | None = None) -> str:
    """`text` itself, if it is a full id; else InputError."""
    if type(text) is not str or not _HEX.fullmatch(text):
        raise InputError("not an id", file=where, expected="64 hex digits", found=text, fix="begat index list shows the ids")
    return text


def check_queries(queries_QB: U8, k: int) -> U8:
    """`queries_QB` itself, if it is uint8 of shape [Q, 32] and `k` is positive; else InputError."""
    if queries_QB.dtype != np.uint8 or queries_QB.ndim != 2 or queries_QB.shape[1] != WIDTH:
        raise InputError("queries have the wrong shape", expected=f"uint8 of shape [Q, {WIDTH}]",
                         found=f"{queries_QB.dtype} of shape {list(queries_QB.shape)}")  # fmt: skip
    if type(k) is not int or not 1 <= k <= 10_000:
        raise InputError("cannot ask for so many neighbours", expected="1 to 10000", found=k)
    return np.ascontiguousarray(queries_QB)


# --- check sums ---------------------------------------------------------------------------------------------


def probe_sum(probes: Sequence[Probe]) -> str:
    """Check sum of a model's probes in any order, 16 hex digits: finds damage, proves nothing against an attacker."""
    return probe_sums([probes])[0]


def probe_sums(models: Sequence[Sequence[Probe]]) -> list[str]:
    """`probe_sum` of many models at once."""
    probes = [p for m in models for p in m]
    if not probes:
        return ["0" * 16] * len(models)
    sums = row_sums(np.stack([p.bits for p in probes]), np.array([label(p.kind, p.layer, p.part) for p in probes], np.uint64))
    lengths = [len(m) for m in models]
    ends = np.cumsum(lengths)
    upto = np.append(np.uint64(0), np.cumsum(sums, dtype=np.uint64))
    return [f"{total:016x}" for total in (upto[ends] - upto[ends - lengths]).tolist()]


@lru_cache(maxsize=1 << 16)
def label(kind: str, layer: int, part: str) -> int:
    """The 64-bit number that stands for kind, layer and part in `row_sums`."""
    return zlib.crc32(f"{kind}/{part}".encode()) << 16 | (layer & 0xFFFF)


def row_sums(bits_NB: U8, labels_N: U64) -> U64:
    """One 64-bit hash a probe; a model's check sum is their sum modulo 2**64 (mixing step: splitmix64, Steele et al. 2014)."""
    hash_N = labels_N.astype(np.uint64)
    with np.errstate(over="ignore"):  # modulo 2**64
        for word_N in np.ascontiguousarray(bits_NB).view("<u8").T:
            hash_N = (hash_N ^ word_N) + np.uint64(0x9E3779B97F4A7C15)
            hash_N = (hash_N ^ (hash_N >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            hash_N = (hash_N ^ (hash_N >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            hash_N ^= hash_N >> np.uint64(31)
    return hash_N


def _bad(entry: Entry, field: str, expected: str, found: object, where: str | None) -> InputError:
    name = entry.name if type(entry.name) is str and field != "name" else entry.id
    return InputError(f"model '{str(name)[:100]}': bad {field}", file=where, expected=expected, found=_short(found))


def _probe(name: str, field: str, expected: str, found: object, where: str | None) -> InputError:
    return InputError(f"model '{str(name)[:100]}': bad {field} of a probe", file=where, expected=expected, found=_short(found))


def _short(value: object) -> str:
    if isinstance(value, int) and value.bit_length() > 256:
        return "a number of hundreds of digits"
    return repr(value[:80] if isinstance(value, (str, bytes)) else value)
