"""A Llama-shaped decoder, read from top to bottom: config, norm, attention, MLP, block, model, initial weights, `config.json`.

Enters: a `DenseConfig` and token ids.  Leaves: logits.  Attributes carry Hugging Face's names, so that the state dict *is* the
checkpoint and no table of names can be wrong.  Files and folders: `huggingface.py`.  Training: `begat_lab.training`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from begat_lab.models.architecture import ARCHITECTURES, Architecture, LanguageModel, draw

# Shape suffixes: x_BTD is a tensor of shape [B, T, D].
#   B batch     T position (time)     V vocabulary     D hidden size (the residual stream)     F MLP units
#   H query heads     K key/value heads (H is a multiple of K)     C dims of one head     R = C/2 rotated pairs


@dataclass(frozen=True, kw_only=True, slots=True)
class DenseConfig:
    """The shape of one model. Fields carry the names of Hugging Face's `config.json`."""

    vocab_size: int  # V
    hidden_size: int  # D
    intermediate_size: int  # F
    num_hidden_layers: int
    num_attention_heads: int  # H
    num_key_value_heads: int  # K; K < H is grouped-query attention: heads h*H/K .. share key/value head h
    head_dim: int  # C; usually D/H, but nothing needs it to be
    rope_theta: float = 10000.0  # the slowest pair turns by about 1/theta a position
    rms_norm_eps: float = 1e-5
    tie_word_embeddings: bool = True  # logits come from the embedding itself; there is no lm_head
    initializer_range: float = 0.02  # standard deviation of the initial weights, see `initialise`
    max_position_embeddings: int = 2048  # what it was trained for; nothing is enforced


class RMSNorm(nn.Module):  # type: ignore[misc]  # torch is untyped here (pyproject: follow_imports = skip)
    """x / rms(x) * gain, over the residual axis."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(size))
        self.eps = eps

    def forward(self, x_BTD: Tensor) -> Tensor:
        scale_BT1 = torch.rsqrt(x_BTD.square().mean(-1, keepdim=True) + self.eps)
        return x_BTD * scale_BT1 * self.weight


def rope_table(length: int, config: DenseConfig) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the angle by which position t turns pair r: t * theta^(-2r/C)."""
    pair_R = torch.arange(0, config.head_dim, 2, dtype=torch.float32)
    angle_TR = torch.outer(torch.arange(length, dtype=torch.float32), config.rope_theta ** (-pair_R / config.head_dim))
    return angle_TR.cos(), angle_TR.sin()


def rotate(x_BHTC: Tensor, cos_TR: Tensor, sin_TR: Tensor) -> Tensor:
    """Turn the pairs (r, r + C/2). That pairing of halves is Hugging Face's row order; GGUF pairs neighbours."""
    a_BHTR, b_BHTR = x_BHTC.chunk(2, dim=-1)
    return torch.cat((a_BHTR * cos_TR - b_BHTR * sin_TR, b_BHTR * cos_TR + a_BHTR * sin_TR), dim=-1)


class Attention(nn.Module):  # type: ignore[misc]
    """Causal grouped-query attention with rotary positions and no biases."""

    def __init__(self, config: DenseConfig) -> None:
        super().__init__()
        self.config = config
        q_size, kv_size = config.num_attention_heads * config.head_dim, config.num_key_value_heads * config.head_dim
        self.q_proj = nn.Linear(config.hidden_size, q_size, bias=False)
        self.k_proj = nn.Linear(config.hidden_size, kv_size, bias=False)
        self.v_proj = nn.Linear(config.hidden_size, kv_size, bias=False)
        self.o_proj = nn.Linear(q_size, config.hidden_size, bias=False)

    def forward(self, x_BTD: Tensor, cos_TR: Tensor, sin_TR: Tensor) -> Tensor:
        c, (B, T, _) = self.config, x_BTD.shape
        q_BHTC = self.q_proj(x_BTD).view(B, T, c.num_attention_heads, c.head_dim).transpose(1, 2)
        k_BKTC = self.k_proj(x_BTD).view(B, T, c.num_key_value_heads, c.head_dim).transpose(1, 2)
        v_BKTC = self.v_proj(x_BTD).view(B, T, c.num_key_value_heads, c.head_dim).transpose(1, 2)
        q_BHTC, k_BKTC = rotate(q_BHTC, cos_TR, sin_TR), rotate(k_BKTC, cos_TR, sin_TR)
        y_BHTC = F.scaled_dot_product_attention(q_BHTC, k_BKTC, v_BKTC, is_causal=True, enable_gqa=True)
        return self.o_proj(y_BHTC.transpose(1, 2).reshape(B, T, -1))


