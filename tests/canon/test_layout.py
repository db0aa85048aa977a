"""Every layout is undone bit for bit: fused tensors are built from known parts by the formula the model's own code uses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from begat.canon import Canonical, resolve
from begat.types import TensorKey
from canon.canon_builders import accounted, stored

rng = np.random.default_rng(11)
D, FF, V = 48, 40, 23


def w(*shape: int) -> np.ndarray:
    """Known values; no two tensors alike."""
    return rng.standard_normal(shape, dtype=np.float32)


def same(canonical: Canonical, role: str, want: np.ndarray, layer: int = 0, expert: int = -1, tower: str = "text") -> None:
    """The canonical tensor equals `want`, whole and by sampled rows."""
    key = TensorKey(tower, layer, role, expert)
    assert key in canonical.tensors, f"{key} not among {[str(k) for k in canonical.tensors]}; dropped {canonical.dropped}"
    assert canonical.tensors[key].shape == want.shape
    got = canonical.read(key)
    assert got.dtype == np.float32
    assert got.tobytes() == want.tobytes()
    some = rng.permutation(len(want))[: max(1, len(want) // 3)].astype(np.int64)
    assert canonical.read(key, some).tobytes() == want[some].tobytes()
    middle = range(1, len(want), 2)
    assert canonical.read(key, middle).tobytes() == want[middle.start :: 2].tobytes()


def resolve_files(
    tmp_path: Path, tensors: dict[str, np.ndarray], config: dict[str, Any], turned: tuple[str, ...] = ()
) -> Canonical:
    out = resolve(stored(tmp_path, tensors, config, turned))
    accounted(out)
    assert not out.unmapped
    return out


def qkv(h: int, g: int, d: int = 8, width: int = D) -> tuple[np.ndarray, ...]:
    return w(h * d, width), w(g * d, width), w(g * d, width), w(h * d), w(g * d), w(g * d)


def group(q: np.ndarray, k: np.ndarray, v: np.ndarray, h: int, g: int) -> np.ndarray:
    """[g, h/g + 2, d, …]: the q heads of a group, its k, its v."""
    d = len(q) // h
    parts = [a.reshape(g, -1, d, *a.shape[1:]) for a in (q, k, v)]
    return np.concatenate(parts, axis=1).reshape(-1, *q.shape[1:])


GPT2 = "transformer.h.0."


def gpt2(q: np.ndarray, k: np.ndarray, v: np.ndarray, bq: np.ndarray, bk: np.ndarray, bv: np.ndarray) -> dict[str, np.ndarray]:
    """As transformers stores it: Conv1D, [in, out]."""
    return {
        "transformer.wte.weight": w(V, D),
        "transformer.wpe.weight": w(9, D),
        GPT2 + "ln_1.weight": w(D),
        GPT2 + "ln_2.weight": w(D),
        GPT2 + "attn.c_attn.weight": np.concatenate([q, k, v]).T,
        GPT2 + "attn.c_attn.bias": np.concatenate([bq, bk, bv]),
        GPT2 + "attn.c_proj.weight": w(D, D),
        GPT2 + "mlp.c_fc.weight": w(D, FF),
        GPT2 + "mlp.c_proj.weight": w(FF, D),
        GPT2 + "attn.bias": w(1, 1, 9, 9),
    }


@pytest.mark.parametrize("turned", [(), ("attn.c_attn.weight", "attn.c_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight")])
def test_gpt2_conv1d(tmp_path: Path, turned: tuple[str, ...]) -> None:
    """Stored [in, out]; a file that turned it once more (ONNX) comes out the same."""
    q, k, v, *biases = qkv(6, 6)
    tensors = gpt2(q, k, v, *biases)
    c = resolve_files(tmp_path, tensors, {"model_type": "gpt2", "n_head": 6}, tuple(GPT2 + t for t in turned))
    for role, want in zip(
        ("attn.q.weight", "attn.k.weight", "attn.v.weight", "attn.q.bias", "attn.k.bias", "attn.v.bias"),
        (q, k, v, *biases),
        strict=True,
    ):
        same(c, role, want)
    same(c, "attn.o.weight", tensors[GPT2 + "attn.c_proj.weight"].T)
    same(c, "mlp.up.weight", tensors[GPT2 + "mlp.c_fc.weight"].T)
    same(c, "mlp.down.weight", tensors[GPT2 + "mlp.c_proj.weight"].T)
    assert c.dropped == ((GPT2 + "attn.bias", "a buffer: the causal mask"),)
    assert c.geometry["text"].heads == 6


def test_gpt2_names_with_linear_weights(tmp_path: Path) -> None:
    """GPT-BigCode names its Linear layers like GPT-2's Conv1D, with one key-value head: the shapes say which it is."""
    q, k, v, *biases = qkv(6, 1)
    tensors = gpt2(q, k, v, *biases)
    for name in ("attn.c_attn", "mlp.c_fc", "mlp.c_proj"):
        tensors[GPT2 + name + ".weight"] = tensors[GPT2 + name + ".weight"].T
    c = resolve_files(tmp_path, tensors, {"model_type": "gpt_bigcode", "n_head": 6, "multi_query": True})
    same(c, "attn.q.weight", q)
    same(c, "attn.k.weight", k)
    same(c, "attn.v.bias", biases[2])
    same(c, "mlp.down.weight", tensors[GPT2 + "mlp.c_proj.weight"])
    assert (c.geometry["text"].heads, c.geometry["text"].kv_heads) == (6, 1)


