"""torch checkpoints, mostly without torch: fixtures real torch wrote, and pickles written by hand."""

from __future__ import annotations

import io
import pickle
import struct
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from begat.errors import InputError
from begat.source import open_checkpoint
from begat.source.torch_archive import MAGIC
from source.fixtures.make import HERE, expected


@pytest.mark.parametrize("name", ["torch_zip.pt", "torch_legacy.bin"])
def test_files_real_torch_wrote(name: str) -> None:
    checkpoint = open_checkpoint(HERE / name)
    assert checkpoint.format == "torch"
    want = expected()
    assert list(checkpoint.entries) == list(want)
    for key, value in want.items():
        entry = checkpoint.entries[key]
        assert entry.shape == value.shape, key
        assert np.array_equal(checkpoint.read(key).reshape(value.shape), value.astype(np.float32)), key
        assert checkpoint.raw(key).tobytes() == np.ascontiguousarray(value).tobytes(), key
        if entry.rows > 1:
            some = np.array([entry.rows - 1, 0])
            assert np.array_equal(checkpoint.read(key, some, slice(1, 3)), value.astype(np.float32)[some, 1:3]), key
    assert dict(checkpoint.skipped) == {"optimizer": "training state, not weights", "history": "a numpy array, not a tensor"}
    assert checkpoint.entries["columns.weight"].strides == (5, 1)
    assert checkpoint.entries["tied.weight"].offset == checkpoint.entries["fused.weight"].offset


def test_a_slice_of_columns_is_read_without_its_neighbours() -> None:
    checkpoint = open_checkpoint(HERE / "torch_zip.pt")
    checkpoint.read("columns.weight", np.array([2, 7]))
    assert checkpoint.reader.bytes_read == 2 * 3 * 4


class Tensor:
    """Pickles like a torch tensor of float32 zeros without torch."""

    def __init__(self, key: str, shape: tuple[int, ...], strides: tuple[int, ...] | None = None, offset: int = 0, numel: int = 0):
        self.key, self.shape, self.offset = key, shape, offset
        self.strides = strides or tuple(int(np.prod(shape[i + 1 :], dtype=int)) for i in range(len(shape)))
        self.numel = numel or int(np.prod(shape, dtype=int))


class Name:
    """Pickles as a global."""

    def __init__(self, module: str, name: str):
        self.module, self.name = module, name


def dump(value: Any) -> bytes:
    """A protocol-2 pickle, written opcode by opcode."""
    out = io.BytesIO()
    out.write(b"\x80\x02")
    _put(out, value)
    out.write(b".")
    return out.getvalue()


def _put(out: io.BytesIO, value: Any) -> None:
    if isinstance(value, Tensor):
        _put(out, Name("torch._utils", "_rebuild_tensor_v2"))
        out.write(b"(")
        _put(out, ("storage", Name("torch", "FloatStorage"), value.key, "cpu", value.numel))
        out.write(b"Q")
        for part in (value.offset, value.shape, value.strides, False, {}):
            _put(out, part)
        out.write(b"tR")
    elif isinstance(value, Name):
        out.write(f"c{value.module}\n{value.name}\n".encode())
    elif isinstance(value, dict):
        out.write(b"}(")
        for key, item in value.items():
            _put(out, key)
            _put(out, item)
        out.write(b"u")
    elif isinstance(value, (tuple, list)):
        out.write(b"(")
        for item in value:
            _put(out, item)
        out.write(b"t" if isinstance(value, tuple) else b"l")
    else:
        out.write(pickle.dumps(value, 2)[2:-1])


def archive(
    file: Path, tree: Any, storages: dict[str, int] | None = None, compression: int = zipfile.ZIP_STORED, **extra: bytes
) -> Path:
    """A torch zip archive around hand-written pickle bytes or a tree; `storages`: key → number of float32 zeros."""
    with zipfile.ZipFile(file, "w", compression) as z:
        z.writestr("archive/data.pkl", tree if isinstance(tree, bytes) else dump(tree))
        for key, n in (storages or {}).items():
            z.writestr(f"archive/data/{key}", bytes(4 * n))
        for name, data in extra.items():
            z.writestr(f"archive/{name.replace('__', '/')}", data)
    return file


def names(file: Path) -> list[str]:
    return list(open_checkpoint(file).entries)


T = Tensor("0", (2, 3))