class MLP(nn.Module):  # type: ignore[misc]
    """SwiGLU. Unit f is row f of gate and up and column f of down: the axis of begat's order test."""

    def __init__(self, config: DenseConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        h_BTF = F.silu(self.gate_proj(x_BTD)) * self.up_proj(x_BTD)
        return self.down_proj(h_BTF)


class Block(nn.Module):  # type: ignore[misc]
    """One layer: attention, then MLP, each reading a normed copy of the residual stream and adding to it."""

    def __init__(self, config: DenseConfig) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = MLP(config)

    def forward(self, x_BTD: Tensor, cos_TR: Tensor, sin_TR: Tensor) -> Tensor:
        x_BTD = x_BTD + self.self_attn(self.input_layernorm(x_BTD), cos_TR, sin_TR)
        return x_BTD + self.mlp(self.post_attention_layernorm(x_BTD))


class Decoder(nn.Module):  # type: ignore[misc]
    """Everything but the output head; Hugging Face calls it `model`."""

    def __init__(self, config: DenseConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(self, ids_BT: Tensor) -> Tensor:
        x_BTD = self.embed_tokens(ids_BT)
        cos_TR, sin_TR = rope_table(ids_BT.shape[1], self.config)
        for layer in self.layers:
            x_BTD = layer(x_BTD, cos_TR, sin_TR)
        return self.norm(x_BTD)


class DenseLM(LanguageModel):
    """The language model. Its weights are *unset*: make one with `new_model`, or load one with `huggingface.load_folder`."""

    config: DenseConfig

    def __init__(self, config: DenseConfig) -> None:
        super().__init__()
        self.config = config
        self.model = Decoder(config)
        if not config.tie_word_embeddings:
            self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)

    def forward(self, ids_BT: Tensor) -> Tensor:
        x_BTD = self.model(ids_BT)
        head_VD = self.model.embed_tokens.weight if self.config.tie_word_embeddings else self.lm_head.weight
        return F.linear(x_BTD, head_VD)  # logits_BTV


def initialise(model: DenseLM, generator: torch.Generator) -> None:
    """Draw every weight; what writes to the residual stream is drawn narrower, by sqrt(2 * layers)."""
    wide = model.config.initializer_range
    narrow = wide / (2 * model.config.num_hidden_layers) ** 0.5
    draw(model, generator, wide, narrow, ("o_proj.weight", "down_proj.weight", "w2.weight"))  # w2: of an expert, moe.py


# --- config.json ----------------------------------------------------------------------------------------------

# Settings of Hugging Face's Llama that change the function and that this model does not have, with the value it stands for.
_FIXED: dict[str, Any] = {"hidden_act": "silu", "attention_bias": False, "mlp_bias": False, "rope_scaling": None}


def write_config(config: DenseConfig, dtype: torch.dtype) -> dict[str, Any]:
    """The fields of `config` and what transformers needs to call it a Llama."""
    fixed = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": str(dtype).removeprefix("torch.")}
    return {**fixed, **_FIXED, **asdict(config)}


def read_config(raw: dict[str, Any], where: Path) -> DenseConfig:
    """The `DenseConfig` that a Hugging Face `config.json` describes."""
    return DenseConfig(**decoder_fields(raw, where))


def decoder_fields(raw: dict[str, Any], where: Path) -> dict[str, Any]:
    """The values of `DenseConfig` in a `config.json`; newer files keep theta under `rope_parameters`."""
    rope: dict[str, Any] = raw.get("rope_parameters") or {}
    if rope.get("rope_type", "default") != "default":
        raise ValueError(f"{where}: rope_type is {rope['rope_type']!r}, the lab's dense model has plain rotary positions only")
    for key, value in _FIXED.items():
        if raw.get(key, value) != value:
            raise ValueError(f"{where}: {key} is {raw[key]!r}, the lab's dense model has {value!r} only")
    heads = int(raw["num_attention_heads"])
    return {
        "vocab_size": int(raw["vocab_size"]),
        "hidden_size": int(raw["hidden_size"]),
        "intermediate_size": int(raw["intermediate_size"]),
        "num_hidden_layers": int(raw["num_hidden_layers"]),
        "num_attention_heads": heads,
        "num_key_value_heads": int(raw.get("num_key_value_heads") or heads),
        "head_dim": int(raw.get("head_dim") or raw["hidden_size"] // heads),
        "rope_theta": float(raw.get("rope_theta") or rope.get("rope_theta") or 10000.0),
        "rms_norm_eps": float(raw.get("rms_norm_eps", 1e-6)),
        "tie_word_embeddings": bool(raw.get("tie_word_embeddings", False)),
        "initializer_range": float(raw.get("initializer_range", 0.02)),
        "max_position_embeddings": int(raw.get("max_position_embeddings", 2048)),
    }


DENSE = Architecture(
    title="Llama-shaped decoder",
    config=DenseConfig,
    model=DenseLM,
    initialise=initialise,
    model_type="llama",
    write_config=write_config,
    read_config=read_config,
    matrices=r".*_proj\.weight",
)
ARCHITECTURES.add("dense")(DENSE)


def empty_model(config: DenseConfig) -> DenseLM:
    """A dense model whose weights are unset."""
    model: DenseLM = DENSE.empty(config)
    return model


def new_model(config: DenseConfig, generator: torch.Generator) -> DenseLM:
    """A dense model, untrained."""
    model: DenseLM = DENSE.new(config, generator)
    return model
