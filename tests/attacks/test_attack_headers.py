"""Headers of safetensors, GGUF and ONNX files that lie, and paths that lead elsewhere. Numbers refer to README.md."""

from __future__ import annotations

import json
import struct
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from begat.errors import InputError
from begat.source import open_checkpoint


def refused(path: Path, problem: str, seconds: float = 5.0) -> str:
    start = time.monotonic()
    with pytest.raises(InputError, match=problem) as caught:
        open_checkpoint(path)
    assert time.monotonic() - start < seconds
    assert "\n" not in str(caught.value)
    assert str(caught.value).isprintable()
    return str(caught.value)


def tensors(file: Path, header: Any, data: bytes = b"", length: int | None = None) -> Path:
    blob = header if isinstance(header, bytes) else json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(blob) if length is None else length) + blob + data)
    return file


def one(**change: Any) -> dict[str, Any]:
    return {"w": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]} | change}


@pytest.mark.parametrize("length", [1 << 63, (1 << 64) - 1, 99_999_999, 100_000_001])
def test_30_header_longer_than_the_file(tmp_path: Path, length: int) -> None:
    refused(tensors(tmp_path / "m.safetensors", one(), bytes(24), length), "header does not fit")


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        (one(data_offsets=[0, 20]), "does not match shape"),
        (one(data_offsets=[24, 0]), "does not match shape"),
        (one(data_offsets=[8, 32]), "beyond the end"),
        (one(data_offsets=[-8, 16]), "not two positions"),
        (one(data_offsets=[0, 24, 48]), "not two positions"),
        (one(data_offsets=[0.0, 24.0]), "not two positions"),
        (one(data_offsets=[0, 10**4000]), "not two positions"),
        (one(data_offsets="0"), "not two positions"),
        (one(shape=[-2, -3]), "shape is not"),
        (one(shape=[True, 6]), "shape is not"),
        (one(shape=[2.0, 3.0]), "shape is not"),
        (one(shape=[1 << 62, 1 << 62]), "absurdly large"),
        (one(shape=[1 << 61, 0], data_offsets=[0, 0]), "absurdly large"),
        (one(shape=[1] * 100), "too many axes"),
        (one(shape=None), "shape is not"),
        (one(dtype="F33"), "unknown dtype"),
        (one(dtype=["F32"]), "unknown dtype"),
        (one(dtype={}), "unknown dtype"),
        (one(dtype="Q4_K"), "unknown dtype"),
        ({"w": []}, "not an object"),
        ([], "not a JSON object|not a weight file|header"),
        ({"v": one()["w"], "w": one(data_offsets=[16, 40])["w"]}, "beyond the end"),
        ({"v": one()["w"], "w": one(data_offsets=[0, 24])["w"]}, "overlaps"),
        ({"": one()["w"]}, "empty or too long"),
        ({"w" * 5000: one()["w"]}, "empty or too long"),
        ({"\ud800": one()["w"]}, "not valid Unicode"),
        (b'{"w": 1' + b"1" * 5000 + b"}", "not JSON"),
        (b"{" * 100_000, "not JSON"),
        (b'{"a":' * 100_000, "not JSON"),
        (b'{"w": \xff}', "not JSON"),
        (
            b'{"w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}',
            "listed twice",
        ),
    ],
)
def test_31_safetensors_headers_that_lie(tmp_path: Path, header: Any, problem: str) -> None:
    refused(tensors(tmp_path / "m.safetensors", header, bytes(24)), problem)


def test_32_json_that_swells(tmp_path: Path) -> None:
    """24 MB of "[]," would become over a gigabyte of lists."""
    refused(tensors(tmp_path / "m.safetensors", b'{"a":[' + b"[]," * 8_000_000 + b"[]]}"), "implausibly nested", 2)


@pytest.mark.parametrize("name", ["a\nb\r", "\x1b[2J\x1b]0;owned\x07", "\u202egnp.exe", "a\u2028b", "\x00", "<script>"])
def test_33_names_that_talk_to_the_terminal(tmp_path: Path, name: str) -> None:
    line = refused(tensors(tmp_path / "m.safetensors", {name: one(shape=[9])["w"]}, bytes(24)), "does not match shape")
    assert "\x1b" not in line


