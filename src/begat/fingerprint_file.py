"""Fingerprint files: the format on disk, and nothing else.

Enters and leaves: a `Fingerprint`, or the bytes of one.  The format is safetensors (header of JSON, then arrays), so that any reader of those can look
into one; docs/fingerprint.md describes it. Files come from strangers: everything is checked before it is used, and nothing in one is ever executed.
"""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from begat.errors import InputError, printable
from begat.files import write_whole
from begat.fingerprint import BITS, PROBE_BITS, SLOT_BITS, SLOTS, VERSION, ContentBits, Fingerprint, OrderBits, Probe

#: larger files are no fingerprints
MAX_BYTES = 16 << 20
_TEXTS = ("name", "format", "family", "header_digest", "tool")
_COUNTS = ("parameters", "layers", "stored", "unmapped", "bytes_read", "bytes_total", "anchors")
_ORDER = ("axis", "label", "frame", "layout", "units")
_TYPES = {"U8": np.uint8, "I32": np.int32, "BOOL": np.bool_}
_NAMES = {np.dtype(t): name for name, t in _TYPES.items()}
_MOST_SITES, _MOST_UNITS, _MOST_LAYER = 1 << 16, 4096, 1 << 20
_AGAIN = "sketch the model again"


def digest(blob: bytes) -> str:
    """The id of a fingerprint: sha256 hex of its bytes."""
    return hashlib.sha256(blob).hexdigest()


def dumps(f: Fingerprint) -> bytes:
    """The bytes of a fingerprint file; equal fingerprints have equal bytes."""
    arrays: dict[str, np.ndarray] = {}
    for i, order in enumerate(f.orders):
        arrays |= {f"order.{i}.bits": order.bits_SMB, f"order.{i}.place": order.place_S3}
        arrays |= {f"order.{i}.by_index": order.by_index_S, f"order.{i}.digest": order.digest_S8}
    if f.contents:
        arrays["content.bits"] = np.stack([c.bits_KB for c in f.contents])
        arrays["content.place"] = np.array([[c.layer, c.expert] for c in f.contents], dtype=np.int32)
    if f.probes:
        arrays["probe.bits"] = np.stack([p.bits for p in f.probes])
    about: dict[str, Any] = {"version": f.version, **{k: getattr(f, k) for k in (*_TEXTS, *_COUNTS)}}
    about |= {"towers": list(f.towers), "notes": list(f.notes)}
    about["orders"] = [{k: getattr(o, k) for k in _ORDER} for o in f.orders]
    about["probes"] = [[p.kind, p.layer, p.part] for p in f.probes]
    header: dict[str, Any] = {"__metadata__": {"format": "begat fingerprint", "begat": json.dumps(about, sort_keys=True)}}
    at, parts = 0, []
    for name, x in sorted(arrays.items()):
        raw = np.ascontiguousarray(x).tobytes()
        header[name] = {"dtype": _NAMES[x.dtype], "shape": list(x.shape), "data_offsets": [at, at + len(raw)]}
        parts.append(raw)
        at += len(raw)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(parts)


def save(f: Fingerprint, path: str | Path) -> str:
    """Write a fingerprint file; returns its id. Raises InputError when it cannot be written."""
    blob = dumps(f)
    write_whole(path, blob, "fingerprint")
    return digest(blob)


def load(path: str | Path) -> Fingerprint:
    """Read a fingerprint file. Raises InputError on anything that is none."""
    try:
        if Path(path).stat().st_size > MAX_BYTES:
            raise InputError("is too large for a fingerprint", file=path, expected=f"at most {MAX_BYTES} bytes", fix=_AGAIN)
        blob = Path(path).read_bytes()
    except OSError as err:
        raise InputError(f"cannot be read: {err.strerror or type(err).__name__}", file=path) from None
    return loads(blob, path)


