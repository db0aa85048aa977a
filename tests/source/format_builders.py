"""One small checkpoint per file format, with the values it must read as. The oracle writes; begat reads.

Asymmetric shapes throughout: a square one would hide a transposition.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest


@dataclass
class Built:
    """`path` (opened with `base`) must hold exactly `values`; `raw` are stored bytes; `files` are those a fuzzer may damage."""

    path: Path
    values: dict[str, np.ndarray]
    raw: dict[str, bytes]
    files: list[Path]
    base: Path | None = None
    computed: set[str] = field(default_factory=set)


def arrays(seed: int = 0, small: bool = False) -> dict[str, np.ndarray]:
    """Tensors of many shapes and types under names as models have them."""
    rng = np.random.default_rng(seed)

    def draw(*shape: int) -> np.ndarray:
        return np.asarray(rng.normal(size=shape), dtype=np.float32)

    out: dict[str, np.ndarray] = {
        "model.layers.0.self_attn.q_proj.weight": draw(6, 10),
        "model.layers.0.mlp.up_proj.weight": draw(9, 4).astype(np.float16),
        "model.layers.0.input_layernorm.weight": draw(7),
        "model.layers.0.experts.weight": draw(2, 3, 5),
    }
    if not small:
        out["model.layers.1.mlp.up_proj.weight"] = draw(11, 3).astype(ml_dtypes.bfloat16)
        out["model.logit_scale"] = draw()
        out["model.empty.weight"] = draw(0, 4)
        out["model.hollow.weight"] = draw(3, 0)
        out["model.double.weight"] = draw(2, 3).astype(np.float64)
        out["model.position_ids"] = np.arange(12, dtype=np.int64).reshape(1, 12)
    return out


def _oracle(tensors: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], dict[str, bytes]]:
    return {k: v.astype(np.float32) for k, v in tensors.items()}, {k: v.tobytes() for k, v in tensors.items()}


def safetensors(folder: Path) -> Built:
    """One safetensors file."""
    from safetensors.numpy import save_file

    tensors = arrays()
    save_file(tensors, folder / "model.safetensors")
    return Built(folder / "model.safetensors", *_oracle(tensors), [folder / "model.safetensors"])


def safetensors_sharded(folder: Path) -> Built:
    """A folder with two shards, an index and a config."""
    from safetensors.numpy import save_file

    tensors = arrays()
    names = list(tensors)
    weight_map = {}
    files = []
    for i, part in enumerate((names[:4], names[4:]), 1):
        file = f"model-{i:05d}-of-00002.safetensors"
        save_file({n: tensors[n] for n in part}, folder / file)
        files.append(folder / file)
        weight_map.update(dict.fromkeys(part, file))
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    (folder / "config.json").write_text('{"model_type": "toy"}')
    return Built(folder, *_oracle(tensors), [*files, index, folder / "config.json"])


def _torch(folder: Path, zipped: bool) -> Built:
    torch = pytest.importorskip("torch")
    tensors = arrays()
    state = {k: torch.tensor(v.astype(np.float32) if v.dtype == ml_dtypes.bfloat16 else v) for k, v in tensors.items()}
    state["model.layers.1.mlp.up_proj.weight"] = state["model.layers.1.mlp.up_proj.weight"].bfloat16()
    fused = torch.arange(60, dtype=torch.float32).reshape(12, 5)
    state["model.slice.weight"] = fused[3:8]
    state["model.columns.weight"] = fused[:, 1:4]
    state["model.turned.weight"] = fused.t()
    state["model.tied.weight"] = fused
    torch.save(state, folder / "pytorch_model.bin", _use_new_zipfile_serialization=zipped)
    whole = np.arange(60, dtype=np.float32).reshape(12, 5)
    tensors |= {
        "model.slice.weight": whole[3:8],
        "model.columns.weight": whole[:, 1:4],
        "model.turned.weight": whole.T,
        "model.tied.weight": whole,
    }
    return Built(
        folder / "pytorch_model.bin", *_oracle(tensors), [folder / "pytorch_model.bin"], computed={"model.turned.weight"}
    )


def torch_zip(folder: Path) -> Built:
    """torch.save as it is today: a zip archive. With slices, a transpose and a tied tensor in one storage."""
    return _torch(folder, True)


def torch_legacy(folder: Path) -> Built:
    """torch.save before 1.6."""
    return _torch(folder, False)


def gguf(folder: Path) -> Built:
    """GGUF v3 with float, integer and block-quantised tensors."""
    library = pytest.importorskip("gguf")
    kinds = library.GGMLQuantizationType
    tensors = arrays(small=True)
    values, raw = _oracle(tensors)
    writer = library.GGUFWriter(folder / "model.gguf", "llama")
    writer.add_block_count(1)
    writer.add_token_list([f"token {i}" for i in range(5000)])
    writer.add_array("some.numbers", [1, 2, 3])
    for name, array in tensors.items():
        writer.add_tensor(name, array)
    rng = np.random.default_rng(5)
    for kind in (kinds.Q8_0, kinds.Q4_0, kinds.BF16):
        packed = library.quants.quantize(rng.normal(size=(5, 64)).astype(np.float32), kind)
        name = f"blk.0.{kind.name.lower()}.weight"
        writer.add_tensor(name, packed, raw_dtype=kind)
        values[name], raw[name] = library.quants.dequantize(packed, kind), packed.tobytes()
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return Built(folder / "model.gguf", values, raw, [folder / "model.gguf"])


def onnx(folder: Path) -> Built:
    """An ONNX graph with raw initialisers."""
    library = pytest.importorskip("onnx")
    tensors = arrays()
    initialisers = [library.numpy_helper.from_array(v, k) for k, v in tensors.items()]
    return _onnx(folder, initialisers, tensors, [])


def onnx_external(folder: Path) -> Built:
    """An ONNX graph with its larger values in a second file."""
    library = pytest.importorskip("onnx")
    tensors = arrays()
    initialisers = [library.numpy_helper.from_array(v, k) for k, v in tensors.items()]
    built = _onnx(folder, initialisers, tensors, [])
    library.save_model(
        library.load(built.path), built.path, save_as_external_data=True, location="model.onnx_data", size_threshold=64
    )
    assert (folder / "model.onnx_data").stat().st_size
    return Built(built.path, built.values, built.raw, [built.path, folder / "model.onnx_data"])


def _onnx(folder: Path, initialisers: list, tensors: dict[str, np.ndarray], nodes: list) -> Built:
    from onnx import TensorProto, helper, save_model

    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(
        [*nodes, helper.make_node("Identity", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, None)],
        [out],
        initialisers,
    )
    save_model(helper.make_model(graph), folder / "model.onnx")
    return Built(folder / "model.onnx", *_oracle(tensors), [folder / "model.onnx"])


def peft(folder: Path) -> Built:
    """A LoRA adapter folder, its base beside it: one adapted matrix, one adapted embedding, one replaced head."""
    from safetensors.numpy import save_file

    rng = np.random.default_rng(3)
    base = arrays(small=True) | {"model.embed_tokens.weight": rng.normal(size=(8, 6)).astype(np.float32)}
    base["lm_head.weight"] = rng.normal(size=(8, 6)).astype(np.float32)
    (folder / "base").mkdir()
    save_file(base, folder / "base" / "model.safetensors")
    q, emb = "model.layers.0.self_attn.q_proj", "model.embed_tokens"
    a, b = rng.normal(size=(2, 10)).astype(np.float32), rng.normal(size=(6, 2)).astype(np.float32)
    ea, eb = rng.normal(size=(2, 8)).astype(np.float32), rng.normal(size=(6, 2)).astype(np.float32)
    head = rng.normal(size=(8, 6)).astype(np.float32)
    adapter = folder / "adapter"
    adapter.mkdir()
    prefix = "base_model.model."
    save_file(
        {
            prefix + q + ".lora_A.weight": a,
            prefix + q + ".lora_B.weight": b,
            prefix + emb + ".lora_embedding_A": ea,
            prefix + emb + ".lora_embedding_B": eb,
            prefix + "lm_head.weight": head,
        },
        adapter / "adapter_model.safetensors",
    )
    (adapter / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 2, "lora_alpha": 6}))
    values, raw = _oracle(base | {"lm_head.weight": head})
    values[q + ".weight"] = values[q + ".weight"] + np.float32(3.0) * (b @ a)
    values[emb + ".weight"] = values[emb + ".weight"] + np.float32(3.0) * (eb @ ea).T
    computed = {q + ".weight", emb + ".weight"}
    for name in computed:
        raw[name] = values[name].tobytes()
    return Built(
        adapter, values, raw, [adapter / "adapter_model.safetensors", adapter / "adapter_config.json"], folder / "base", computed
    )


BUILDERS: dict[str, Callable[[Path], Built]] = {
    f.__name__: f for f in (safetensors, safetensors_sharded, torch_zip, torch_legacy, gguf, onnx, onnx_external, peft)
}