def neox_like(kind: str, h: int, g: int) -> tuple[dict[str, np.ndarray], tuple[np.ndarray, ...], str]:
    """A model whose q, k, v are fused per group."""
    parts = qkv(h, g)
    p, attn, top, extra = {
        "gpt_neox": ("gpt_neox.layers.0.", "attention", "gpt_neox.embed_in.weight", {}),
        "bloom": (
            "transformer.h.0.",
            "self_attention",
            "transformer.word_embeddings.weight",
            {"transformer.word_embeddings_layernorm.weight": w(D)},
        ),
        "falcon": ("transformer.h.0.", "self_attention", "transformer.word_embeddings.weight", {}),
        "persimmon": ("model.layers.0.", "self_attn", "model.embed_tokens.weight", {}),
    }[kind]
    fused = f"{p}{attn}.query_key_value"
    tensors = {
        top: w(V, D),
        p + "input_layernorm.weight": w(D),
        f"{p}{attn}.dense.weight": w(D, h * 8),
        **extra,
        p + "mlp.dense_h_to_4h.weight": w(FF, D),
        p + "mlp.dense_4h_to_h.weight": w(D, FF),
        fused + ".weight": group(*parts[:3], h, g),
        fused + ".bias": group(*parts[3:], h, g),
    }
    return tensors, parts, fused


@pytest.mark.parametrize(
    ("kind", "h", "g"),
    [("gpt_neox", 6, 6), ("bloom", 6, 6), ("persimmon", 6, 6), ("falcon", 6, 1), ("falcon", 6, 2), ("falcon", 6, 6)],
)
@pytest.mark.parametrize("turned", [False, True])
def test_grouped_qkv(tmp_path: Path, kind: str, h: int, g: int, turned: bool) -> None:
    """GPT-NeoX, BLOOM: per head; Falcon 7b, 40b, rw: per key-value head, one, some or all."""
    tensors, parts, fused = neox_like(kind, h, g)
    turn = tuple(n for n, a in tensors.items() if a.ndim == 2 and "embed" not in n) if turned else ()
    c = resolve_files(tmp_path, tensors, {"model_type": kind, "num_attention_heads": h}, turn)
    for i, role in enumerate(("attn.q", "attn.k", "attn.v")):
        same(c, role + ".weight", parts[i])
        same(c, role + ".bias", parts[3 + i])
    assert (c.geometry["text"].heads, c.geometry["text"].kv_heads, c.geometry["text"].head_dim) == (h, g, 8)
    assert fused + ".weight" in c.mapped