def is_fingerprint(path: str | Path) -> bool:
    """Does this file say it is a fingerprint? (Whether it is a sound one, `load` finds out.)"""
    try:
        with Path(path).open("rb") as f:
            head = f.read(8 + 4096)
    except OSError:
        return False
    return head[8:9] == b"{" and b'"begat fingerprint"' in head


def loads(blob: bytes, path: str | Path = "fingerprint") -> Fingerprint:
    """A fingerprint from its bytes; `path` is for errors."""
    try:
        return _loads(blob)
    except _Bad as err:
        raise InputError(f"is no fingerprint begat can use: {err}", file=path, fix=_AGAIN) from None


class _Bad(Exception):
    """What is wrong, in words."""


def _need(ok: bool, problem: str, name: str = "") -> None:
    """`problem` may hold one {} for a name from the file, which is made printable only where it is shown."""
    if not ok:
        raise _Bad(problem.replace("{}", printable(name, 40)) if name else problem)


def _loads(blob: bytes) -> Fingerprint:
    _need(len(blob) > 8, "too short")
    length = int.from_bytes(blob[:8], "little")
    _need(length <= len(blob) - 8, "its header does not fit the file")
    header = _json(blob[8 : 8 + length])
    metadata = header.pop("__metadata__", None)
    _need(isinstance(metadata, dict) and metadata.get("format") == "begat fingerprint", "its header does not say so")
    about = _json(str(metadata.get("begat")).encode())
    version = about.pop("version", None)
    _need(type(version) is int, "no version")
    _need(version == VERSION, f"made with format version {printable(version, 20)}, this begat reads version {VERSION}")
    arrays = {name: _array(name, spec, memoryview(blob)[8 + length :]) for name, spec in header.items()}
    _need(sum(x.nbytes for x in arrays.values()) == len(blob) - 8 - length, "arrays overlap or leave bytes unused")
    known = {*_TEXTS, *_COUNTS, "towers", "notes", "orders", "probes"}
    _need(set(about) == known, f"fields {sorted(set(about) ^ known)[:3]} are missing or unknown".replace("'", ""))
    for k in _TEXTS:
        _need(isinstance(about[k], str) and len(about[k]) <= 400, f"{k} is no short text")
    for k in _COUNTS:
        _need(type(about[k]) is int and 0 <= about[k] < 1 << 62, f"{k} is no count")
    towers, notes = (_texts(about[k], k) for k in ("towers", "notes"))
    orders = _orders(about["orders"], arrays, len(towers))
    made = Fingerprint(
        **{k: about[k] for k in (*_TEXTS, *_COUNTS)}, towers=towers, notes=notes, orders=orders,
        contents=_contents(arrays), probes=_probes(about["probes"], arrays), version=version,
    )  # fmt: skip
    _need(not arrays, f"unknown arrays: {', '.join(printable(n, 40) for n in list(arrays)[:3])}")
    return made


def _json(text: bytes) -> dict[str, Any]:
    try:
        out = json.loads(text)
    except (ValueError, RecursionError):
        raise _Bad("its header is no JSON") from None
    _need(isinstance(out, dict), "its header is no JSON object")
    return out  # type: ignore[no-any-return]


def _array(name: str, spec: Any, data: memoryview) -> np.ndarray:
    _need(
        isinstance(spec, dict) and set(spec) == {"dtype", "shape", "data_offsets"},
        "array {} is not described", name,
    )
    shape, offsets, dtype = spec["shape"], spec["data_offsets"], spec["dtype"]
    _need(isinstance(dtype, str) and dtype in _TYPES, "array {} has a type that fingerprints do not use", name)
    whole = [isinstance(x, list) and all(type(n) is int and n >= 0 for n in x) for x in (shape, offsets)]
    _need(all(whole) and len(shape) <= 3 and len(offsets) == 2, "array {} has no sound shape", name)
    kind = np.dtype(_TYPES[dtype])
    _need(
        offsets[0] + math.prod(shape) * kind.itemsize == offsets[1] <= len(data),
        "array {} does not fit the file", name,
    )
    raw = np.frombuffer(data[offsets[0] : offsets[1]], dtype=np.uint8 if dtype == "BOOL" else kind)
    return (raw != 0 if dtype == "BOOL" else raw).reshape(shape)