@pytest.mark.parametrize("name", ["../secret.safetensors", "/etc/passwd", "a/../../x", "..", "", "x\\y", "x\0y"])
def test_34_index_that_leads_out_of_its_folder(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    tensors(tmp_path / "secret.safetensors", one(), bytes(24))
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"w": name}}))
    refused(folder, "outside its folder")


def test_35_links_in_circles(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").symlink_to("b.safetensors")
    (tmp_path / "b.safetensors").symlink_to("a.safetensors")
    (tmp_path / "inner").symlink_to(tmp_path)
    refused(tmp_path, "link to a file that is not there")
    refused(tmp_path / "a.safetensors", "no such file|cannot be read")


def gguf(file: Path, *parts: bytes, tensors: int = 1, keys: int = 0, version: int = 3) -> Path:
    file.write_bytes(b"GGUF" + struct.pack("<IQQ", version, tensors, keys) + b"".join(parts) + bytes(300))
    return file


def text(value: bytes, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(value) if length is None else length) + value


HUGE = [1 << 31, 1 << 40, (1 << 63) - 1, (1 << 64) - 1]


@pytest.mark.parametrize("n", HUGE)
def test_40_gguf_counts(tmp_path: Path, n: int) -> None:
    refused(gguf(tmp_path / "m.gguf", tensors=n), "counts do not fit")
    refused(gguf(tmp_path / "m.gguf", keys=n), "counts do not fit")


@pytest.mark.parametrize("n", HUGE)
def test_41_gguf_lengths(tmp_path: Path, n: int) -> None:
    refused(gguf(tmp_path / "m.gguf", text(b"k", n), keys=1), "ends inside a metadata key")
    refused(gguf(tmp_path / "m.gguf", text(b"k"), struct.pack("<I", 8), text(b"v", n), keys=1), "ends inside a metadata value")
    for inner in (0, 4, 8, 9, 10, 12):
        array = struct.pack("<IIQ", 9, inner, n)
        refused(gguf(tmp_path / "m.gguf", text(b"k"), array, keys=1), "array does not fit|ends inside a metadata value")
    refused(gguf(tmp_path / "m.gguf", text(b"w", n)), "ends inside a tensor info")


@pytest.mark.parametrize("n", HUGE)
def test_42_gguf_shapes_and_offsets(tmp_path: Path, n: int) -> None:
    for dims, offset in (((n,), 0), ((n, n), 0), ((n, 0), 0), ((2,), n - n % 32)):
        info = text(b"w") + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, 0, offset)
        refused(gguf(tmp_path / "m.gguf", info), "absurdly large|beyond the end|shape is not")


def test_43_gguf_made_of_empty_strings(tmp_path: Path) -> None:
    """An array of 5 million empty strings: each takes a step, so their number is bounded."""
    array = text(b"k") + struct.pack("<IIQ", 9, 8, 5_000_000) + bytes(8 * 5_000_000)
    refused(gguf(tmp_path / "m.gguf", array, keys=1), "array does not fit", 2)


def test_44_gguf_nested_arrays(tmp_path: Path) -> None:
    array = text(b"k") + struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 100_000
    refused(gguf(tmp_path / "m.gguf", array, keys=1), "nesting", 1)


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(number: int, value: bytes | int) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def onnx(file: Path, graph: bytes) -> Path:
    file.write_bytes(field(1, 8) + field(7, graph))
    return file


def tensor(
    name: str = "a.weight", dims: tuple[int, ...] = (2, 3), kind: int = 1, raw: bytes | None = bytes(24), *more: bytes
) -> bytes:
    body = b"".join(field(1, d & (1 << 64) - 1) for d in dims) + field(2, kind) + field(8, name.encode())
    return field(5, body + (b"" if raw is None else field(9, raw)) + b"".join(more))