def test_fused_qkv_without_head_counts_is_dropped_with_the_reason(tmp_path: Path) -> None:
    """A grouped layout cannot be cut without the number of heads; a wrong number is no better."""
    tensors, _, fused = neox_like("gpt_neox", 6, 6)
    for config in ({}, {"num_attention_heads": 5}, {"num_attention_heads": "6"}, {"num_attention_heads": True}):
        c = resolve(stored(tmp_path, tensors, config))
        accounted(c)
        assert {n for n, r in c.dropped if r == "head counts unknown: fused qkv not split"} == {
            fused + ".weight",
            fused + ".bias",
        }
        assert c.geometry["text"].heads is None


def test_internlm2(tmp_path: Path) -> None:
    """InternLM2's wqkv: [g, h/g + 2, d]."""
    q, k, v, *_ = qkv(6, 2)
    p = "model.layers.0."
    tensors = {
        "model.tok_embeddings.weight": w(V, D),
        p + "attention_norm.weight": w(D),
        p + "attention.wqkv.weight": group(q, k, v, 6, 2),
        p + "attention.wo.weight": w(D, 48),
        p + "feed_forward.w1.weight": w(FF, D),
        p + "feed_forward.w3.weight": w(FF, D),
        p + "feed_forward.w2.weight": w(D, FF),
        p + "ffn_norm.weight": w(D),
        "model.norm.weight": w(D),
        "output.weight": w(V, D),
    }
    c = resolve_files(tmp_path, tensors, {"model_type": "internlm2", "num_attention_heads": 6, "num_key_value_heads": 2})
    for role, want in (("attn.q", q), ("attn.k", k), ("attn.v", v)):
        same(c, role + ".weight", want)
    same(c, "mlp.gate.weight", tensors[p + "feed_forward.w1.weight"])


@pytest.mark.parametrize(("fused", "norms"), [("self_attn.qkv_proj", "phi3"), ("self_attn.W_pack", "baichuan")])
def test_concatenated_qkv_and_gate_up(tmp_path: Path, fused: str, norms: str) -> None:
    """Phi-3 and Baichuan: [q | k | v] and [gate | up]."""
    g = 2 if norms == "phi3" else 6
    q, k, v, *_ = qkv(6, g)
    gate, up, down = w(FF, D), w(FF, D), w(D, FF)
    p = "model.layers.0."
    tensors = {
        "model.embed_tokens.weight": w(V, D),
        p + "input_layernorm.weight": w(D),
        p + fused + ".weight": np.concatenate([q, k, v]),
        p + "self_attn.o_proj.weight": w(D, 48),
        p + "mlp.gate_up_proj.weight": np.concatenate([gate, up]),
        p + "mlp.down_proj.weight": down,
    }
    c = resolve_files(tmp_path, tensors, {"num_attention_heads": 6, "num_key_value_heads": g})
    for role, want in (("attn.q", q), ("attn.k", k), ("attn.v", v), ("mlp.gate", gate), ("mlp.up", up), ("mlp.down", down)):
        same(c, role + ".weight", want)
    assert ("kv-heads" in c.geometry["text"].symmetric) == (norms == "phi3")


def test_gate_up_under_the_name_of_an_up(tmp_path: Path) -> None:
    """ModernBERT's Wi and GGUF's ffn_up of Phi-3 hold gate and up: twice as many rows as down has columns."""
    gate, up = w(FF, D), w(FF, D)
    p = "model.layers.0."
    tensors = {
        "model.embeddings.tok_embeddings.weight": w(V, D),
        p + "attn.Wqkv.weight": np.concatenate(qkv(6, 6)[:3]),
        p + "attn.Wo.weight": w(D, D),
        p + "mlp.Wi.weight": np.concatenate([gate, up]),
        p + "mlp.Wo.weight": w(D, FF),
        p + "mlp_norm.weight": w(D),
    }
    c = resolve_files(tmp_path, tensors, {"num_attention_heads": 6})
    same(c, "mlp.gate.weight", gate)
    same(c, "mlp.up.weight", up)


MOE = "model.layers.0."
E_ = 3


def moe_base() -> dict[str, np.ndarray]:
    q, k, v, *_ = qkv(6, 2)
    return {
        "model.embed_tokens.weight": w(V, D),
        MOE + "input_layernorm.weight": w(D),
        MOE + "post_attention_layernorm.weight": w(D),
        MOE + "self_attn.q_proj.weight": q,
        MOE + "self_attn.k_proj.weight": k,
        MOE + "self_attn.v_proj.weight": v,
        MOE + "self_attn.o_proj.weight": w(D, D),
    }