def _texts(x: Any, what: str) -> tuple[str, ...]:
    _need(
        isinstance(x, list) and len(x) <= 64 and all(isinstance(t, str) and len(t) <= 1000 for t in x),
        f"{what} are no short texts",
    )
    return tuple(x)


def _take(arrays: dict[str, np.ndarray], name: str, dtype: type, shape: tuple[int | None, ...]) -> np.ndarray:
    _need(name in arrays, f"array {name} is missing")
    x = arrays.pop(name)
    fits = x.dtype == dtype and len(x.shape) == len(shape) and all(n in (None, m) for n, m in zip(shape, x.shape, strict=True))
    _need(fits, f"array {name} has the wrong type or shape")
    return x


def _orders(listed: Any, arrays: dict[str, np.ndarray], towers: int) -> tuple[OrderBits, ...]:
    from begat.signals.axes import AXES

    _need(isinstance(listed, list) and len(listed) <= 4096, "orders are no list")
    out: list[OrderBits] = []
    for i, o in enumerate(listed):
        _need(isinstance(o, dict) and set(o) == set(_ORDER), f"order {i} is not described")
        _need(
            all(isinstance(o[k], str) and len(o[k]) <= 200 for k in _ORDER[:4]) and type(o["units"]) is int,
            f"order {i} is not described",
        )
        _need(o["axis"] in set(AXES) and o["frame"] in ("stored", "tokens"), f"order {i} has an unknown axis or frame")
        bits = _take(arrays, f"order.{i}.bits", np.uint8, (None, None, BITS // 8))
        sites, m = bits.shape[:2]
        _need(0 < sites <= _MOST_SITES and 1 < m <= min(_MOST_UNITS, o["units"]), f"order {i} has an impossible size")
        place = _take(arrays, f"order.{i}.place", np.int32, (sites, 3))
        sound = (
            (place[:, 0] >= 0).all()
            and (place[:, 0] < towers).all()
            and (place[:, 1:] >= -1).all()
            and (place[:, 1:] < _MOST_LAYER).all()
        )
        _need(bool(sound) and len(np.unique(place, axis=0)) == sites, f"order {i} has an impossible place")
        by_index = _take(arrays, f"order.{i}.by_index", np.bool_, (sites,))
        out.append(
            OrderBits(
                **o,
                place_S3=place,
                bits_SMB=bits,
                by_index_S=by_index,
                digest_S8=_take(arrays, f"order.{i}.digest", np.uint8, (sites, 8)),
            )
        )
    _need(len({o.key for o in out}) == len(out), "an order is listed twice")
    return tuple(out)


def _contents(arrays: dict[str, np.ndarray]) -> tuple[ContentBits, ...]:
    if "content.bits" not in arrays:
        return ()
    bits = _take(arrays, "content.bits", np.uint8, (None, SLOTS, SLOT_BITS // 8))
    place = _take(arrays, "content.place", np.int32, (len(bits), 2))
    _need(len(bits) <= 256, "too many units chosen by content")
    return tuple(ContentBits(int(p[0]), int(p[1]), b) for p, b in zip(place, bits, strict=True))


def _probes(listed: Any, arrays: dict[str, np.ndarray]) -> tuple[Probe, ...]:
    _need(isinstance(listed, list) and len(listed) <= 4096, "probes are no list")
    if not listed:
        return ()
    bits = _take(arrays, "probe.bits", np.uint8, (len(listed), PROBE_BITS // 8))
    for p in listed:
        sound = (
            isinstance(p, list)
            and [type(x) for x in p] == [str, int, str]
            and len(p[0]) <= 40
            and -1 <= p[1] < _MOST_LAYER
            and len(p[2]) <= 80
        )
        _need(sound, "a probe is not described")
    return tuple(Probe(p[0], p[1], p[2], b) for p, b in zip(listed, bits, strict=True))