@pytest.mark.parametrize(
    ("graph", "problem"),
    [
        (tensor(dims=(2, 4)), "data size does not match"),
        (tensor(dims=(-2, -3)), "shape is not"),
        (tensor(dims=(1 << 62, 4)), "absurdly large"),
        (tensor(dims=(0, 1 << 62)), "absurdly large"),
        (tensor(dims=(1,) * 40), "too many axes"),
        (tensor(raw=None), "has no data"),
        (tensor() + tensor(), "there twice"),
        (tensor(name=""), "empty or too long"),
        (tensor(kind=77, dims=(64, 64), raw=bytes(4)), "type 77"),
        (b"\xff" * 20, "protobuf is damaged"),
        (field(5, b"\x0a\xff\xff\xff\xff\x7f"), "longer than its message"),
        (b"\x00\x00", "protobuf is damaged"),
        (b"\x0b", "protobuf is damaged"),
        (field(5, field(1, b"\x80" * 30)), "number without end"),
        (field(15, b""), "sparse"),
    ],
)
def test_50_onnx_graphs_that_lie(tmp_path: Path, graph: bytes, problem: str) -> None:
    refused(onnx(tmp_path / "m.onnx", graph), problem)


def test_51_onnx_nested_subgraphs(tmp_path: Path) -> None:
    graph = tensor()
    for _ in range(5000):
        graph = field(1, field(5, field(6, graph)))
    refused(onnx(tmp_path / "m.onnx", graph), "nested too deeply", 2)


def test_52_onnx_of_two_byte_fields(tmp_path: Path) -> None:
    refused(onnx(tmp_path / "m.onnx", field(99, 0) * 4_500_000), "implausibly many fields", 30)


def external(*pairs: tuple[str, str]) -> bytes:
    return b"".join(field(13, field(1, k.encode()) + field(2, v.encode())) for k, v in pairs) + field(14, 1)


@pytest.mark.parametrize(
    "where", ["../secret", "/etc/passwd", "a/../../secret", "..\\secret", "", ".", "C:secret", "a//b", "x\0y"]
)
def test_53_onnx_external_data_outside_the_folder(tmp_path: Path, where: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(bytes(24))
    refused(onnx(folder / "m.onnx", tensor("w.w", (2, 3), 1, None, external(("location", where)))), "outside the model's folder")


@pytest.mark.parametrize(
    ("pairs", "problem"),
    [
        ([("offset", "-8")], "no proper offset"),
        ([("offset", "1e3")], "no proper offset"),
        ([("offset", "9" * 5000)], "no proper offset"),
        ([("offset", "٣")], "no proper offset"),
        ([("offset", "8")], "does not fit"),
        ([("length", "23")], "does not fit"),
    ],
)
def test_54_onnx_external_data_that_does_not_fit(tmp_path: Path, pairs: list[tuple[str, str]], problem: str) -> None:
    (tmp_path / "data").write_bytes(bytes(24))
    more = external(("location", "./data"), *pairs)
    refused(onnx(tmp_path / "m.onnx", tensor("w.w", (2, 3), 1, None, more)), problem)
    onnx(tmp_path / "m.onnx", tensor("w.w", (2, 3), 1, None, external(("location", "./data"))))
    assert np.array_equal(open_checkpoint(tmp_path / "m.onnx").read("w.w"), np.zeros((2, 3)))


def test_55_scale_of_a_scale(tmp_path: Path) -> None:
    """A tensor that scales itself, and two that scale each other."""

    def node(op: str, inputs: list[str], output: str) -> bytes:
        return field(1, b"".join(field(1, i.encode()) for i in inputs) + field(2, output.encode()) + field(4, op.encode()))

    quantised = tensor("a.weight", (2, 3), 3, bytes(6)) + tensor("b.weight", (2, 3), 3, bytes(6))
    for graph in (
        node("DequantizeLinear", ["a.weight", "a.weight"], "x"),
        node("DequantizeLinear", ["a.weight", "b.weight"], "x") + node("DequantizeLinear", ["b.weight", "a.weight"], "y"),
        node("Identity", ["a.weight"], "a.weight") + node("Transpose", ["x"], "x") + node("MatMul", ["y", "a.weight"], "y"),
    ):
        try:
            checkpoint = open_checkpoint(onnx(tmp_path / "m.onnx", quantised + graph))
        except InputError:
            continue
        for name in checkpoint.entries:
            checkpoint.read(name)
