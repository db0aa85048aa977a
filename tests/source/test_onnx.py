"""ONNX: names, orientation and scales recovered from the graph, for the ways exporters and quantisers write them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from begat.canon import resolve, unread_parameters
from begat.errors import InputError
from begat.source import open_checkpoint
from begat.types import Checkpoint

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

RNG = np.random.default_rng(0)
W = RNG.normal(size=(40, 30)).astype(np.float32)  # [in, out] as x @ W wants it
Q = RNG.integers(-127, 128, size=(40, 30), dtype=np.int8)
SCALE = RNG.uniform(0.01, 0.02, size=30).astype(np.float32)
BIAS = RNG.normal(size=30).astype(np.float32)


def model(folder: Path, nodes: list[Any], tensors: dict[str, Any], **save: Any) -> Checkpoint:
    """A graph x → y of `nodes`; arrays become raw initialisers, TensorProtos go in as they are."""
    inits = [v if isinstance(v, TensorProto) else numpy_helper.from_array(np.asarray(v), k) for k, v in tensors.items()]
    floats = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in "xy"]
    graph = helper.make_graph(nodes, "g", floats[:1], floats[1:], inits)
    onnx.save_model(helper.make_model(graph), folder / "model.onnx", **save)
    return open_checkpoint(folder / "model.onnx")


def node(op: str, inputs: str, outputs: str, name: str = "", **attributes: Any) -> Any:
    return helper.make_node(op, inputs.split(), outputs.split(), name, **attributes)


def only(checkpoint: Checkpoint, name: str, value: np.ndarray, transposed: bool) -> None:
    """The one matrix of the checkpoint has this name, these stored values and this orientation."""
    matrices = [e for e in checkpoint.entries.values() if len(e.shape) > 1]
    assert [e.name for e in matrices] == [name]
    assert matrices[0].transposed is transposed
    assert np.allclose(checkpoint.read(name), value.reshape(-1, value.shape[-1]), rtol=1e-6)


def test_name_from_the_bias(tmp_path: Path) -> None:
    nodes = [node("MatMul", "x onnx::MatMul_7", "a", "MatMul_3"), node("Add", "layer.0.query.bias a", "y")]
    only(model(tmp_path, nodes, {"onnx::MatMul_7": W, "layer.0.query.bias": BIAS}), "layer.0.query.weight", W, True)


def test_name_from_the_path(tmp_path: Path) -> None:
    nodes = [node("MatMul", "x onnx::MatMul_7", "y", "/model/layers.0/self_attn/q_proj/MatMul")]
    only(model(tmp_path, nodes, {"onnx::MatMul_7": W}), "model.layers.0.self_attn.q_proj.weight", W, True)


def test_name_from_a_nested_sequential(tmp_path: Path) -> None:
    nodes = [node("MatMul", "x onnx::MatMul_7", "y", "/net/net.0/net.0.1/MatMul")]
    only(model(tmp_path, nodes, {"onnx::MatMul_7": W}), "net.0.1.weight", W, True)


def test_name_from_module_scopes(tmp_path: Path) -> None:
    product = node("MatMul", "x val_49", "y", "node_MatMul_48")
    entry = product.metadata_props.add()
    entry.key, entry.value = "pkg.torch.onnx.name_scopes", "['', 'layers.0', 'layers.0.q_proj', 'linear']"
    only(model(tmp_path, [product], {"val_49": W}), "layers.0.q_proj.weight", W, True)


@pytest.mark.parametrize("turned", [0, 1])
def test_gemm(tmp_path: Path, turned: int) -> None:
    weight = W.T.copy() if turned else W
    nodes = [node("Gemm", "x fc.weight fc.bias", "y", transB=turned)]
    only(model(tmp_path, nodes, {"fc.weight": weight, "fc.bias": BIAS}), "fc.weight", weight, not turned)


def test_transpose_before_the_product_keeps_torch_order(tmp_path: Path) -> None:
    nodes = [node("Transpose", "fc.weight", "t", perm=[1, 0]), node("MatMul", "x t", "y")]
    only(model(tmp_path, nodes, {"fc.weight": W.T.copy()}), "fc.weight", W.T, False)


def test_conv1d_of_gpt2_is_in_out_in_torch_too(tmp_path: Path) -> None:
    nodes = [node("Gemm", "x h.0.attn.c_attn.weight h.0.attn.c_attn.bias", "y")]
    tensors = {"h.0.attn.c_attn.weight": W, "h.0.attn.c_attn.bias": BIAS}
    only(model(tmp_path, nodes, tensors), "h.0.attn.c_attn.weight", W, False)


def test_dequantize_linear_per_axis_with_zero_point(tmp_path: Path) -> None:
    zero = RNG.integers(-5, 5, size=30, dtype=np.int8)
    nodes = [node("DequantizeLinear", "fc.weight_quantized s z", "d", axis=1), node("MatMul", "x d", "y")]
    checkpoint = model(tmp_path, nodes, {"fc.weight_quantized": Q, "s": SCALE, "z": zero})
    only(checkpoint, "fc.weight", (Q.astype(np.float32) - zero) * SCALE, True)
    assert {n for n, _ in checkpoint.skipped} == {"s", "z"}
    rows = np.array([39, 3])
    assert np.allclose(
        checkpoint.read("fc.weight", rows, slice(2, 9)), ((Q.astype(np.float32) - zero) * SCALE)[rows, 2:9], rtol=1e-6
    )


def test_dequantize_linear_blocked_and_first_axis(tmp_path: Path) -> None:
    scale = RNG.uniform(1, 2, size=(5, 30)).astype(np.float32)
    nodes = [node("DequantizeLinear", "a.weight s", "d", axis=0, block_size=8), node("MatMul", "x d", "y")]
    only(model(tmp_path, nodes, {"a.weight": Q, "s": scale}), "a.weight", Q * np.repeat(scale, 8, 0), True)
    rows = RNG.uniform(1, 2, size=40).astype(np.float32)
    nodes = [node("DequantizeLinear", "a.weight s", "d", axis=0), node("Gather", "d x", "y")]
    only(model(tmp_path, nodes, {"a.weight": Q, "s": rows}), "a.weight", Q * rows[:, None], False)


def test_cast_and_multiply(tmp_path: Path) -> None:
    nodes = [
        node("Cast", "val_4_q", "f", to=1),
        node("Mul", "s f", "val_4"),
        node("MatMul", "x val_4", "p"),
        node("Add", "p l.bias", "y"),
    ]
    only(model(tmp_path, nodes, {"val_4_q": Q, "s": SCALE[None], "l.bias": BIAS}), "l.weight", Q * SCALE, True)


def test_dynamic_quantisation_of_onnxruntime(tmp_path: Path) -> None:
    zero = np.array(3, dtype=np.int8)
    nodes = [
        node("DynamicQuantizeLinear", "x", "xq xs xz"),
        node("MatMulInteger", "xq onnx::MatMul_7_quantized xz onnx::MatMul_7_zero_point", "i", "/l/query/MatMul_quant"),
        node("Cast", "i", "f", to=1),
        node("Mul", "xs onnx::MatMul_7_scale", "m"),
        node("Mul", "f m", "p"),
        node("Add", "l.query.bias p", "y"),
    ]
    tensors = {
        "onnx::MatMul_7_quantized": Q,
        "onnx::MatMul_7_scale": np.float32(0.02),
        "onnx::MatMul_7_zero_point": zero,
        "l.query.bias": BIAS,
    }
    checkpoint = model(tmp_path, nodes, tensors)
    only(checkpoint, "l.query.weight", (Q.astype(np.float32) - 3) * np.float32(0.02), True)
    assert len(checkpoint.skipped) == 2


def test_qlinear_matmul_and_fused_operators(tmp_path: Path) -> None:
    nodes = [node("QLinearMatMul", "x xs xz fc.weight_quantized s z ys yz", "y")]
    unsigned = (Q.astype(np.int16) + 128).astype(np.uint8)
    tensors = {
        "fc.weight_quantized": unsigned,
        "s": np.float32(0.5),
        "z": np.uint8(128),
        "xs": np.float32(1),
        "xz": np.uint8(0),
        "ys": np.float32(1),
        "yz": np.uint8(0),
    }
    only(model(tmp_path, nodes, tensors), "fc.weight", Q * np.float32(0.5), True)
    nodes = [helper.make_node("DynamicQuantizeMatMul", ["x", "w_q", "s", "", "fc.bias"], ["y"], domain="com.microsoft")]
    only(model(tmp_path, nodes, {"w_q": Q, "s": SCALE, "fc.bias": BIAS}), "fc.weight", Q * SCALE, True)


def test_constants_are_listed_not_weighed(tmp_path: Path) -> None:
    nodes = [node("MatMul", "x fc.weight", "a"), node("Add", "a /Constant_output_0", "b"), node("Reshape", "b val_3", "y")]
    ids = np.arange(8).reshape(1, 8)
    tensors = {"fc.weight": W, "/Constant_output_0": np.float32(1), "val_3": np.array([1, -1]), "emb.position_ids": ids}
    checkpoint = model(tmp_path, nodes, tensors)
    assert set(checkpoint.entries) == {"fc.weight", "emb.position_ids"}
    assert dict(checkpoint.skipped) == {"/Constant_output_0": "graph constant", "val_3": "graph constant"}


def test_weights_in_constant_nodes(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(W, "")),
        node("MatMul", "x c", "y", "/fc/MatMul"),
    ]
    only(model(tmp_path, nodes, {}), "fc.weight", W, True)


def test_weights_used_in_subgraphs(tmp_path: Path) -> None:
    out = helper.make_tensor_value_info("y0", TensorProto.FLOAT, None)
    branch = helper.make_graph([node("MatMul", "x onnx::MatMul_1", "y0", "/fc/MatMul")], "then", [], [out])
    nodes = [helper.make_node("If", ["cond"], ["y"], then_branch=branch, else_branch=branch)]
    checkpoint = model(tmp_path, nodes, {"onnx::MatMul_1": W, "cond": np.array(True)})
    only(checkpoint, "fc.weight", W, True)


def test_two_weights_for_one_name_keep_their_own(tmp_path: Path) -> None:
    nodes = [node("MatMul", "x onnx::MatMul_1", "a", "/fc/MatMul"), node("MatMul", "x onnx::MatMul_2", "y", "/fc/MatMul_1")]
    checkpoint = model(tmp_path, nodes, {"onnx::MatMul_1": W, "onnx::MatMul_2": W + 1})
    assert set(checkpoint.entries) == {"fc.weight", "onnx::MatMul_2"}
    assert "second fc.weight" in checkpoint.notes[0]


def test_wrapper_prefix_is_dropped_only_when_all_share_it(tmp_path: Path) -> None:
    nodes = [node("MatMul", "x inner.fc.weight", "y")]
    assert set(model(tmp_path, nodes, {"inner.fc.weight": W, "inner.ln.weight": BIAS}).entries) == {"fc.weight", "ln.weight"}
    assert set(model(tmp_path, nodes, {"inner.fc.weight": W, "head.ln.weight": BIAS}).entries) == {
        "inner.fc.weight",
        "head.ln.weight",
    }


@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.DOUBLE])
def test_packed_float_lists(tmp_path: Path, kind: int) -> None:
    proto = helper.make_tensor(
        "fc.weight", kind, W.shape, W.ravel().astype(np.float64 if kind == TensorProto.DOUBLE else np.float32)
    )
    assert not proto.raw_data
    only(model(tmp_path, [node("MatMul", "x fc.weight", "y")], {"fc.weight": proto}), "fc.weight", W, True)


KINDS = [
    "FLOAT16", "BFLOAT16", "FLOAT8E4M3FN", "FLOAT8E5M2", "FLOAT8E4M3FNUZ", "FLOAT8E5M2FNUZ", "INT8", "UINT8", "INT16", "UINT16", "INT32",
    "INT64", "UINT32", "UINT64", "INT4", "UINT4", "FLOAT", "DOUBLE",
]  # fmt: skip


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(40, 30), (41, 27)])
def test_every_type_in_lists_and_as_bytes(tmp_path: Path, kind: str, raw: bool, shape: tuple[int, int]) -> None:
    """Values as the library itself reads them, whole rows or half bytes alike."""
    dtype = helper.tensor_dtype_to_np_dtype(getattr(TensorProto, kind))
    low = 0 if kind.startswith("UINT") else -7
    values = RNG.integers(low, 8, size=shape).astype(np.float32).astype(dtype)
    proto = numpy_helper.from_array(values, "fc.weight") if raw else helper.make_tensor("fc.weight", getattr(TensorProto, kind), shape, values.ravel())
    assert bool(proto.raw_data) == raw
    nodes = [node("DequantizeLinear", "fc.weight s", "d"), node("MatMul", "x d", "y")]
    checkpoint = model(tmp_path, nodes, {"fc.weight": proto, "s": np.float32(0.25)})
    want = numpy_helper.to_array(proto).astype(np.float32)
    scaled = checkpoint.entries["fc.weight"].scaling is not None
    assert scaled == (kind not in ("FLOAT16", "BFLOAT16", "INT64", "UINT32", "UINT64", "FLOAT", "DOUBLE"))
    assert np.array_equal(checkpoint.read("fc.weight"), want * (0.25 if scaled else 1))
    some = np.array([3, 0, 11])
    assert np.array_equal(checkpoint.read("fc.weight", some, slice(2, 9)), (want * (0.25 if scaled else 1))[some, 2:9])


@pytest.mark.parametrize("kind", ["INT8", "UINT8", "INT32"])
@pytest.mark.parametrize("across", [False, True])
def test_zero_points_in_lists(tmp_path: Path, kind: str, across: bool) -> None:
    """onnxruntime's quantiser keeps them in `int32_data`."""
    dtype = helper.tensor_dtype_to_np_dtype(getattr(TensorProto, kind))
    n = 30 if across else 1
    zero = RNG.integers(0, 9, size=n).astype(dtype)
    q = RNG.integers(0, 100, size=(40, 30)).astype(dtype)
    proto = helper.make_tensor("fc.weight_zero_point", getattr(TensorProto, kind), [n] if across else [], zero)
    assert not proto.raw_data
    scale = SCALE if across else SCALE[:1].reshape(())
    nodes = [node("DequantizeLinear", "fc.weight_quantized fc.weight_scale fc.weight_zero_point", "d", axis=1), node("MatMul", "x d", "y")]
    checkpoint = model(tmp_path, nodes, {"fc.weight_quantized": q, "fc.weight_scale": scale, "fc.weight_zero_point": proto})
    only(checkpoint, "fc.weight", ((q.astype(np.float32) - zero.astype(np.float32)) * scale).astype(np.float32), True)


