"""A Llama-shaped decoder, read from top to bottom: config, norm, attention, MLP, block, model, initial weights.

Enters: a `DenseConfig` and token ids.  Leaves: logits.  Attributes carry Hugging Face's names, so that the state dict *is* the
checkpoint and no table of names can be wrong.  Files and folders: `huggingface.py`.  Training: `begat_lab.training`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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


class DenseLM(nn.Module):  # type: ignore[misc]
    """The language model. Its weights are *unset*: make one with `new_model`, or load one with `huggingface.load_folder`."""

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


def empty_model(config: DenseConfig) -> DenseLM:
    """A model in float32 whose weights are whatever the memory held.

    Built on the `meta` device, which has no memory, so that torch's own random start is never drawn.
    """
    with torch.device("meta"):
        model = DenseLM(config)
    model.to_empty(device="cpu")
    return model


def new_model(config: DenseConfig, generator: torch.Generator) -> DenseLM:
    """An untrained model. The same generator state gives the same weights, which is all that twins share."""
    model = empty_model(config)
    initialise(model, generator)
    return model


def initialise(model: DenseLM, generator: torch.Generator) -> None:
    """Fill every weight, in the order of the state dict, from one generator.

    | weight                            | initial value                                                             |
    |-----------------------------------|---------------------------------------------------------------------------|
    | norm gains                        | 1                                                                         |
    | o_proj, down_proj (write to D)    | N(0, (range / sqrt(2 * layers))^2), so the residual stream does not grow  |
    | all others, embedding and head    | N(0, range^2), range = `initializer_range`                                |

    Every unit of an axis is drawn alike. That is what makes the order test exact, so never initialise by index.
    """
    wide = model.config.initializer_range
    narrow = wide / (2 * model.config.num_hidden_layers) ** 0.5
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() == 1:
                weight.fill_(1.0)
            else:
                writes = name.endswith(("o_proj.weight", "down_proj.weight"))
                weight.normal_(0.0, narrow if writes else wide, generator=generator)
