"""Equality needs no names: any two files that begat can open and that hold the same tensors are
identical, and nothing else is.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import begat
from begat import InputError
from begat.pipeline.same_content import same_content
from begat.report.html import render_html
from begat.report.json import load_schema, to_json
from begat.report.text import render_text
from begat.source import open_checkpoint
from builders import BF16, Tensors, llama, noisy, write
from source.format_builders import BUILDERS

RNG = np.random.default_rng(31)


def cnn(seed: int = 1) -> Tensors:
    """A convolution net: nobody knows its names; integers and scalars among its tensors."""
    rng = np.random.default_rng(seed)
    out: Tensors = {}
    for i in range(4):
        p = f"features.{i}."
        out[p + "conv.weight"] = rng.standard_normal((12, 12, 3, 3)).astype(np.float32)
        out[p + "bn.weight"] = np.ones(12, np.float32)
        out[p + "bn.running_var"] = rng.random(12).astype(np.float32)
        out[p + "bn.num_batches_tracked"] = np.array(40 + i)
    return out | {"classes": np.arange(7, dtype=np.int32), "empty": np.zeros((0, 3), np.float32)}


def folder(path: Path, tensors: Tensors, config: dict[str, Any] | None = None) -> Path:
    """As `builders.write`, but scalars stay scalars."""
    kept = {n: w for n, w in tensors.items() if w.shape == ()}
    write(path, {n: w for n, w in tensors.items() if n not in kept}, config or {})
    file = path / "model.safetensors"
    blob = file.read_bytes()
    size = int.from_bytes(blob[:8], "little")
    header, body = json.loads(blob[8 : 8 + size]), blob[8 + size :]
    for name, value in kept.items():
        kind = {"int64": "I64", "float32": "F32"}[value.dtype.name]
        header[name] = {"dtype": kind, "shape": [], "data_offsets": [len(body), len(body) + 8]}
        body += value.tobytes()
    head = json.dumps({n: header[n] for n in ("__metadata__", *tensors) if n in header}).encode()
    file.write_bytes(struct.pack("<Q", len(head)) + head + body)
    return path


def renamed(tensors: Tensors) -> Tensors:
    return {f"y{i}": w for i, w in reversed(list(enumerate(tensors.values())))}


def sharded(path: Path, tensors: Tensors) -> Path:
    from safetensors.numpy import save_file

    path.mkdir()
    names, where = list(tensors), {}
    for i in range(3):
        file = f"model-{i + 1:05d}-of-00003.safetensors"
        save_file({n: tensors[n] for n in names[i::3]}, path / file)
        where |= dict.fromkeys(names[i::3], file)
    (path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    return path


def as_torch(path: Path, tensors: Tensors, **more: Any) -> Path:
    torch = pytest.importorskip("torch")
    path.mkdir()
    torch.save(
        {n: torch.from_numpy(np.array(w)) for n, w in tensors.items()},
        path / "pytorch_model.bin",
        **more,
    )
    return path


WAYS: dict[str, Callable[[Path, Tensors], Path]] = {
    "copied": folder,
    "renamed and in another order": lambda p, t: folder(p, renamed(t)),
    "in another order": lambda p, t: folder(p, dict(reversed(list(t.items())))),
    "sharded": sharded,
    "sharded and renamed": lambda p, t: sharded(p, renamed(t)),
    "torch": as_torch,
    "torch, renamed": lambda p, t: as_torch(p, renamed(t)),
    "torch, the old format": lambda p, t: as_torch(p, t, _use_new_zipfile_serialization=False),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["cnn", "llama", "unnamed"])
def test_the_same_tensors_are_identical(way: str, kind: str, tmp_path: Path) -> None:
    tensors, config = (
        (cnn(), None) if kind == "cnn" else llama(np.random.default_rng(3), num_hidden_layers=2)
    )
    if kind == "unnamed":
        tensors, config = {f"x.{i}": w for i, w in enumerate(tensors.values())}, None
    a, b = folder(tmp_path / "a", tensors, config), WAYS[way](tmp_path / "b", tensors)
    for x, y in ((a, b), (b, a)):
        v = begat.compare(x, y)
        assert (v.verdict, v.direction, v.kind) == ("identical", "undetermined", "copy"), v.sentence
        assert v.equality is not None and v.equality.complete
        assert v.equality.compared == sum(w.size for w in tensors.values())
        assert all(p.status == "dependent" for p in v.parts)
        assert ("names of their tensors differ" in v.sentence) == ("renamed" in way)
        assert "Not covered" not in v.sentence and not any("not compared" in c for c in v.caveats)


def test_it_is_presented(tmp_path: Path) -> None:
    import jsonschema

    v = begat.compare(folder(tmp_path / "a", cnn()), folder(tmp_path / "b", renamed(cnn())))
    jsonschema.validate(to_json(v), load_schema())
    assert v.sentence in " ".join(render_text(v).split()) and "identical" in render_html(v)
    assert v.accounting is not None and v.accounting[0].stored == len(cnn())


CHANGES: dict[str, Callable[[Tensors], Tensors]] = {
    "one value of one tensor": lambda t: (
        t | {"features.2.conv.weight": _poked(t["features.2.conv.weight"])}
    ),
    "one integer": lambda t: t | {"features.3.bn.num_batches_tracked": np.array(44)},
    "a number type": lambda t: t | {"classes": t["classes"].astype(np.int64)},
    "a shape": lambda t: (
        t | {"features.0.conv.weight": t["features.0.conv.weight"].reshape(12, 12, 9)}
    ),
    "a tensor more": lambda t: t | {"more": np.arange(4, dtype=np.float32)},
    "a copy more": lambda t: t | {"more": t["features.0.conv.weight"]},
    "a tensor twice for another": lambda t: (
        t | {"features.0.conv.weight": t["features.1.conv.weight"]}
    ),
    "the sign of a zero": lambda t: (
        t
        | {"features.0.bn.weight": np.r_[t["features.0.bn.weight"][:-1], [-0.0]].astype(np.float32)}
    ),
    "training": lambda t: {
        n: noisy({n: w}, RNG, 0.01)[n] if w.dtype == np.float32 and w.size else w
        for n, w in t.items()
    },
}


def _poked(w: np.ndarray) -> np.ndarray:
    out = w.copy()
    out.reshape(-1)[out.size // 3] += 1
    return out


@pytest.mark.parametrize("change", CHANGES)
def test_anything_else_is_not(change: str, tmp_path: Path) -> None:
    tensors = cnn()
    a, b = folder(tmp_path / "a", tensors), folder(tmp_path / "b", CHANGES[change](tensors))
    v = begat.compare(a, b)
    assert v.verdict != "identical" and v.verdict != "re-encoded", v.sentence
    c = folder(tmp_path / "c", renamed(CHANGES[change](tensors)))
    assert begat.compare(a, c).verdict == "cannot-test"


def test_constants_are_equal_in_all_models(tmp_path: Path) -> None:
    flat = {
        "a.gain": np.ones(900, np.float32),
        "b.bias": np.zeros((30, 30), np.float32),
        "n": np.array(7),
    }
    v = begat.compare(folder(tmp_path / "a", flat), folder(tmp_path / "b", flat))
    assert v.verdict == "cannot-test"
    assert (
        begat.compare(
            folder(tmp_path / "c", flat | {"w": np.arange(3.0)}),
            folder(tmp_path / "d", flat | {"w": np.arange(3.0)}),
        ).verdict
        == "identical"
    )


def test_layers_in_another_order_are_the_same_tensors_at_another_place(tmp_path: Path) -> None:
    tensors, config = llama(np.random.default_rng(4), num_hidden_layers=4)
    swapped = {
        n.replace(".0.", ".x.").replace(".2.", ".0.").replace(".x.", ".2."): w
        for n, w in tensors.items()
    }
    v = begat.compare(
        folder(tmp_path / "a", tensors, config), folder(tmp_path / "b", swapped, config)
    )
    assert (
        v.verdict == "identical"
        and "in another order: 18 of 39 tensors stand at another place" in v.sentence
    )
    assert {p.status for p in v.parts} == {"dependent"}


def test_files_that_hold_what_is_not_read_are_compared_byte_by_byte(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    state = {n: torch.from_numpy(np.array(w)) for n, w in cnn().items()} | {
        "phase": torch.full((3,), 1j, dtype=torch.complex64)
    }
    for name, value in (("a", 1j), ("b", 1j), ("c", 2j)):
        (tmp_path / name).mkdir()
        torch.save(
            state | {"phase": torch.full((3,), value, dtype=torch.complex64)},
            tmp_path / name / "pytorch_model.bin",
        )
    shutil.copy(tmp_path / "a" / "pytorch_model.bin", tmp_path / "b" / "pytorch_model.bin")
    assert begat.compare(tmp_path / "a", tmp_path / "b").verdict == "identical"
    assert begat.compare(tmp_path / "a", tmp_path / "c").verdict == "cannot-test"


def test_a_tensor_that_torch_stores_once_under_two_names(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    tensors = {n: w for n, w in cnn().items() if w.size}
    state = {n: torch.from_numpy(np.array(w)) for n, w in tensors.items()}
    (tmp_path / "a").mkdir()
    torch.save(
        state | {"again": state["features.0.conv.weight"]}, tmp_path / "a" / "pytorch_model.bin"
    )
    assert begat.compare(tmp_path / "a", folder(tmp_path / "b", tensors)).verdict == "identical"


def test_quantised_files(tmp_path: Path) -> None:
    """Stored integers and their scales are compared as they lie in the file."""
    tensors = {f"w{i}": RNG.integers(-99, 99, (16, 16)).astype(np.int8) for i in range(3)}
    tensors |= {f"w{i}_scale": RNG.random(16).astype(np.float32) for i in range(3)}
    a = folder(tmp_path / "a", tensors)
    assert begat.compare(a, folder(tmp_path / "b", tensors)).verdict == "identical"
    moved = tensors | {"w1_scale": tensors["w1_scale"][::-1].copy()}
    assert begat.compare(a, folder(tmp_path / "c", moved)).verdict == "cannot-test"


def test_copies_of_what_begat_refuses_are_identical(tmp_path: Path) -> None:
    """A value that is not finite, tensors that do not fit each other: an error, but not between
    copies."""
    tensors, config = llama(np.random.default_rng(5), num_hidden_layers=2)
    tensors["model.layers.1.mlp.up_proj.weight"] = tensors["model.layers.1.mlp.up_proj.weight"][:-5]
    tensors["model.norm.weight"] = np.full(96, np.nan, np.float32)
    a, b = folder(tmp_path / "a", tensors, config), folder(tmp_path / "b", tensors, config)
    assert begat.compare(a, b).verdict == "identical"
    with pytest.raises(InputError):
        begat.compare(
            a, folder(tmp_path / "c", *llama(np.random.default_rng(6), num_hidden_layers=2))
        )


def test_the_same_file_twice_is_still_an_error(tmp_path: Path) -> None:
    a = folder(tmp_path / "a", cnn())
    (tmp_path / "link").symlink_to(a)
    (tmp_path / "b").mkdir()
    os.link(a / "model.safetensors", tmp_path / "b" / "model.safetensors")
    for other in (a, tmp_path / "link", a / "model.safetensors"):
        with pytest.raises(InputError):
            begat.compare(a, other)
    with pytest.raises(InputError, match="is named twice"):
        begat.compare(a / "model.safetensors", tmp_path / "b" / "model.safetensors")


def test_an_adapter_and_its_copy(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    for name, alpha in (("a", 8), ("b", 8), ("c", 16)):
        (tmp_path / name).mkdir()
        rng = np.random.default_rng(7)
        factors = {
            f"base_model.model.x.lora_{s}.weight": rng.random((4, 4), np.float32) for s in "AB"
        }
        save_file(factors, tmp_path / name / "adapter_model.safetensors")
        (tmp_path / name / "adapter_config.json").write_text(
            json.dumps({"peft_type": "LORA", "r": 4, "lora_alpha": alpha})
        )
    assert begat.compare(tmp_path / "a", tmp_path / "b").verdict == "identical"


def test_an_ordinary_pair_reads_next_to_nothing_more(tmp_path: Path) -> None:
    """Strangers, a child, a child of which all but one matrix is its parent's, other shapes."""
    rng = np.random.default_rng(8)
    tensors, config = llama(rng, hidden_size=192, intermediate_size=512, vocab_size=1000)
    up = "model.layers.3.mlp.up_proj.weight"
    others = {
        "child": noisy(tensors, rng, 0.1),
        "stranger": llama(rng, hidden_size=192, intermediate_size=512, vocab_size=1000)[0],
        "one matrix": tensors | {up: noisy({up: tensors[up]}, rng, 0.1)[up]},
        "merged": {n: 0.5 * w for n, w in tensors.items()},
        "shapes": llama(rng, hidden_size=192, intermediate_size=500, vocab_size=1000)[0],
        "types": {n: w.astype(BF16) for n, w in tensors.items()},
    }
    a = open_checkpoint(folder(tmp_path / "a", tensors, config))
    for name, other in others.items():
        b = open_checkpoint(folder(tmp_path / name, other, config))
        before = a.reader.bytes_read + b.reader.bytes_read
        assert same_content(a, b) is None
        assert a.reader.bytes_read + b.reader.bytes_read == before
        assert _read_by(lambda b=b: same_content(a, b)) < (
            0.02 * (a.nbytes + b.nbytes) if name not in ("shapes", "types") else 1
        )


