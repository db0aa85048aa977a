"""Vectors of any length are read in pieces: a hostile gain costs time, not memory."""

from __future__ import annotations

import json
import struct
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import begat
from begat import InputError
from begat.canon.resolve import resolve
from begat.index.family import family_tree
from begat.pipeline.same_content import same_content
from begat.source import open_checkpoint
from begat.source.pieces import pieces, runs
from begat.types import TensorEntry
from builders import Tensors, llama, noisy, write

HUGE = 40_000_000
#: bytes that may be held at once: half of what one such vector takes as float32
BOUND = HUGE * 4 // 2


def sparse(folder: Path, tensors: Tensors, config: dict, huge: str) -> Path:
    """A checkpoint with a vector of zeros of `HUGE` values, of which the disk holds nothing."""
    folder.mkdir()
    header, body = {}, b""
    for name, w in tensors.items():
        header[name] = {
            "dtype": "F32",
            "shape": list(w.shape),
            "data_offsets": [len(body), len(body) + w.nbytes],
        }
        body += w.tobytes()
    header[huge] = {
        "dtype": "F32",
        "shape": [HUGE],
        "data_offsets": [len(body), len(body) + 4 * HUGE],
    }
    head = json.dumps(header).encode()
    with (folder / "model.safetensors").open("wb") as f:
        f.write(struct.pack("<Q", len(head)) + head + body)
        f.truncate(8 + len(head) + len(body) + 4 * HUGE)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def peak(work: Callable[[], object]) -> int:
    """Most bytes that Python and numpy held at once while `work` ran."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


WHERE = {
    "gain": "model.norm.weight",
    "another gain": "model.layers.0.self_attn.q_norm.weight",
    "no name": "odd.thing",
}
WORK: dict[str, Callable[[Path, Path, Path], object]] = {
    "compare": lambda a, b, same: begat.compare(a, b, published=True),
    "compare equals": lambda a, b, same: begat.compare(a, same),
    "compare, sampled": lambda a, b, same: begat.compare(a, b, map="sampled"),
    "inspect": lambda a, b, same: begat.inspect(a, full=True),
    "decompose": lambda a, b, same: begat.decompose(b, [a]),
    "tree": lambda a, b, same: family_tree([a, b]),
}


@pytest.mark.parametrize("where", WHERE)
def test_a_huge_vector_is_never_held_whole(where: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    tensors, config = llama(rng, num_hidden_layers=2)
    tensors.pop(WHERE[where], None)
    made = {"a": tensors, "b": noisy(tensors, rng, 0.1), "same": tensors}
    a, b, same = (sparse(tmp_path / n, t, config, WHERE[where]) for n, t in made.items())
    for name, work in WORK.items():
        assert peak(lambda work=work: work(a, b, same)) < BOUND, name


def test_a_stranger_with_one_is_compared_too(tmp_path: Path) -> None:
    """Alignment folds gains into matrices: one of another size stands before none."""
    rng = np.random.default_rng(2)
    models = []
    for name in "ab":
        tensors, config = llama(rng, num_hidden_layers=2)
        tensors.pop("model.norm.weight")
        models.append(sparse(tmp_path / name, tensors, config, "model.norm.weight"))
    found: list[begat.Verdict] = []
    assert peak(lambda: found.append(begat.compare(*models))) < BOUND
    assert found[0].verdict in ("no-evidence", "cannot-test")


def test_a_bias_or_gain_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    tensors, config = llama(np.random.default_rng(3), num_hidden_layers=2)
    name = "model.layers.1.input_layernorm.weight"
    tensors.pop(name)
    bad = sparse(tmp_path / "a", tensors, config, name)
    with pytest.raises(InputError, match="shape does not fit"):
        begat.inspect(bad)


# --- pieces ---


@pytest.mark.parametrize(
    "shape", [(), (1,), (7,), (100,), (3, 5), (1, 100), (100, 1), (40, 3, 2), (0, 4), (3, 0)]
)
@pytest.mark.parametrize("most", [1, 7, 64, 10_000])
def test_pieces_cover_every_value_once(shape: tuple[int, ...], most: int, tmp_path: Path) -> None:
    entry = TensorEntry("w", shape, "F32", tmp_path / "x", 0, 4 * int(np.prod(shape)))
    seen = np.zeros((entry.rows, entry.cols), dtype=int)
    for rows, cols in pieces(entry, most):
        at = slice(None) if cols is None else cols
        seen[np.asarray(rows)[:, None], np.arange(entry.cols)[at][None, :]] += 1
        assert len(rows) * len(range(entry.cols)[at]) <= max(most, 1)
    assert (seen == 1).all()
    assert [i for r in runs(10, 4) for i in r] == list(range(10))


def test_elements_of_vectors_stored_in_any_shape(tmp_path: Path) -> None:
    """Runs and scattered elements of a vector are those of the whole; others do not exist."""
    rng = np.random.default_rng(4)
    tensors, config = llama(rng, num_hidden_layers=2)
    model = resolve(open_checkpoint(write(tmp_path / "a", tensors, config)))
    key = next(
        k for k in model.tensors if k.role == "attn.norm.gain" or k.role.endswith("norm.gain")
    )
    whole = model.read(key)
    n = len(whole)
    for at in (
        range(3, 9),
        range(0),
        range(1, n, 2),
        np.array([5, 2, n - 1], dtype=np.int64),
        range(n),
    ):
        assert np.array_equal(model.read(key, at), whole[np.asarray(at, dtype=np.int64)])
    for shape in ((n, 1), (1, n), (n // 2, 2)):
        entry = replace(model.checkpoint.entries[model.tensors[key].name], shape=shape)
        entries = {**model.checkpoint.entries, entry.name: entry}
        turned = replace(model, checkpoint=replace(model.checkpoint, entries=entries))
        for at in (range(3, 9), np.array([5, 2, n - 1], dtype=np.int64), None):
            assert np.array_equal(
                turned.read(key, at), whole if at is None else whole[np.asarray(at)]
            )
    matrix = next(k for k in model.tensors if k.role == "mlp.up.weight")
    for k in (key, matrix):
        rows = model.tensors[k].shape[0]
        for bad in (
            range(rows - 1, rows + 1),
            np.array([0, rows], dtype=np.int64),
            np.array([-1], dtype=np.int64),
        ):
            with pytest.raises(IndexError):
                model.read(k, bad)


def test_columns_of_block_types_are_read_alone(tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf")
    rng = np.random.default_rng(5)
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "llama")
    for kind in ("Q8_0", "Q4_0", "Q6_K", "F16"):
        values = rng.standard_normal((6, 512)).astype(np.float32)
        dtype = getattr(gguf.GGMLQuantizationType, kind)
        packed = (
            values.astype(np.float16)
            if kind == "F16"
            else gguf.quants.quantize(values, dtype)
            if kind != "Q6_K"
            else None
        )
        if packed is not None:
            writer.add_tensor(f"blk.0.{kind}", packed, raw_dtype=dtype)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    model = open_checkpoint(tmp_path / "m.gguf")
    for name in model.entries:
        whole = model.read(name)
        for cols in (slice(0, 512), slice(3, 40), slice(64, 96), slice(511, 512), slice(8, 8)):
            before = model.reader.bytes_read
            assert np.array_equal(model.read(name, range(2, 5), cols), whole[2:5, cols])
            assert model.reader.bytes_read - before <= 3 * 4 * (len(range(512)[cols]) + 64)
        raw = model.raw(name)
        assert np.array_equal(
            model.raw(name, range(1, 3), slice(32, 96)),
            raw[1:3, raw.shape[1] // 16 : 3 * raw.shape[1] // 16],
        )


def test_a_tensor_stored_transposed_is_the_same_tensor(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    tensors = {
        "a": rng.standard_normal((30, 70)).astype(np.float32),
        "b": rng.standard_normal((70, 30)).astype(np.float32),
        "c": rng.random(9, np.float32),
    }
    plain = open_checkpoint(write(tmp_path / "a", tensors, {}))
    turned = open_checkpoint(
        write(tmp_path / "b", {f"{n}.x": np.ascontiguousarray(w.T) for n, w in tensors.items()}, {})
    )
    stored = tuple(replace(e, transposed=len(e.shape) == 2) for e in turned.stored)
    assert same_content(plain, turned) is None
    found = same_content(plain, replace(turned, stored=stored))
    assert found is not None and found.renamed and found.values == 2 * 2100 + 9
    other = open_checkpoint(
        write(tmp_path / "c", {n: w if n != "b" else w + 1 for n, w in tensors.items()}, {})
    )
    assert same_content(other, replace(turned, stored=stored)) is None