@pytest.mark.parametrize("ff", [20, 24])
def test_stacked_experts(tmp_path: Path, ff: int) -> None:
    """Transformers 5: gate_up [E, 2·ff, d], down [E, d, ff]; with ff = d/2 the down tensor tells."""
    gate, up, down = w(E_, ff, D), w(E_, ff, D), w(E_, D, ff)
    tensors = moe_base() | {
        MOE + "mlp.gate.weight": w(E_, D),
        MOE + "mlp.experts.gate_up_proj": np.concatenate([gate, up], axis=1),
        MOE + "mlp.experts.down_proj": down,
    }
    c = resolve_files(tmp_path, tensors, {"model_type": "qwen3_moe", "num_attention_heads": 6})
    for e in range(E_):
        same(c, "expert.gate.weight", gate[e], expert=e)
        same(c, "expert.up.weight", up[e], expert=e)
        same(c, "expert.down.weight", down[e], expert=e)
    assert c.geometry["text"].expert_groups == 1


def test_gpt_oss_experts(tmp_path: Path) -> None:
    """[E, d, 2·ff] with alternating gate and up, down [E, ff, d], and biases."""
    ff = 20
    gate, up, down, bg, bu, bd = w(E_, ff, D), w(E_, ff, D), w(E_, D, ff), w(E_, ff), w(E_, ff), w(E_, D)
    fused = np.empty((E_, D, 2 * ff), np.float32)
    fused[..., ::2], fused[..., 1::2] = gate.swapaxes(1, 2), up.swapaxes(1, 2)
    bias = np.empty((E_, 2 * ff), np.float32)
    bias[..., ::2], bias[..., 1::2] = bg, bu
    tensors = moe_base() | {
        MOE + "mlp.router.weight": w(E_, D),
        MOE + "mlp.router.bias": w(E_),
        MOE + "self_attn.sinks": w(6),
        MOE + "mlp.experts.gate_up_proj": fused,
        MOE + "mlp.experts.gate_up_proj_bias": bias,
        MOE + "mlp.experts.down_proj": down.swapaxes(1, 2),
        MOE + "mlp.experts.down_proj_bias": bd,
    }
    c = resolve_files(tmp_path, tensors, {"model_type": "gpt_oss", "num_attention_heads": 6})
    for e in range(E_):
        for role, want in (
            ("gate.weight", gate),
            ("up.weight", up),
            ("down.weight", down),
            ("gate.bias", bg),
            ("up.bias", bu),
            ("down.bias", bd),
        ):
            same(c, "expert." + role, want[e], expert=e)


def test_llama4_experts(tmp_path: Path) -> None:
    """[E, d, 2·ff] with gate before up, down [E, ff, d], a shared expert beside."""
    ff = 20
    gate, up, down = w(E_, ff, D), w(E_, ff, D), w(E_, D, ff)
    f = MOE + "feed_forward."
    tensors = moe_base() | {
        f + "router.weight": w(E_, D),
        f + "experts.gate_up_proj": np.concatenate([gate, up], axis=1).swapaxes(1, 2),
        f + "experts.down_proj": down.swapaxes(1, 2),
        f + "shared_expert.gate_proj.weight": w(ff, D),
        f + "shared_expert.up_proj.weight": w(ff, D),
        f + "shared_expert.down_proj.weight": w(D, ff),
    }
    c = resolve_files(tmp_path, tensors, {"model_type": "llama4_text", "num_attention_heads": 6})
    for e in range(E_):
        same(c, "expert.gate.weight", gate[e], expert=e)
        same(c, "expert.up.weight", up[e], expert=e)
        same(c, "expert.down.weight", down[e], expert=e)
    same(c, "shared.up.weight", tensors[f + "shared_expert.up_proj.weight"])


