"""From a path to files: shards, indexes, odd folders, and things that are no files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from begat.errors import InputError
from begat.source import open_checkpoint

ONE = {"a.weight": np.ones((2, 3), np.float32)}
TWO = {"b.weight": np.ones((3, 2), np.float32)}


def refused(path: Path, problem: str) -> None:
    with pytest.raises(InputError, match=problem) as caught:
        open_checkpoint(path)
    assert "\n" not in str(caught.value)


def index(folder: Path, weight_map: object, name: str = "model.safetensors.index.json") -> Path:
    (folder / name).write_text(json.dumps({"weight_map": weight_map}))
    return folder / name


def test_file_folder_and_index(tmp_path: Path) -> None:
    save_file(ONE, tmp_path / "x.safetensors")
    save_file(TWO, tmp_path / "y.safetensors")
    at = index(tmp_path, {"a.weight": "x.safetensors", "b.weight": "y.safetensors"})
    for path in (tmp_path, at):
        assert list(open_checkpoint(path).entries) == ["a.weight", "b.weight"]
    assert list(open_checkpoint(tmp_path / "x.safetensors").entries) == ["a.weight"]


def test_shards_without_an_index(tmp_path: Path) -> None:
    save_file(ONE, tmp_path / "model-00001-of-00002.safetensors")
    refused(tmp_path, r"missing shard \(expected model-00002-of-00002\.safetensors")
    save_file(TWO, tmp_path / "model-00002-of-00002.safetensors")
    assert len(open_checkpoint(tmp_path).entries) == 2
    assert len(open_checkpoint(tmp_path / "model-00002-of-00002.safetensors").entries) == 2


def test_a_single_file_goes_before_a_stale_index(tmp_path: Path) -> None:
    save_file(ONE, tmp_path / "model.safetensors")
    index(tmp_path, {"x": "pytorch_model-00001-of-00002.bin"}, "pytorch_model.bin.index.json")
    assert list(open_checkpoint(tmp_path).entries) == ["a.weight"]


def test_a_tensor_in_two_shards(tmp_path: Path) -> None:
    save_file(ONE, tmp_path / "x.safetensors")
    save_file(ONE | TWO, tmp_path / "y.safetensors")
    refused(index(tmp_path, {"a.weight": "x.safetensors", "b.weight": "y.safetensors"}), "is also in x.safetensors")


def test_a_tensor_missing_from_its_shard(tmp_path: Path) -> None:
    save_file(ONE, tmp_path / "x.safetensors")
    refused(index(tmp_path, {"a.weight": "x.safetensors", "c.weight": "x.safetensors"}), "in the index but not in its shard")


@pytest.mark.parametrize("weight_map", [None, {}, [], {"a": 1}, "x"])
def test_damaged_index(tmp_path: Path, weight_map: object) -> None:
    refused(index(tmp_path, weight_map), "no weight_map")


def test_several_candidates(tmp_path: Path) -> None:
    save_file(ONE, tmp_path / "x.safetensors")
    save_file(TWO, tmp_path / "y.safetensors")
    refused(tmp_path, "several weight files")
    save_file(TWO, tmp_path / "model.safetensors")
    assert list(open_checkpoint(tmp_path).entries) == ["b.weight"]


def test_folders_without_weights(tmp_path: Path) -> None:
    refused(tmp_path, r"no weights in this folder .*an empty folder")
    (tmp_path / "config.json").write_text("{}")
    refused(tmp_path, r"no weights in this folder .*config\.json")
    (tmp_path / "model.safetensors").mkdir()
    refused(tmp_path, "no weights in this folder")
    refused(tmp_path / "model.safetensors", "no weights in this folder")
    refused(tmp_path / "nowhere", "no such file")


def test_files_that_are_no_weights(tmp_path: Path) -> None:
    (tmp_path / "vocab.bin").write_bytes(b"something else entirely")
    refused(tmp_path, "is no torch checkpoint")
    (tmp_path / "notes.txt").write_text("hello")
    refused(tmp_path / "notes.txt", "not a weight file begat knows")
    save_file(ONE, tmp_path / "model.safetensors")
    assert list(open_checkpoint(tmp_path).entries) == ["a.weight"]


def test_a_foreign_bin_does_not_hide_other_weights(tmp_path: Path) -> None:
    from source.test_gguf import build, info

    (tmp_path / "vocab.bin").write_bytes(b"something else entirely")
    build(tmp_path / "model.gguf", [info("w", (2,), 0, 0)], bytes(8))
    assert open_checkpoint(tmp_path).format == "gguf"


def test_training_leftovers_are_passed_over(tmp_path: Path) -> None:
    save_file(ONE, tmp_path / "pytorch_model.safetensors")
    save_file(TWO, tmp_path / "optimizer.safetensors")
    assert list(open_checkpoint(tmp_path).entries) == ["a.weight"]


def test_config(tmp_path: Path) -> None:
    save_file(ONE, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text('{"model_type": "x"}')
    assert open_checkpoint(tmp_path).config == {"model_type": "x"}
    assert open_checkpoint(tmp_path / "model.safetensors").config == {"model_type": "x"}
    for text in ("{", "[1]", "", "\x00", '{"a": ' + "1" * 5000 + "}", "[" * 100_000):
        (tmp_path / "config.json").write_text(text)
        refused(tmp_path, r"config\.json: is not")
    (tmp_path / "config.json").write_bytes(b'{"a": "\xff"}')
    refused(tmp_path, r"config\.json: is not JSON")


def test_links_pipes_and_devices(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").symlink_to(tmp_path / "absent")
    refused(tmp_path, "link to a file that is not there")
    refused(tmp_path / "model.safetensors", "no such file")
    (tmp_path / "loop.safetensors").symlink_to(tmp_path / "loop.safetensors")
    refused(tmp_path / "loop.safetensors", "no such file|cannot be read")
    os.mkfifo(tmp_path / "pipe.safetensors")
    refused(tmp_path / "pipe.safetensors", "neither a regular file")
    refused(Path(os.devnull), "neither a regular file")
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "loop.safetensors").unlink()
    refused(tmp_path, "no weights in this folder")


def test_a_shard_that_is_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.safetensors")
    refused(index(tmp_path, {"a.weight": "x.safetensors"}), "missing shard")


def test_a_file_that_becomes_shorter_while_open(tmp_path: Path) -> None:
    save_file(ONE, tmp_path / "model.safetensors")
    checkpoint = open_checkpoint(tmp_path)
    data = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(data[:-4])
    with pytest.raises(InputError, match="file ends inside a tensor"):
        checkpoint.read("a.weight")


def test_a_file_that_vanishes(tmp_path: Path) -> None:
    save_file(ONE, tmp_path / "model.safetensors")
    checkpoint = open_checkpoint(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(InputError, match="cannot be read"):
        checkpoint.read("a.weight")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_unreadable_files(tmp_path: Path) -> None:
    save_file(ONE, tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").chmod(0)
    refused(tmp_path, "cannot be read: Permission denied")


def test_empty_and_tensorless_files(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"")
    refused(tmp_path, "too short for a safetensors header")
    save_file({}, tmp_path / "model.safetensors")
    refused(tmp_path, "holds no tensors")


def test_safetensors_types_that_are_not_decoded_are_listed(tmp_path: Path) -> None:
    """One packed or complex tensor must not make a whole file unreadable; its size is still checked."""
    spec = {"w": ("F32", [2], 8), "four": ("F4", [4, 8], 16), "six": ("F6_E2M3", [4, 4], 12), "turn": ("C64", [3], 24)}
    header: dict[str, Any] = {}
    at = 0
    for name, (kind, shape, size) in spec.items():
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    blob = json.dumps(header).encode()
    file = tmp_path / "model.safetensors"
    file.write_bytes(len(blob).to_bytes(8, "little") + blob + bytes(at))
    checkpoint = open_checkpoint(file)
    assert list(checkpoint.entries) == ["w"]
    assert dict(checkpoint.skipped) == {n: f"numbers of type {spec[n][0]}" for n in ("four", "six", "turn")}
    wrong = json.dumps(header | {"four": header["four"] | {"shape": [4, 9]}}).encode()
    file.write_bytes(len(wrong).to_bytes(8, "little") + wrong + bytes(at))
    with pytest.raises(InputError, match="does not match shape"):
        open_checkpoint(file)