def test_lists_that_do_not_fit_are_one_line(tmp_path: Path) -> None:
    for values, shape in (([1, 2, 3], [4]), ([1, 2, 300, 4], [4]), ([1, -129], [2])):
        proto = helper.make_tensor("fc.weight", TensorProto.INT8, [1], [0])
        proto.ClearField("int32_data")
        proto.ClearField("dims")
        proto.dims.extend(shape)
        proto.int32_data.extend(values)
        with pytest.raises(InputError, match="list of numbers does not fit"):
            model(tmp_path, [node("DequantizeLinear", "fc.weight s", "y")], {"fc.weight": proto, "s": np.float32(1)})


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("zeros", ["none", "packed", "float"])
@pytest.mark.parametrize("blocks", [2, 3])
def test_products_of_packed_blocks(tmp_path: Path, bits: int, zeros: str, blocks: int) -> None:
    outputs, block = 36, 32
    q = RNG.integers(0, 2**bits, size=(outputs, blocks * block)).astype(np.uint8)
    z = RNG.integers(0, 2**bits, size=(outputs, blocks)).astype(np.uint8) if zeros != "none" else np.full((outputs, blocks), 2 ** (bits - 1), np.uint8)
    scale = RNG.uniform(0.01, 0.1, size=(outputs, blocks)).astype(np.float32)

    def packed(codes: np.ndarray) -> np.ndarray:
        codes = np.pad(codes, ((0, 0), (0, codes.shape[1] % 2)))
        return codes[:, 0::2] | codes[:, 1::2] << 4 if bits == 4 else codes

    tensors = {"fc.weight_Q4": packed(q).reshape(outputs, blocks, -1), "fc.weight_scales": scale.ravel()}
    if zeros != "none":
        tensors["fc.weight_zp"] = z.astype(np.float32).ravel() if zeros == "float" else (packed(z) if bits == 4 else z).ravel()
    op = helper.make_node("MatMulNBits", ["x", *tensors], ["y"], domain="com.microsoft", K=blocks * block, N=outputs, bits=bits, block_size=block)
    checkpoint = model(tmp_path, [op], tensors)
    want = (q.astype(np.float32) - np.repeat(z, block, 1)) * np.repeat(scale, block, 1)
    only(checkpoint, "fc.weight", want, False)
    wrong = helper.make_node("MatMulNBits", ["x", *tensors], ["y"], domain="com.microsoft", K=blocks * block - 1, N=outputs, bits=bits, block_size=block)
    (tmp_path / "wrong").mkdir()
    checkpoint = model(tmp_path / "wrong", [wrong], tensors | {"ln.weight": BIAS})
    assert ("fc.weight_Q4", "packed in blocks by an operator that is not read") in checkpoint.skipped
    assert checkpoint.unread["fc.weight_Q4"].parameters > 0


