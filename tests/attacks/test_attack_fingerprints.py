"""Hostile fingerprint files: one line, never a traceback, a hang or a wrong verdict."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load as oracle

from begat.errors import InputError
from begat.fingerprint import Fingerprint
from begat.fingerprint_file import MAX_BYTES, dumps, is_fingerprint, load, loads, save
from begat.pipeline.sketch import sketch
from builders import llama, write


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Fingerprint:
    folder = tmp_path_factory.mktemp("model")
    write(folder, *llama(np.random.default_rng(0), num_hidden_layers=2))
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"type": "WordLevel", "vocab": {f"t{i}": i for i in range(200)}}}))
    return sketch(folder)


def parts(blob: bytes) -> tuple[dict[str, Any], bytes]:
    length = int.from_bytes(blob[:8], "little")
    return json.loads(blob[8 : 8 + length]), blob[8 + length :]


def joined(header: dict[str, Any], data: bytes) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def changed(blob: bytes, **about: Any) -> bytes:
    header, data = parts(blob)
    old = json.loads(header["__metadata__"]["begat"])
    header["__metadata__"]["begat"] = json.dumps({k: v for k, v in (old | about).items() if v is not ...})
    return joined(header, data)


def test_round_trip_and_any_reader_of_safetensors(made: Fingerprint, tmp_path: Path) -> None:
    blob = dumps(made)
    again = loads(blob)
    assert dumps(again) == blob
    for field in dataclasses.fields(Fingerprint):
        if field.name not in ("orders", "contents", "probes"):
            assert getattr(again, field.name) == getattr(made, field.name)
    arrays = oracle(blob)
    assert sum(name.endswith(".bits") for name in arrays) == len(made.orders) + bool(made.contents) + 1
    assert (arrays["order.0.bits"] == made.orders[0].bits_SMB).all()
    save(made, tmp_path / "x.begat")
    assert is_fingerprint(tmp_path / "x.begat") and dumps(load(tmp_path / "x.begat")) == blob


@pytest.mark.parametrize("length", [0, 7, 8, 100, -1, -1000])
def test_truncated(made: Fingerprint, length: int) -> None:
    with pytest.raises(InputError):
        loads(dumps(made)[:length])


def test_trailing_bytes(made: Fingerprint) -> None:
    with pytest.raises(InputError, match="unused"):
        loads(dumps(made) + b"x")


@pytest.mark.parametrize(
    ("about", "words"),
    [
        ({"version": 2}, "version 2"),
        ({"version": True}, "no version"),
        ({"version": ...}, "no version"),
        ({"surprise": 1}, "unknown"),
        ({"layers": ...}, "missing"),
        ({"layers": -1}, "no count"),
        ({"layers": 1 << 70}, "no count"),
        ({"layers": 2.5}, "no count"),
        ({"name": "x" * 5000}, "short text"),
        ({"name": None}, "short text"),
        ({"towers": ["text", 3]}, "short texts"),
        ({"towers": []}, "impossible place"),
        ({"orders": {}}, "no list"),
        ({"orders": []}, "unknown arrays"),
        ({"probes": [["units", 0]]}, "wrong type or shape"),
        ({"notes": ["x"] * 100}, "short texts"),
    ],
)
def test_hostile_metadata(made: Fingerprint, about: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words) as err:
        loads(changed(dumps(made), **about))
    assert "\n" not in err.value.line()


@pytest.mark.parametrize(
    "order",
    [
        {"axis": "no-axis"}, {"frame": "other"}, {"units": 1}, {"units": True}, {"units": "96"}, {"label": 3}, {"extra": 1}, {"layout": "x" * 999},
    ],
)  # fmt: skip
def test_hostile_orders(made: Fingerprint, order: dict[str, Any]) -> None:
    blob = dumps(made)
    orders = json.loads(parts(blob)[0]["__metadata__"]["begat"])["orders"]
    with pytest.raises(InputError):
        loads(changed(blob, orders=[orders[0] | order, *orders[1:]]))


def test_one_group_listed_twice_would_multiply_its_evidence(made: Fingerprint) -> None:
    twice = dataclasses.replace(made, orders=(*made.orders, made.orders[0]))
    with pytest.raises(InputError, match="twice"):
        loads(dumps(twice))


def test_one_place_listed_twice_would_multiply_its_evidence(made: Fingerprint) -> None:
    group = next(o for o in made.orders if len(o.place_S3) == 2)
    place = np.repeat(group.place_S3[:1], 2, axis=0)
    orders = tuple(dataclasses.replace(o, place_S3=place) if o is group else o for o in made.orders)
    with pytest.raises(InputError, match="impossible place"):
        loads(dumps(dataclasses.replace(made, orders=orders)))


@pytest.mark.parametrize(
    "spec",
    [
        {"shape": [1 << 40, 64, 64]}, {"shape": [-1, 2, 3]}, {"shape": "abc"}, {"dtype": "F32"}, {"dtype": ["U8"]}, {"data_offsets": [0, 1 << 50]},
        {"data_offsets": [5]}, {"data_offsets": [-8, 0]}, {"shape": [1, 1, 1, 1, 1]},
    ],
)  # fmt: skip
def test_hostile_arrays(made: Fingerprint, spec: dict[str, Any]) -> None:
    header, data = parts(dumps(made))
    header["order.0.bits"] |= spec
    with pytest.raises(InputError):
        loads(joined(header, data))


def test_deep_json(made: Fingerprint) -> None:
    text = b'{"__metadata__":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    with pytest.raises(InputError):
        loads(len(text).to_bytes(8, "little") + text)


def line_of(blob: bytes) -> str:
    try:
        loads(blob)
    except InputError as err:
        return err.line()
    return ""


def test_random_flips_never_raise_anything_else(made: Fingerprint) -> None:
    blob, rng = bytearray(dumps(made)), np.random.default_rng(3)
    length = int.from_bytes(blob[:8], "little")
    refused = 0
    for _ in range(300):
        copy = bytearray(blob)
        for at in rng.integers(0, 8 + length, size=3):
            copy[at] = rng.integers(256)
        line = line_of(bytes(copy))
        refused += bool(line)
        assert "\n" not in line
    assert refused > 200


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "x").open("wb") as f:
        f.truncate(MAX_BYTES + 1)
    with pytest.raises(InputError, match="too large"):
        load(tmp_path / "x")
    with pytest.raises(InputError, match="cannot be read"):
        load(tmp_path / "absent")
    assert not is_fingerprint(tmp_path / "x")
