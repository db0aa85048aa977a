"""Self-made children of a real parent: SmolLM2-135M (GGUF Q4_1 from a package) re-quantised, and fine-tuned.

Enters: the GGUF file.  Leaves: a Q8_0 GGUF, a dequantised float16 copy and a fine-tuned copy in Hugging Face layout. The parent is real,
the children are ours: the table says so.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

import begat
from begat.canon.resolve import resolve

_NAMES = {
    "embed.tokens": "model.embed_tokens.weight", "final.norm.gain": "model.norm.weight", "attn.norm.gain": "input_layernorm.weight",
    "mlp.norm.gain": "post_attention_layernorm.weight", "attn.q.weight": "self_attn.q_proj.weight", "attn.k.weight": "self_attn.k_proj.weight",
    "attn.v.weight": "self_attn.v_proj.weight", "attn.o.weight": "self_attn.o_proj.weight", "mlp.gate.weight": "mlp.gate_proj.weight",
    "mlp.up.weight": "mlp.up_proj.weight", "mlp.down.weight": "mlp.down_proj.weight",
}  # fmt: skip


def dequantised(gguf_file: Path, out: Path) -> Path:
    """The GGUF's values as float16 under Hugging Face names (the q/k row order undone by begat's canon)."""
    if (out / "model.safetensors").exists():
        return out
    checkpoint = begat.open_checkpoint(gguf_file)
    model = resolve(checkpoint)
    tensors = {}
    for key in model.tensors:
        name = _NAMES[key.role] if key.layer < 0 else f"model.layers.{key.layer}.{_NAMES[key.role]}"
        tensors[name] = model.read(key).astype(np.float16)
    out.mkdir(parents=True, exist_ok=True)
    save_file(tensors, out / "model.safetensors")
    g = {k.removeprefix("llama."): v for k, v in checkpoint.config.items()}
    config = {
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": g["embedding_length"], "num_hidden_layers": g["block_count"],
        "intermediate_size": g["feed_forward_length"], "num_attention_heads": g["attention.head_count"],
        "num_key_value_heads": g["attention.head_count_kv"], "rope_theta": g["rope.freq_base"], "rms_norm_eps": g["attention.layer_norm_rms_epsilon"],
        "vocab_size": int(tensors["model.embed_tokens.weight"].shape[0]), "tie_word_embeddings": True, "max_position_embeddings": 2048,
    }  # fmt: skip
    (out / "config.json").write_text(json.dumps(config, default=float))
    return out


def requantised(gguf_file: Path, out: Path) -> Path:
    """The same GGUF with every Q4_1 tensor re-quantised to Q8_0."""
    import gguf

    if out.exists():
        return out
    reader = gguf.GGUFReader(gguf_file)
    out.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(out, "llama")
    for field in ("block_count", "embedding_length", "feed_forward_length"):
        value = int(reader.fields[f"llama.{field}"].parts[-1][0])
        getattr(writer, f"add_{field}")(value)
    writer.add_head_count(int(reader.fields["llama.attention.head_count"].parts[-1][0]))
    writer.add_head_count_kv(int(reader.fields["llama.attention.head_count_kv"].parts[-1][0]))
    for t in reader.tensors:
        values = gguf.quants.dequantize(t.data, t.tensor_type).reshape(tuple(reversed(t.shape.tolist())))
        if t.tensor_type == gguf.GGMLQuantizationType.F32:
            writer.add_tensor(t.name, values.astype(np.float32))
        else:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(t.name, gguf.quants.quantize(values.astype(np.float32), kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return out