def test_four_bits_without_a_scale_are_no_weights(tmp_path: Path) -> None:
    proto = helper.make_tensor("model.layers.0.mlp.up_proj.weight", TensorProto.INT4, (64, 64), bytes(2048), raw=True)
    checkpoint = model(tmp_path, [node("MatMul", "x model.layers.0.mlp.up_proj.weight", "y")], {"w": proto})
    assert unread_parameters(resolve(checkpoint)) == {"stored as integers without a scale": 4096}


def test_scale_that_does_not_fit(tmp_path: Path) -> None:
    nodes = [node("DequantizeLinear", "fc.weight s", "d", axis=1), node("MatMul", "x d", "y")]
    with pytest.raises(InputError, match="scale does not fit"):
        model(tmp_path, nodes, {"fc.weight": Q, "s": np.ones(7, np.float32)})


def test_external_data_stays_in_the_folder(tmp_path: Path) -> None:
    nodes = [node("MatMul", "x fc.weight", "y")]
    checkpoint = model(tmp_path, nodes, {"fc.weight": W}, save_as_external_data=True, location="weights.bin", size_threshold=0)
    only(checkpoint, "fc.weight", W, True)
    assert [f.name for f in checkpoint.files] == ["model.onnx", "weights.bin"]
    (tmp_path / "weights.bin").rename(tmp_path / "elsewhere.bin")
    with pytest.raises(InputError, match="external data is missing"):
        open_checkpoint(tmp_path / "model.onnx")


def test_what_torch_itself_exports(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    nn = torch.nn

    class Block(nn.Module):  # type: ignore[name-defined,misc]
        def __init__(self) -> None:
            super().__init__()
            self.q_proj, self.norm = nn.Linear(12, 20, bias=False), nn.LayerNorm(20)
            self.mlp = nn.Sequential(nn.Linear(20, 30, bias=False), nn.GELU(), nn.Linear(30, 12))

        def forward(self, x: Any) -> Any:
            return self.mlp(self.norm(self.q_proj(x)))

    torch.manual_seed(0)
    net = nn.Sequential()
    net.add_module("embed", nn.Embedding(50, 12))
    net.add_module("layers", nn.Sequential(Block(), Block()))
    state = {k: nn.init.normal_(v) for k, v in net.state_dict().items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net, (torch.arange(6)[None],), tmp_path / "model.onnx", dynamo=False)
    checkpoint = open_checkpoint(tmp_path / "model.onnx")
    assert set(checkpoint.entries) == set(state)
    for name, want in state.items():
        got = checkpoint.read(name)
        assert np.array_equal((got.T if checkpoint.entries[name].transposed else got).reshape(want.shape), want.numpy()), name
