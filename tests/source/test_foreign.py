"""Formats that are not read are named, with what to do; files of formats that are read are never taken for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from begat.errors import InputError
from begat.source import open_checkpoint
from begat.source.foreign import parse

KNOWN = {
    "OpenVINO": ("openvino_model.bin", "openvino_model.xml"),
    "CTranslate2": ("model.bin", "vocabulary.json"),
    "DCP": ("__0_0.distcp", ".metadata"),
    "Flax": ("flax_model.msgpack",),
    "NeMo": ("model.nemo",),
    "HDF5": ("tf_model.h5",),
    "SavedModel": ("saved_model.pb",),
    "TensorFlow checkpoint": ("bert_model.ckpt.index",),
    "Lite": ("model.tflite",),
    "Core ML": ("model.mlmodel",),
    "tensorizer": ("model.tensors",),
    "DeepSpeed": ("zero_to_fp32.py",),
    "numpy": ("weights.npz",),
}


@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize("data", [b"", b"\x08\x01\x12\x05hello", bytes(200), b"\x93NUMPY or anything"])
def test_folders_and_files_are_named(tmp_path: Path, name: str, data: bytes) -> None:
    for file in KNOWN[name]:
        (tmp_path / file).write_bytes(data)
    (tmp_path / "config.json").write_text("{}")
    for where in (tmp_path, tmp_path / KNOWN[name][0]):
        if where.is_file() and data.startswith(b"\x08") and name != "Core ML":
            continue  # these bytes may begin an ONNX file
        if where.is_dir() and data.startswith(b"\x08") and name in ("OpenVINO", "CTranslate2"):
            continue
        with pytest.raises(InputError, match=f"{name}.*which is not read.*fix: "):
            open_checkpoint(where)


@pytest.mark.parametrize("name", KNOWN)
def test_weights_that_are_read_come_first(tmp_path: Path, name: str) -> None:
    save_file({"a.weight": np.ones((2, 3), np.float32)}, tmp_path / "model.safetensors")
    for file in KNOWN[name]:
        (tmp_path / file).write_bytes(b"x")
    assert list(open_checkpoint(tmp_path).entries) == ["a.weight"]


def test_a_checkpoint_under_any_name_is_read(tmp_path: Path) -> None:
    save_file({"a.weight": np.ones((2, 3), np.float32)}, tmp_path / "x.h5")
    assert list(open_checkpoint(tmp_path / "x.h5").entries) == ["a.weight"]


def test_the_table_is_strict() -> None:
    one = {"name": "x", "files": ["*.x"], "beside": [], "fix": "y"}
    assert parse({"format": [one]})[0].name == "x"
    for bad in ({"format": [one | {"more": 1}]}, {"format": [{"name": "x"}]}, {"formats": []}):
        with pytest.raises(ValueError, match=r"foreign\.toml"):
            parse(bad)