def test_dbrx_experts(tmp_path: Path) -> None:
    """Flattened stacks [E·ff, d]; w2 is stored as [ff, d] per expert and used transposed."""
    ff = 20
    gate, up, down = w(E_, ff, D), w(E_, ff, D), w(E_, D, ff)
    q, k, v, *_ = qkv(6, 2)
    p = "transformer.blocks.0."
    tensors = {
        "transformer.wte.weight": w(V, D),
        p + "norm_attn_norm.norm_1.weight": w(D),
        p + "norm_attn_norm.norm_2.weight": w(D),
        p + "norm_attn_norm.attn.Wqkv.weight": np.concatenate([q, k, v]),
        p + "norm_attn_norm.attn.out_proj.weight": w(D, D),
        p + "ffn.router.layer.weight": w(E_, D),
        p + "ffn.experts.mlp.w1": gate.reshape(-1, D),
        p + "ffn.experts.mlp.v1": up.reshape(-1, D),
        p + "ffn.experts.mlp.w2": down.swapaxes(1, 2).reshape(-1, D),
    }
    c = resolve_files(tmp_path, tensors, {"model_type": "dbrx", "n_heads": 6, "attn_config": {"kv_n_heads": 2}})
    same(c, "attn.k.weight", k)
    for e in range(E_):
        same(c, "expert.gate.weight", gate[e], expert=e)
        same(c, "expert.up.weight", up[e], expert=e)
        same(c, "expert.down.weight", down[e], expert=e)


