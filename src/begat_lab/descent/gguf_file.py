"""GGUF: the parent as llama.cpp's converter and quantiser write it: their names, their row order of q and k, their block types.

Enters: a parent.  Leaves: `model.gguf` beside the config.  Blocks are 32 inputs of a row: Q8_0 int8, Q4_0 four bits, each with a
float16 scale; or 256, of the K-quants.  Needs the `gguf` package, which does the rounding but for the K-quants: `k_quants.py`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from begat import InputError
from begat_lab.descent.base import Child, Job, kind
from begat_lab.descent.k_quants import BLOCK, FALLBACK, QUANTISERS
from begat_lab.models.dense import DenseLM
from begat_lab.models.huggingface import CONFIG, config_json
from begat_lab.tokenizer import byte_letters, write_tokenizer

FILE = "model.gguf"
TYPES = ("F32", "F16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q4_K", "Q6_K")
_NAMES = {
    "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}  # fmt: skip
_OUTSIDE = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}


@dataclass(frozen=True, slots=True)
class Blocks:
    """Which block type."""

    type: str = (
        "Q8_0"  # of every matrix, embedding and head too; gains stay F32, and rows of no whole K-quant blocks take a type of 32
    )

    def __post_init__(self) -> None:
        if self.type not in TYPES:
            raise InputError("GGUF block type", expected=", ".join(TYPES), found=self.type)


@kind("gguf", "GGUF file", options=Blocks, stores="quantised")
def gguf_file(job: Job) -> Child:
    """Convert and quantise the parent."""
    try:
        import gguf
    except ImportError:
        raise InputError("kind gguf needs the gguf package", fix="pip install begat[gguf]") from None
    model = job.parent()
    writer = gguf.GGUFWriter(job.folder / FILE, "llama")
    _describe(writer, model)
    types: Counter[str] = Counter()
    with torch.no_grad():
        for name, weight in model.state_dict().items():
            order = _row_order(name, model)
            values = weight[order].numpy()
            chosen = _type_of(job.options.type, values)
            quant = gguf.GGMLQuantizationType[chosen]
            packed = QUANTISERS[chosen](values) if chosen in QUANTISERS else gguf.quants.quantize(values, quant)
            writer.add_tensor(_gguf_name(name), packed, raw_dtype=quant if values.ndim > 1 else None)
            if values.ndim > 1:
                weight[order] = torch.from_numpy(np.array(gguf.quants.dequantize(packed, quant), dtype=np.float32))
                types[chosen] += 1
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    (job.folder / CONFIG).write_text(config_json(model.config, torch.float32), encoding="utf-8", newline="\n")
    write_tokenizer(job.folder, model.config.vocab_size)
    return Child(model, {"types": dict(types)})


def _type_of(asked: str, values: np.ndarray) -> str:
    """The type of one tensor: vectors stay, and K-quants need whole blocks."""
    if values.ndim == 1:
        return "F32"
    return FALLBACK[asked] if asked in FALLBACK and values.shape[-1] % BLOCK else asked


def _gguf_name(name: str) -> str:
    if name in _OUTSIDE:
        return _OUTSIDE[name]
    _, _, layer, *parts = name.split(".")
    return f"blk.{layer}.{_NAMES['.'.join(parts[:-1])]}.weight"


def _row_order(name: str, model: DenseLM) -> Tensor:
    """Which stored row comes from which row: q and k lie pair by pair, where Hugging Face pairs the halves of a head."""
    config, rows = model.config, model.get_parameter(name).shape[0]
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}.get(name.split(".")[-2])
    if heads is None:
        return torch.arange(rows)
    return torch.arange(rows).view(heads, 2, -1).transpose(1, 2).reshape(-1)


def _describe(writer: Any, model: DenseLM) -> None:
    """The metadata that llama.cpp needs to run it."""
    config = model.config
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    letters = byte_letters()
    words = [letters[row] if row < len(letters) else f"<extra_{row}>" for row in range(config.vocab_size)]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(words)
    writer.add_token_types([1 if row < len(letters) else 4 for row in range(config.vocab_size)])  # normal, user-defined
    writer.add_token_merges([f"{words[0]} {words[0]}"])