@pytest.mark.parametrize(
    ("tree", "want"),
    [
        ({"a.weight": T}, ["a.weight"]),
        ({"state_dict": {"a.weight": T}, "epoch": 1}, ["a.weight"]),
        ({"model": {"module": {"a": {"weight": T}}}}, ["a.weight"]),
        ({"state_dict": {"a": T}, "callbacks": {"best": T}}, ["a", "callbacks.best"]),
        ({"model": {"a": T}, "ema": {"a": T}}, ["model.a", "ema.a"]),
        ({"encoder": {"a": T}, "decoder": {"a": T}}, ["encoder.a", "decoder.a"]),
        ({"state_dict": {"a": T}, "a": T}, ["state_dict.a", "a"]),
        ([T, {"x": T}], ["0", "1.x"]),
        (T, ["tensor"]),
        ({"a": T, "optimizer_states": [{"m": T}], "lr_scheduler": {"x": T}}, ["a"]),
        ({3: T, ("odd", "key"): T}, ["3", "<tuple key 1>"]),
    ],
)
def test_names_of_nested_tensors(tmp_path: Path, tree: Any, want: list[str]) -> None:
    assert names(archive(tmp_path / "m.pt", tree, {"0": 6})) == want


def test_several_state_dicts_are_noted(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(archive(tmp_path / "m.pt", {"model": {"a": T}, "ema": {"a": T}}, {"0": 6}))
    assert "ema, model" in checkpoint.notes[0]


def test_cycles_and_repeats_end(tmp_path: Path) -> None:
    tensor = dump(T)[2:-1]
    looped = b"\x80\x02}q\x09(X\x01\x00\x00\x00a" + tensor + b"X\x01\x00\x00\x00bh\x09X\x01\x00\x00\x00ch\x09u."
    checkpoint = open_checkpoint(archive(tmp_path / "m.pt", looped, {"0": 6}))
    assert list(checkpoint.entries) == ["a"]
    assert checkpoint.skipped == (("b", "the same object as an earlier branch"), ("c", "the same object as an earlier branch"))


@pytest.mark.parametrize(
    ("tensor", "problem"),
    [
        (Tensor("0", (2, 4)), "shorter than its tensors"),
        (Tensor("0", (2, 3), offset=1, numel=6), "beyond its storage"),
        (Tensor("0", (2, 3), strides=(4, 1), numel=6), "beyond its storage"),
        (Tensor("0", (2, 3), strides=(1 << 61, 1), numel=6), "beyond its storage"),
        (Tensor("0", (2, 3), strides=(-1, 1), numel=6), "strides or offset"),
        (Tensor("0", (2, 3), strides=(3,), numel=6), "strides or offset"),
        (Tensor("0", (-2, 3), strides=(3, 1), numel=6), "shape is not"),
        (Tensor("0", (1 << 40, 1 << 40), strides=(0, 0), numel=6), "absurdly large"),
        (Tensor("0", (1 << 20, 1 << 10), strides=(0, 1), numel=6), "beyond its storage"),
        (Tensor("0", (1 << 24, 6), strides=(0, 1), numel=6), "far larger than its storage"),
        (Tensor("7", (2, 3)), "storage is missing"),
        (Tensor("0", (2, 3), offset=-4, numel=6), "strides or offset"),
        (Tensor("0", (2, 3), numel=-6), "damaged"),
    ],
)
def test_tensors_outside_their_storage(tmp_path: Path, tensor: Tensor, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        open_checkpoint(archive(tmp_path / "m.pt", {"w": tensor}, {"0": 6}))


def test_small_expanded_tensors_are_read(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(archive(tmp_path / "m.pt", {"w": Tensor("0", (5, 6), strides=(0, 1), numel=6)}, {"0": 6}))
    assert checkpoint.read("w").shape == (5, 6)


def test_archives_that_cannot_be_read(tmp_path: Path) -> None:
    def refused(problem: str, **extra: bytes) -> None:
        with pytest.raises(InputError, match=problem):
            open_checkpoint(archive(tmp_path / "m.pt", {"w": T}, {"0": 6}, **extra))

    refused("big-endian", byteorder=b"big")
    refused("TorchScript", code__model=b"def forward(): pass")
    refused("TorchScript", **{"constants.pkl": b"."})
    with pytest.raises(InputError, match="compressed"):
        open_checkpoint(archive(tmp_path / "m.pt", {"w": T}, {"0": 6}, compression=zipfile.ZIP_DEFLATED))
    with zipfile.ZipFile(tmp_path / "other.pt", "w") as z:
        z.writestr("readme.txt", "no checkpoint")
    with pytest.raises(InputError, match=r"expected one data\.pkl"):
        open_checkpoint(tmp_path / "other.pt")


def legacy(file: Path, tree: Any, storages: dict[str, int], protocol: int = 1001, little: bool = True) -> Path:
    head = pickle.dumps(MAGIC, 2) + pickle.dumps(protocol, 2) + pickle.dumps({"little_endian": little}, 2)
    data = b"".join(struct.pack("<q", n) + bytes(4 * n) for n in storages.values())
    file.write_bytes(head + dump(tree) + pickle.dumps(list(storages), 2) + data)
    return file


def test_old_format(tmp_path: Path) -> None:
    file = tmp_path / "m.bin"
    assert names(legacy(file, {"w": T}, {"0": 6})) == ["w"]
    for problem, call in {
        "unknown version": lambda: legacy(file, {"w": T}, {"0": 6}, protocol=1000),
        "big-endian": lambda: legacy(file, {"w": T}, {"0": 6}, little=False),
        "does not fit": lambda: legacy(file, {"w": T}, {"0": 5}),
        "lists one no tensor uses": lambda: legacy(file, {"w": T}, {"0": 6, "1": 4}),
        "storage is missing": lambda: legacy(file, {"w": T, "v": Tensor("1", (2, 2))}, {"0": 6}),
    }.items():
        call()
        with pytest.raises(InputError, match=problem):
            open_checkpoint(file)


def test_other_pickles_and_files(tmp_path: Path) -> None:
    file = tmp_path / "m.bin"
    for data, problem in {
        pickle.dumps({"w": [1, 2]}): "that torch.save did not write",
        b"": "empty",
        b"\0" * 257 + b"ustar" + bytes(200): "tar checkpoint",
        b"hello world": "is no torch checkpoint",
    }.items():
        file.write_bytes(data)
        with pytest.raises(InputError, match=problem):
            open_checkpoint(file)


def test_types_without_a_place_are_listed(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    state = {"w": torch.ones(2, 3), "rope": torch.ones(2, dtype=torch.complex64), "meta": torch.ones(2, device="meta")}
    torch.save(state, tmp_path / "m.pt")
    checkpoint = open_checkpoint(tmp_path / "m.pt")
    assert list(checkpoint.entries) == ["w"]
    assert dict(checkpoint.skipped) == {"rope": "numbers of type complex64", "meta": "meta tensor, saved without data"}


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("dtype", ["float8_e4m3fn", "float8_e5m2", "uint16", "int8", "bool", "bfloat16", "float64"])
def test_every_dtype_of_torch(tmp_path: Path, dtype: str, zipped: bool) -> None:
    torch = pytest.importorskip("torch")
    tensor = torch.arange(1, 13).reshape(3, 4).to(getattr(torch, dtype))
    want = tensor.to(torch.float32).numpy()
    torch.save({"w": tensor[1:]}, tmp_path / "m.pt", _use_new_zipfile_serialization=zipped)
    assert np.array_equal(open_checkpoint(tmp_path / "m.pt").read("w"), want[1:])


def test_whole_modules_are_refused(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.save({"w": torch.nn.Linear(2, 3)}, tmp_path / "module.pt")
    with pytest.raises(InputError, match=r"torch\.nn\.modules\.linear\.Linear"):
        open_checkpoint(tmp_path / "module.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 3)), tmp_path / "script.pt")
    with pytest.raises(InputError, match="TorchScript"):
        open_checkpoint(tmp_path / "script.pt")


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_old_format_in_every_pickle_protocol(tmp_path: Path, protocol: int) -> None:
    """From protocol 4 on the magic number stands behind a frame."""
    torch = pytest.importorskip("torch")
    w = torch.arange(12.0).reshape(3, 4)
    torch.save({"w": w}, tmp_path / "m.pt", _use_new_zipfile_serialization=False, pickle_protocol=protocol)
    assert np.array_equal(open_checkpoint(tmp_path / "m.pt").read("w"), w.numpy())


@pytest.mark.parametrize("zipped", [True, False])
def test_sparse_and_quantised_tensors_are_listed(tmp_path: Path, zipped: bool) -> None:
    torch = pytest.importorskip("torch")
    w = torch.arange(12.0).reshape(3, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        state = {
            "w": w, "coo": w.to_sparse(), "csr": w.to_sparse_csr(), "tensor": torch.quantize_per_tensor(w, 0.1, 3, torch.qint8),
            "rows": torch.quantize_per_channel(w, torch.ones(3), torch.zeros(3, dtype=torch.long), 0, torch.quint8),
        }  # fmt: skip
        torch.save(state, tmp_path / "m.pt", _use_new_zipfile_serialization=zipped)
    checkpoint = open_checkpoint(tmp_path / "m.pt")
    assert np.array_equal(checkpoint.read("w"), w.numpy())
    sparse, quantised = "a sparse tensor of torch", "a quantised tensor of torch"
    assert dict(checkpoint.skipped) == {"coo": sparse, "csr": sparse, "tensor": quantised, "rows": quantised}