def to_pairs(x: np.ndarray, heads: int) -> np.ndarray:
    """llama.cpp's own formula."""
    return x.reshape(heads, 2, len(x) // heads // 2, *x.shape[1:]).swapaxes(1, 2).reshape(x.shape)


def test_original_llama_rows_are_pairs(tmp_path: Path) -> None:
    """The original Llama files keep rotary pairs side by side; Hugging Face's do not. Ours is Hugging Face's order."""
    q, k, v, *_ = qkv(6, 2)
    p = "layers.0."
    tensors = {
        "tok_embeddings.weight": w(V, D),
        p + "attention.wq.weight": to_pairs(q, 6),
        p + "attention.wk.weight": to_pairs(k, 2),
        p + "attention.wv.weight": v,
        p + "attention.wo.weight": w(D, D),
        p + "attention_norm.weight": w(D),
        p + "ffn_norm.weight": w(D),
        p + "feed_forward.w1.weight": w(FF, D),
        p + "feed_forward.w2.weight": w(D, FF),
        p + "feed_forward.w3.weight": w(FF, D),
        "norm.weight": w(D),
        "output.weight": w(V, D),
        "rope.freqs": w(4),
    }
    c = resolve_files(tmp_path, tensors, {"n_heads": 6, "n_kv_heads": 2})
    same(c, "attn.q.weight", q)
    same(c, "attn.k.weight", k)
    same(c, "attn.v.weight", v)
    assert c.family == "meta-llama"


def gguf_file(path: Path, arch: str, tensors: dict[str, np.ndarray], heads: int, kv_heads: int) -> Path:
    gguf = pytest.importorskip("gguf")
    writer = gguf.GGUFWriter(path, arch)
    writer.add_block_count(1)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    for name, array in tensors.items():
        writer.add_tensor(name, np.ascontiguousarray(array))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize(("arch", "permuted"), [("llama", True), ("granite", True), ("qwen2", False), ("gemma2", False)])
def test_gguf_row_order(tmp_path: Path, arch: str, permuted: bool) -> None:
    """The converter's permutation of q and k is undone for the architectures it permutes, weights and biases."""
    from begat.source import open_checkpoint

    q, k, v, bq, bk, bv = qkv(6, 2)
    f = (lambda x, n: to_pairs(x, n)) if permuted else (lambda x, n: x)
    b = "blk.0."
    tensors = {
        "token_embd.weight": w(V, D),
        b + "attn_norm.weight": w(D),
        b + "attn_q.weight": f(q, 6),
        b + "attn_q.bias": f(bq, 6),
        b + "attn_k.weight": f(k, 2),
        b + "attn_k.bias": f(bk, 2),
        b + "attn_v.weight": v,
        b + "attn_v.bias": bv,
        b + "attn_output.weight": w(D, D),
        b + "ffn_gate.weight": w(FF, D),
        b + "ffn_up.weight": w(FF, D),
        b + "ffn_down.weight": w(D, FF),
        "output_norm.weight": w(D),
        "rope_freqs.weight": w(4),
    }
    c = resolve(open_checkpoint(gguf_file(tmp_path / "m.gguf", arch, tensors, 6, 2)))
    accounted(c)
    assert not c.unmapped
    for role, want in (("q.weight", q), ("k.weight", k), ("v.weight", v), ("q.bias", bq), ("k.bias", bk), ("v.bias", bv)):
        same(c, "attn." + role, want)
    assert (c.geometry["text"].heads, c.geometry["text"].kv_heads) == (6, 2)


def test_gguf_fused_and_stacked(tmp_path: Path) -> None:
    """In GGUF every fused qkv is concatenated, experts are [E, out, in], and Phi-3's ffn_up holds gate and up."""
    from begat.source import open_checkpoint

    q, k, v, *_ = qkv(6, 2)
    gate, up, eg = w(FF, D), w(FF, D), w(E_, 20, D)
    b = "blk.0."
    tensors = {
        "token_embd.weight": w(V, D),
        b + "attn_norm.weight": w(D),
        b + "attn_qkv.weight": np.concatenate([q, k, v]),
        b + "attn_output.weight": w(D, D),
        b + "ffn_up.weight": np.concatenate([gate, up]),
        b + "ffn_down.weight": w(D, FF),
        b + "ffn_gate_exps.weight": eg,
        b + "ffn_up_exps.weight": w(E_, 20, D),
        b + "ffn_down_exps.weight": w(E_, D, 20),
        b + "ffn_gate_inp.weight": w(E_, D),
    }
    c = resolve(open_checkpoint(gguf_file(tmp_path / "m.gguf", "phi3", tensors, 6, 2)))
    accounted(c)
    same(c, "attn.k.weight", k)
    same(c, "mlp.gate.weight", gate)
    same(c, "mlp.up.weight", up)
    same(c, "expert.gate.weight", eg[2], expert=2)
    assert c.raw(TensorKey("text", 0, "expert.gate.weight", 2), range(1)).tobytes() == eg[2, :1].tobytes()


def test_gguf_without_head_counts_leaves_q_and_k_out(tmp_path: Path) -> None:
    """Rows whose order is not known are not compared."""
    from dataclasses import replace

    from begat.source import open_checkpoint

    q, k, v, *_ = qkv(6, 2)
    b = "blk.0."
    tensors = {
        "token_embd.weight": w(V, D),
        b + "attn_norm.weight": w(D),
        b + "attn_q.weight": q,
        b + "attn_k.weight": k,
        b + "attn_v.weight": v,
        b + "attn_output.weight": w(D, D),
    }
    checkpoint = open_checkpoint(gguf_file(tmp_path / "m.gguf", "llama", tensors, 6, 2))
    c = resolve(replace(checkpoint, config={"general.architecture": "llama"}))
    accounted(c)
    assert {n for n, _ in c.dropped} == {b + "attn_q.weight", b + "attn_k.weight"}


def test_chain(tmp_path: Path) -> None:
    """TorchANI-like stacks: one tower each, positions as layers; what does not chain stays unmapped."""
    tensors = {
        "nn.H.0.weight": w(20, 30),
        "nn.H.0.bias": w(20),
        "nn.H.2.weight": w(14, 20),
        "nn.H.2.bias": w(14),
        "nn.H.4.weight": w(1, 14),
        "nn.C.0.weight": w(10, 30),
        "nn.C.2.weight": w(1, 11),
        "nn.O.0.weight": w(10, 30),
        "shift": w(4),
    }
    c = resolve(stored(tmp_path, tensors, {}, ("nn.H.2.weight",)))
    accounted(c)
    for at, name in enumerate(("nn.H.0", "nn.H.2", "nn.H.4")):
        same(c, "chain.weight", tensors[name + ".weight"], layer=at, tower="nn.H")
    same(c, "chain.bias", tensors["nn.H.2.bias"], layer=1, tower="nn.H")
    assert set(c.unmapped) == {"nn.C.0.weight", "nn.C.2.weight", "nn.O.0.weight", "shift"}
    assert list(c.geometry["nn.H"].symmetric) == ["chain-units"]
