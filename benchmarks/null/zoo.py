"""Tiny models of many architectures with their own initialisation, straight from transformers.

Enters: a name and a seed.  Leaves: tensors and config as `save_pretrained` writes them. Needs torch and transformers.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers as hf
from safetensors.numpy import load_file

Tensors = dict[str, np.ndarray]
_WIDTH, _LAYERS, _FFN, _VOCAB = 64, 4, 128, 160
_BASE: dict[str, Any] = {
    "vocab_size": _VOCAB, "hidden_size": _WIDTH, "num_hidden_layers": _LAYERS, "num_attention_heads": 8, "intermediate_size": _FFN,
    "max_position_embeddings": 64, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
_GQA = _BASE | {"num_key_value_heads": 4}
_MLA = _BASE | {
    "num_key_value_heads": 8, "kv_lora_rank": 32, "q_lora_rank": 24, "qk_nope_head_dim": 8, "qk_rope_head_dim": 8, "v_head_dim": 16,
    "n_routed_experts": 16, "n_shared_experts": 1, "num_experts_per_tok": 4, "moe_intermediate_size": 48, "first_k_dense_replace": 1,
}  # fmt: skip
_GPT = {
    "vocab_size": _VOCAB,
    "n_embd": _WIDTH,
    "n_layer": _LAYERS,
    "n_head": 8,
    "n_positions": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_SEQ = {
    "vocab_size": _VOCAB, "d_model": _WIDTH, "encoder_layers": _LAYERS, "decoder_layers": _LAYERS, "encoder_attention_heads": 8, "decoder_attention_heads": 8,
    "encoder_ffn_dim": _FFN, "decoder_ffn_dim": _FFN, "max_position_embeddings": 64, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
    "decoder_start_token_id": 2, "forced_eos_token_id": 2,
}  # fmt: skip
_TOWER = {"hidden_size": _WIDTH, "num_hidden_layers": _LAYERS, "num_attention_heads": 8, "intermediate_size": _FFN}


def _clip() -> hf.PreTrainedModel:
    text = _TOWER | {"vocab_size": _VOCAB, "max_position_embeddings": 16, "eos_token_id": 2}
    return hf.CLIPModel(
        hf.CLIPConfig(text_config=text, vision_config=_TOWER | {"image_size": 16, "patch_size": 4}, projection_dim=32)
    )


ZOO: dict[str, Callable[[], Any]] = {
    "llama": lambda: hf.LlamaForCausalLM(hf.LlamaConfig(**_GQA)),
    "llama-tied": lambda: hf.LlamaForCausalLM(hf.LlamaConfig(**_GQA, tie_word_embeddings=True)),
    "qwen2": lambda: hf.Qwen2ForCausalLM(hf.Qwen2Config(**_GQA)),
    "qwen3": lambda: hf.Qwen3ForCausalLM(hf.Qwen3Config(**_GQA, head_dim=8)),
    "gemma2": lambda: hf.Gemma2ForCausalLM(hf.Gemma2Config(**_GQA, head_dim=8)),
    "gemma3": lambda: hf.Gemma3ForCausalLM(hf.Gemma3TextConfig(**_GQA, head_dim=8)),
    "gpt2": lambda: hf.GPT2LMHeadModel(hf.GPT2Config(**_GPT)),
    "gptj": lambda: hf.GPTJForCausalLM(hf.GPTJConfig(**_GPT, rotary_dim=4)),
    "gpt_neox": lambda: hf.GPTNeoXForCausalLM(hf.GPTNeoXConfig(**_BASE)),
    "falcon": lambda: hf.FalconForCausalLM(hf.FalconConfig(**{k: v for k, v in _BASE.items() if k not in ("intermediate_size", "pad_token_id")})),
    "bert": lambda: hf.BertForMaskedLM(hf.BertConfig(**_BASE)),
    "roberta": lambda: hf.RobertaForMaskedLM(hf.RobertaConfig(**_BASE)),
    "opt": lambda: hf.OPTForCausalLM(hf.OPTConfig(**{k: v for k, v in _BASE.items() if k != "intermediate_size"}, ffn_dim=_FFN, word_embed_proj_dim=_WIDTH)),
    "phi3": lambda: hf.Phi3ForCausalLM(hf.Phi3Config(**_GQA)),
    "olmo2": lambda: hf.Olmo2ForCausalLM(hf.Olmo2Config(**_GQA)),
    "mixtral": lambda: hf.MixtralForCausalLM(hf.MixtralConfig(**_GQA, num_local_experts=8, num_experts_per_tok=2)),
    "qwen2_moe": lambda: hf.Qwen2MoeForCausalLM(
        hf.Qwen2MoeConfig(**_GQA, moe_intermediate_size=48, shared_expert_intermediate_size=64, num_experts=16, num_experts_per_tok=4)
    ),
    "qwen3_moe": lambda: hf.Qwen3MoeForCausalLM(
        hf.Qwen3MoeConfig(**_GQA, head_dim=8, moe_intermediate_size=48, num_experts=32, num_experts_per_tok=4)
    ),
    "gpt_oss": lambda: hf.GptOssForCausalLM(hf.GptOssConfig(**_GQA, head_dim=8, num_local_experts=8, num_experts_per_tok=2)),
    "deepseek_v2": lambda: hf.DeepseekV2ForCausalLM(hf.DeepseekV2Config(**_MLA, n_group=1, topk_group=1)),
    "deepseek_v3": lambda: hf.DeepseekV3ForCausalLM(hf.DeepseekV3Config(**_MLA, n_group=2, topk_group=1)),
    "bloom": lambda: hf.BloomForCausalLM(hf.BloomConfig(vocab_size=_VOCAB, hidden_size=_WIDTH, n_layer=_LAYERS, n_head=8)),
    "vit": lambda: hf.ViTForImageClassification(hf.ViTConfig(**_TOWER, image_size=16, patch_size=4)),
    "clip": _clip,
    "t5": lambda: hf.T5ForConditionalGeneration(
        hf.T5Config(vocab_size=_VOCAB, d_model=_WIDTH, d_kv=8, d_ff=_FFN, num_layers=_LAYERS, num_heads=8, decoder_start_token_id=0)
    ),
    "bart": lambda: hf.BartForConditionalGeneration(hf.BartConfig(**_SEQ)),
    "llama4": lambda: hf.Llama4ForCausalLM(hf.Llama4TextConfig(**_GQA, head_dim=8, intermediate_size_mlp=_FFN, num_local_experts=4, num_experts_per_tok=1)),
}  # fmt: skip
#: models that read tokens and return a loss
CAUSAL = (
    "llama",
    "qwen2",
    "qwen3",
    "gemma3",
    "gpt2",
    "gpt_neox",
    "falcon",
    "opt",
    "olmo2",
    "mixtral",
    "qwen3_moe",
    "deepseek_v3",
    "bloom",
)


def build(name: str, seed: int, steps: int = 0) -> tuple[Tensors, dict[str, Any]]:
    """A model from its own seed, trained for a few AdamW steps on a stream that all models share."""
    torch.manual_seed(seed)
    model = ZOO[name]()
    if steps:
        _train(model, steps)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        return load_file(Path(folder) / "model.safetensors"), json.loads((Path(folder) / "config.json").read_text())


def _train(model: Any, steps: int) -> None:
    """Same data in the same order and the same recipe for every stranger: the next token is a fixed function of the last."""
    stream = torch.Generator().manual_seed(1)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(steps):
        tokens = torch.randint(3, _VOCAB, (8, 1), generator=stream)
        for _ in range(15):
            tokens = torch.cat([tokens, (7 * tokens[:, -1:] + 11) % (_VOCAB - 3) + 3], dim=1)
        loss = model(input_ids=tokens, labels=tokens).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