def _read_by(work: Callable[[], object]) -> int:
    """Bytes that reads of files asked for."""
    from begat.source import reader

    total, plain = 0, reader.os.preadv

    def counted(fd: int, buffers: list[memoryview], offset: int) -> int:
        nonlocal total
        n = plain(fd, buffers, offset)
        total += n
        return n

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader.os, "preadv", counted)
        work()
    return total


def test_a_sparse_change_deep_inside_is_found(tmp_path: Path) -> None:
    """What a few bytes of every tensor do not show is read whole before "identical" is said."""
    tensors = {
        "w": RNG.standard_normal((3000, 1500)).astype(np.float32),
        "v": RNG.standard_normal(9_000_000).astype(np.float32),
    }
    a = folder(tmp_path / "a", tensors)
    assert begat.compare(a, folder(tmp_path / "b", renamed(tensors))).verdict == "identical"
    for i, name in enumerate(tensors):
        changed = tensors | {name: _poked(tensors[name])}
        assert begat.compare(a, folder(tmp_path / f"c{i}", changed)).verdict == "cannot-test"


@pytest.mark.parametrize("name", BUILDERS)
def test_copies_in_every_format_are_identical(name: str, tmp_path: Path) -> None:
    """What the oracles of the formats write, copied file by file."""
    (tmp_path / "made").mkdir()
    built = BUILDERS[name](tmp_path / "made")
    shutil.copytree(tmp_path / "made", tmp_path / "copy")
    other = tmp_path / "copy" / built.path.relative_to(tmp_path / "made")
    v = begat.compare(built.path, other, base=built.base)
    assert v.verdict == "identical", v.sentence
