"""Bad input: a one-line error that names file, tensor, expected, found and fix; exit code 2; never a traceback."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from builders import llama, write

Make = Callable[[Path], tuple[Path, Path]]


def begat(*args: str | Path) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"PYTHONIOENCODING": "utf-8"}
    return subprocess.run([sys.executable, "-m", "begat", *map(str, args)], capture_output=True, text=True, timeout=60, env=env)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("good")
    rng = np.random.default_rng(1)
    (a, c), (b, _) = llama(rng), llama(rng)
    return write(root / "a", a, c), write(root / "b", b, c)


def _edit_header(folder: Path, change: Callable[[dict[str, dict[str, object]]], None]) -> None:
    file = folder / "model.safetensors"
    blob = file.read_bytes()
    n = struct.unpack("<Q", blob[:8])[0]
    header = json.loads(blob[8 : 8 + n])
    change(header)
    new = json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(new)) + new + blob[8 + n :])


def _copy(tmp: Path, edit: Callable[[Path], None]) -> Path:
    rng = np.random.default_rng(2)
    folder = write(tmp / "bad", *llama(rng))
    edit(folder)
    return folder


Q = "model.layers.1.self_attn.q_proj.weight"


def truncated(f: Path) -> None:
    file = f / "model.safetensors"
    os.truncate(file, file.stat().st_size - 1000)


def header_too_large(f: Path) -> None:
    file = f / "model.safetensors"
    file.write_bytes(struct.pack("<Q", 1 << 40) + file.read_bytes()[8:])


def overlapping(f: Path) -> None:
    def change(h: dict[str, dict[str, object]]) -> None:
        begin, end = h[Q]["data_offsets"]  # type: ignore[misc]
        h[Q]["data_offsets"] = [begin - 64, end - 64]

    _edit_header(f, change)


def shape_mismatch(f: Path) -> None:
    _edit_header(f, lambda h: h[Q].update(shape=[95, 96]))


def dtype_mismatch(f: Path) -> None:
    _edit_header(f, lambda h: h[Q].update(dtype="F16"))


def unknown_dtype(f: Path) -> None:
    _edit_header(f, lambda h: h[Q].update(dtype="F99"))


def not_a_number(f: Path) -> None:
    _poke(f, np.nan)


def infinite(f: Path) -> None:
    _poke(f, np.inf)


def _poke(f: Path, value: float) -> None:
    rng = np.random.default_rng(2)
    tensors, config = llama(rng)
    tensors[Q][40, 3] = value
    write(f, tensors, config)


def no_tensors(f: Path) -> None:
    blob = b'{"__metadata__":{"format":"pt"}}'
    (f / "model.safetensors").write_bytes(struct.pack("<Q", len(blob)) + blob)


def no_weights(f: Path) -> None:
    (f / "model.safetensors").unlink()


def empty_file(f: Path) -> None:
    (f / "model.safetensors").write_bytes(b"")


def missing_shard(f: Path) -> None:
    (f / "model.safetensors").rename(f / "model-00001-of-00002.safetensors")
    index = {"weight_map": {Q: "model-00001-of-00002.safetensors", "lm_head.weight": "model-00002-of-00002.safetensors"}}
    (f / "model.safetensors.index.json").write_text(json.dumps(index))


def missing_numbered_shard(f: Path) -> None:
    (f / "model.safetensors").rename(f / "model-00001-of-00002.safetensors")


def bad_index(f: Path) -> None:
    (f / "model.safetensors").rename(f / "part.safetensors")
    (f / "model.safetensors.index.json").write_text("{")


def index_outside(f: Path) -> None:
    (f / "model.safetensors").rename(f / "part.safetensors")
    (f / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {Q: "../b/model.safetensors"}}))


def garbage(f: Path) -> None:
    (f / "model.safetensors").write_bytes(os.urandom(4096))


def inconsistent_layer(f: Path) -> None:
    tensors, config = llama(np.random.default_rng(4))
    tensors["model.layers.2.mlp.up_proj.weight"] = tensors["model.layers.2.mlp.up_proj.weight"][:-5]
    write(f, tensors, config)


CASES = {
    truncated: ["model.safetensors", "truncated"],
    header_too_large: ["model.safetensors", "header"],
    overlapping: [Q, "overlaps"],
    shape_mismatch: [Q, "expected", "found"],
    dtype_mismatch: [Q, "expected", "found"],
    unknown_dtype: [Q, "F99"],
    not_a_number: [Q, "NaN"],
    infinite: [Q, "infinity"],
    no_tensors: ["no tensors"],
    no_weights: ["no weights", "config.json"],
    empty_file: ["model.safetensors"],
    missing_shard: ["model-00002-of-00002.safetensors", "missing"],
    missing_numbered_shard: ["model-00002-of-00002.safetensors", "missing"],
    bad_index: ["model.safetensors.index.json"],
    index_outside: ["outside"],
    garbage: ["model.safetensors"],
    inconsistent_layer: ["model.layers.2.mlp"],
}


@pytest.mark.parametrize("edit", CASES, ids=lambda e: e.__name__)
def test_bad_input_is_one_line(edit: Callable[[Path], None], good: tuple[Path, Path], tmp_path: Path) -> None:
    bad = _copy(tmp_path, edit)
    for pair in ((good[0], bad), (bad, good[0])):
        done = begat("compare", *pair, "--json")
        assert done.returncode == 2, done.stdout + done.stderr
        assert done.stdout == ""
        lines = done.stderr.strip().splitlines()
        assert len(lines) == 1, done.stderr
        assert lines[0].startswith("begat: error: ")
        for word in CASES[edit]:
            assert word in lines[0]


def test_same_path_twice(good: tuple[Path, Path], tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(good[0])
    for other in (good[0], link, str(good[0]) + "/", good[0] / "model.safetensors"):
        done = begat("compare", good[0], other)
        assert done.returncode == 2
        assert len(done.stderr.strip().splitlines()) == 1


def test_no_such_path_and_bad_usage(good: tuple[Path, Path]) -> None:
    for args in (
        ["compare", good[0], good[0] / "nothing"],
        ["compare", good[0]],
        ["compare", *good, "--map", "x"],
        ["nothing"],
        ["compare", *good, "--base", good[0]],
    ):
        done = begat(*args)
        assert done.returncode == 2
        assert len(done.stderr.strip().splitlines()) == 1


def test_hostile_names_stay_on_one_line(good: tuple[Path, Path], tmp_path: Path) -> None:
    name = "evil\n\x1b[31m\u202ename"

    def edit(f: Path) -> None:
        _edit_header(f, lambda h: h.update({name: {"dtype": "F32", "shape": [2], "data_offsets": [0, 9]}}))

    done = begat("compare", good[0], _copy(tmp_path, edit))
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "\x1b" not in done.stderr
    assert "\u202e" not in done.stderr


def test_exit_codes(good: tuple[Path, Path], tmp_path: Path) -> None:
    assert begat("compare", *good).returncode == 0
    rng = np.random.default_rng(1)
    a, c = llama(rng)
    child = write(
        tmp_path / "child", {n: w + np.float32(0.001) * rng.standard_normal(w.shape).astype(np.float32) for n, w in a.items()}, c
    )
    assert begat("compare", good[0], child).returncode == 1
    tiny = {
        "hidden_size": 4,
        "intermediate_size": 4,
        "num_attention_heads": 1,
        "num_key_value_heads": 1,
        "head_dim": 4,
        "num_hidden_layers": 1,
        "vocab_size": 8,
    }
    pair = [write(tmp_path / f"tiny{i}", *llama(rng, **tiny)) for i in range(2)]
    assert begat("compare", *pair).returncode == 3
