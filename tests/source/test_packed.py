"""Packed weights against packers written here, bit by bit and independently of the reader; damage is one line, variants stay packed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

import begat
from begat.canon import resolve, unread_parameters
from begat.errors import InputError
from begat.pipeline.sampling import plan_site
from begat.signals.axes import Site, View
from begat.types import Checkpoint, TensorKey

Arrays = dict[str, np.ndarray]
AWQ_ORDER = [0, 2, 4, 6, 1, 3, 5, 7]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def bitstream(values: np.ndarray, bits: int) -> np.ndarray:
    """A list of small integers as int32 words, through one Python integer: value i at bit i * bits."""
    total = sum(int(v) << (i * bits) for i, v in enumerate(values))
    words = [(total >> (32 * w)) & 0xFFFFFFFF for w in range(len(values) * bits // 32)]
    return np.array(words, dtype=np.uint32).view(np.int32)


def packed_columns(codes: np.ndarray, bits: int) -> np.ndarray:
    return np.stack([bitstream(row, bits) for row in codes])


def packed_rows(codes: np.ndarray, bits: int) -> np.ndarray:
    return packed_columns(codes.T, bits).T.copy()


def awq_words(codes: np.ndarray) -> np.ndarray:
    out = np.zeros((codes.shape[0], codes.shape[1] // 8), dtype=np.uint32)
    for column in range(out.shape[1]):
        for nibble, which in enumerate(AWQ_ORDER):
            out[:, column] |= codes[:, 8 * column + which].astype(np.uint32) << np.uint32(4 * nibble)
    return out.view(np.int32)


def gptq(
    outputs: int = 32, inputs: int = 96, bits: int = 4, group: int = 32, shift: int = 1, permute: bool = False, seed: int = 0
) -> tuple[Arrays, np.ndarray]:
    """The tensors of one module, and the weight [outputs, inputs] they stand for."""
    r, groups = rng(seed), -(-inputs // group)
    codes = r.integers(0, 2**bits, size=(inputs, outputs))
    zeros = r.integers(1, 2**bits, size=(groups, outputs))
    scales = r.uniform(0.01, 0.1, size=(groups, outputs)).astype(np.float16)
    index = np.arange(inputs) // group
    if permute:
        index = r.permutation(index)
    weight = (codes - zeros[index]).astype(np.float32) * scales[index].astype(np.float32)
    tensors = {"qweight": packed_rows(codes, bits), "qzeros": packed_columns(zeros - shift, bits), "scales": scales,
               "g_idx": index.astype(np.int32)}  # fmt: skip
    return tensors, weight.T.copy()


def awq(outputs: int = 32, inputs: int = 96, group: int = 32, seed: int = 0) -> tuple[Arrays, np.ndarray]:
    r, groups = rng(seed), inputs // group
    codes, zeros = r.integers(0, 16, size=(inputs, outputs)), r.integers(0, 16, size=(groups, outputs))
    scales = r.uniform(0.01, 0.1, size=(groups, outputs)).astype(np.float16)
    index = np.arange(inputs) // group
    weight = (codes - zeros[index]).astype(np.float32) * scales[index].astype(np.float32)
    return {"qweight": awq_words(codes), "qzeros": awq_words(zeros), "scales": scales}, weight.T.copy()


def compressed(
    outputs: int = 32, inputs: int = 96, bits: int = 4, group: int = 32, zero: bool = False, seed: int = 0
) -> tuple[Arrays, np.ndarray]:
    r, groups, half = rng(seed), inputs // group, 2 ** (bits - 1)
    codes = r.integers(-half, half, size=(outputs, inputs))
    zeros = r.integers(-half, half, size=(outputs, groups)) if zero else np.zeros((outputs, groups), dtype=np.int64)
    scales = r.uniform(0.01, 0.1, size=(outputs, groups)).astype(np.float16)
    index = np.arange(inputs) // group
    weight = (codes - zeros[:, index]).astype(np.float32) * scales[:, index].astype(np.float32)
    tensors = {"weight_packed": packed_columns(codes + half, bits), "weight_scale": scales,
               "weight_shape": np.array([outputs, inputs])}  # fmt: skip
    return tensors | ({"weight_zero_point": packed_rows(zeros + half, bits)} if zero else {}), weight


def opened(folder: Path, tensors: Arrays, note: dict[str, Any] | None = None, module: str = "a") -> Checkpoint:
    named = {f"{module}.{end}": np.ascontiguousarray(tensor) for end, tensor in tensors.items()}
    save_file(named, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({} if note is None else {"quantization_config": note}))
    return begat.open_checkpoint(folder)


def reads_as(checkpoint: Checkpoint, weight: np.ndarray) -> None:
    """All of it, some rows, some columns; and nothing else is there."""
    assert list(checkpoint.entries) == ["a.weight"]
    entry = checkpoint.entries["a.weight"]
    stored = weight.T if entry.transposed else weight
    assert entry.shape == stored.shape
    assert np.array_equal(checkpoint.read("a.weight"), stored)
    some = np.array([stored.shape[0] - 1, 0, 5, 5])
    assert np.array_equal(checkpoint.read("a.weight", some, slice(3, 17)), stored[some, 3:17])
    assert np.array_equal(checkpoint.read("a.weight", range(7, 20)), stored[7:20])
    assert checkpoint.read("a.weight", np.empty(0, dtype=np.int64)).shape == (0, stored.shape[1])
    columns = np.array([stored.shape[1] - 1, 0, 9, 9, 8])
    assert np.array_equal(checkpoint.read("a.weight", some, columns), stored[some][:, columns])


@pytest.mark.parametrize("note", [None, {"quant_method": "gptq"}])
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_gptq(tmp_path: Path, bits: int, note: dict[str, Any] | None) -> None:
    tensors, weight = gptq(bits=bits)
    checkpoint = opened(tmp_path, tensors, note and note | {"bits": bits, "group_size": 32})
    reads_as(checkpoint, weight)
    assert dict(checkpoint.skipped) == {"a.qzeros": "packed zero points of a.weight", "a.scales": "scales of a.weight",
                                        "a.g_idx": "group of each input of a.weight"}  # fmt: skip


def test_gptq_of_the_second_format_counts_zero_points_from_zero(tmp_path: Path) -> None:
    tensors, weight = gptq(shift=0)
    reads_as(opened(tmp_path, tensors, {"quant_method": "gptq", "bits": 4, "checkpoint_format": "gptq_v2"}), weight)


@pytest.mark.parametrize("group", [32, 40, 96])
def test_gptq_groups_permuted_or_short(tmp_path: Path, group: int) -> None:
    tensors, weight = gptq(group=group, permute=True)
    checkpoint = opened(tmp_path, tensors)
    reads_as(checkpoint, weight)
    scaling = checkpoint.entries["a.weight"].scaling
    assert scaling is not None and (scaling.groups is None) == (group == 96), "one group has no order"
    straight, weight = gptq(group=group)
    del straight["g_idx"]
    (tmp_path / "straight").mkdir()
    reads_as(opened(tmp_path / "straight", straight, {"quant_method": "gptq", "bits": 4, "group_size": group}), weight)


@pytest.mark.parametrize("note", [None, {"quant_method": "awq", "bits": 4, "version": "gemm", "zero_point": True}])
def test_awq(tmp_path: Path, note: dict[str, Any] | None) -> None:
    tensors, weight = awq()
    reads_as(opened(tmp_path, tensors, note), weight)


@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize(("bits", "group"), [(4, 32), (8, 16), (3, 32), (2, 96)])
def test_compressed_tensors(tmp_path: Path, bits: int, group: int, zero: bool) -> None:
    tensors, weight = compressed(bits=bits, group=group, zero=zero)
    reads_as(opened(tmp_path, tensors, {"quant_method": "compressed-tensors", "format": "pack-quantized"}), weight)


def test_the_canon_sees_one_weight_of_outputs_and_inputs(tmp_path: Path) -> None:
    tensors, weight = gptq(outputs=64, inputs=96)
    up, name = opened(tmp_path, tensors, module="model.layers.0.mlp.up_proj"), "model.layers.0.mlp.up_proj.weight"
    save_file({"model.layers.0.input_layernorm.weight": np.ones(96, np.float32)}, tmp_path / "norm.safetensors")
    model = resolve(up)
    (key, t), *_ = model.tensors.items()
    assert (t.name, t.shape, str(key)) == (name, (64, 96), "layer 0 · mlp.up.weight")
    assert np.array_equal(model.read(key, np.array([63, 2])), weight[[63, 2]])
    assert not model.dropped and not model.unmapped


def test_scales_are_read_with_their_rows_only(tmp_path: Path) -> None:
    tensors, weight = gptq(outputs=512, inputs=2048, group=32)
    checkpoint = opened(tmp_path, tensors)
    before = checkpoint.reader.bytes_read
    assert before < 4 * 2048 + 64, "opening reads no more than the group indices"
    assert np.array_equal(checkpoint.read("a.weight", range(64, 128)), weight.T[64:128])
    assert checkpoint.reader.bytes_read - before == 64 * 512 // 2 + 2 * 512 * (2 + 4 / 8)
    entry = checkpoint.entries["a.weight"]
    scales = checkpoint.reader.scales(entry, np.array([0, 70]), np.array([5, 3]))
    assert np.array_equal(scales, tensors["scales"][[0, 2]][:, [5, 3]].astype(np.float32))


def damaged(tensors: Arrays, change: str) -> Arrays:
    out = dict(tensors)
    name, what = change.split(": ")
    if what == "short":
        out[name] = out[name][:-1]
    elif what == "narrow":
        out[name] = out[name][:, :-1]
    else:
        out[name] = out[name].copy()
        out[name].flat[7] = int(what)
    return out


GPTQ_NOTE = {"quant_method": "gptq", "bits": 4, "group_size": 32}
AWQ_NOTE = {"quant_method": "awq", "bits": 4, "group_size": 32, "version": "gemm"}


@pytest.mark.parametrize(
    ("make", "note", "change", "message"),
    [
        (gptq, GPTQ_NOTE, "qzeros: narrow", "a.qzeros; does not fit its packed weight; 3, 4"),
        (gptq, GPTQ_NOTE, "qzeros: short", "a.qzeros; does not fit"),
        (gptq, GPTQ_NOTE, "scales: narrow", "a.scales; does not fit"),
        (gptq, GPTQ_NOTE, "g_idx: short", "a.g_idx; does not fit"),
        (gptq, GPTQ_NOTE, "g_idx: 3", "a.g_idx; group index out of range; 0 to 2"),
        (gptq, GPTQ_NOTE, "g_idx: -1", "a.g_idx; group index out of range; -1"),
        (gptq, GPTQ_NOTE, "g_idx: 2147483647", "a.g_idx; group index out of range"),
        (gptq, GPTQ_NOTE | {"bits": 8}, "g_idx: 0", "a.qzeros; does not fit"),
        (awq, AWQ_NOTE, "qzeros: narrow", "a.qzeros; does not fit"),
        (awq, AWQ_NOTE, "scales: narrow", "a.scales; does not fit"),
        (awq, AWQ_NOTE, "qweight: narrow", "a.scales; does not fit"),
        (awq, AWQ_NOTE, "scales: short", "a.qzeros; does not fit"),
        (compressed, {}, "weight_scale: short", "a.weight_scale; does not fit"),
    ],
)
def test_damage_is_one_line(tmp_path: Path, make: Any, note: dict[str, Any], change: str, message: str) -> None:
    tensors, _ = make()
    with pytest.raises(InputError) as caught:
        opened(tmp_path, damaged(tensors, change), note)
    line = str(caught.value)
    assert "\n" not in line
    assert all(part in line for part in message.split("; ")), line


@pytest.mark.parametrize(
    ("make", "note"),
    [
        (gptq, {"quant_method": "gptq", "bits": 5}),
        (gptq, {"quant_method": "gptq", "bits": 4.0}),
        (gptq, {"quant_method": "gptq", "bits": [4]}),
        (gptq, {"quant_method": "gptq", "bits": 4, "checkpoint_format": "marlin"}),
        (gptq, {"quant_method": "quip"}),
        (awq, {"quant_method": "awq", "bits": 4, "version": "gemv"}),
        (awq, {"quant_method": "awq", "bits": 8}),
        (compressed, {"quant_method": "other"}),
    ],
)
def test_variants_that_are_not_read_stay_packed(tmp_path: Path, make: Any, note: dict[str, Any]) -> None:
    tensors, _ = make()
    checkpoint = opened(tmp_path, tensors, note, "model.layers.0.mlp.up_proj")
    assert {name.rpartition(".")[2] for name in checkpoint.entries} == tensors.keys()
    model = resolve(checkpoint)
    assert not model.tensors and not model.unmapped
    method = note["quant_method"]
    words = next(n for n in checkpoint.entries if n.endswith(("qweight", "weight_packed")))
    assert dict(model.dropped)[words] == f"packed by {method}, in a layout that is not read"
    values = 8 if not isinstance(note.get("bits"), int) else 32 // note["bits"]
    assert unread_parameters(model) == {f"packed by {method}, in a layout that is not read": values * checkpoint.entries[words].size}


@pytest.mark.parametrize("missing", ["qzeros", "scales", "weight_shape"])
def test_half_a_layout_stays_packed(tmp_path: Path, missing: str) -> None:
    tensors, _ = compressed() if missing == "weight_shape" else gptq()
    del tensors[missing]
    assert "a.weight" not in opened(tmp_path, tensors).entries


def test_other_shapes_without_a_config_stay_packed(tmp_path: Path) -> None:
    packed = rng().integers(-(2**31), 2**31, size=(8, 24), dtype=np.int32)
    checkpoint = opened(tmp_path, {"qweight": packed, "qzeros": packed[:1], "scales": np.ones((1, 16), np.float16)})
    assert set(checkpoint.entries) == {"a.qweight", "a.qzeros", "a.scales"}
    assert checkpoint.raw("a.qweight").tobytes() == packed.tobytes()


def test_order_tests_stay_inside_an_aligned_group_or_leave_the_inputs_alone(tmp_path: Path) -> None:
    key, models = TensorKey("text", 0, "mlp.down.weight"), {}
    for name, make in (("gptq", gptq), ("awq", awq), ("compressed", compressed)):
        (tmp_path / name).mkdir()
        tensors, _ = make(outputs=64, inputs=256, group=32)
        models[name] = resolve(opened(tmp_path / name, tensors, module="model.layers.0.mlp.down_proj"))
    outputs, inputs = View(key, "rows"), View(key, "columns")
    for name, model in models.items():
        site = Site("text", 0, -1, 64, (outputs,))
        (plan,) = plan_site(model, model, site, 64, 1, rng())
        assert len(plan.units) == 64, "outputs do not share scales"
        plans = plan_site(model, model, Site("text", 0, -1, 256, (inputs,)), 64, 8, rng())
        assert len(plans) == (8 if name == "awq" else 0), name
        assert all(len(set(p.units // 32)) == 1 and len(p.units) == 32 for p in plans)
        assert not plan_site(models["awq"], models["gptq"], Site("text", 0, -1, 256, (inputs,)), 64, 8, rng())


def test_no_file_may_claim_a_packed_type(tmp_path: Path) -> None:
    header = json.dumps({"a": {"dtype": "GPTQ4", "shape": [8, 4], "data_offsets": [0, 16]}}).encode()
    (tmp_path / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(16))
    with pytest.raises(InputError, match="GPTQ4"):
        begat.open_checkpoint(tmp_path)
