"""What both openPangu decoders have in common, read from top to bottom: config, norm, positions, attention, block, model.

Enters: token ids with a mask of which are real.  Leaves: `Output`, the logits and what was asked for besides.  The mixture:
`pangu_pro_moe.py`; the dense model: `pangu_dense.py`; key-value cache and generation: `pangu_generate.py`; folders: `pangu_folder.py`.
Facts from the released modelling files (docs of `pangu_pro_moe.py` name them); no line of theirs is here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from begat import InputError
from begat_lab.models.pangu_generate import Generates, KVCache
from begat_lab.moge.router import Routing, wide

# Shape suffixes: x_BTD is a tensor of shape [B, T, D].
#   B batch     T position (time)     S positions seen: cached ones and T     V vocabulary     D hidden size
#   H query heads     K key/value heads (H is a multiple of K)     C dims of one head     R = C/2 rotated pairs

ATTENTIONS = ("sdpa", "eager")


@dataclass(frozen=True, kw_only=True, slots=True)
class PanguConfig:
    """The shape of one model. Fields carry the names of the released `config.json`; `pangu_folder.py` reads it."""

    vocab_size: int = 153376  # V
    hidden_size: int  # D
    num_hidden_layers: int
    num_attention_heads: int  # H
    num_key_value_heads: int  # K
    head_dim: int = 0  # C; 0 stands for D/H
    rope_theta: float = 16_000_000.0
    rms_norm_eps: float = 1e-5
    tie_word_embeddings: bool = False
    initializer_range: float = 0.02
    max_position_embeddings: int = 131072  # what it was trained for; nothing is enforced
    bias: bool = True  # on q, k, v and o
    bos_token_id: int | None = 1
    eos_token_id: int | tuple[int, ...] | None = 2
    pad_token_id: int | None = 0

    def __post_init__(self) -> None:
        for name in (one.name for one in fields(self) if one.name.endswith("_size") or one.name.startswith("num_")):
            least = 0 if name == "shared_expert_intermediate_size" else 1
            if getattr(self, name) < least:
                raise InputError(name, expected=f"at least {least}", found=getattr(self, name))
        for name in ("rope_theta", "rms_norm_eps"):
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(name, expected="a number above 0", found=getattr(self, name))
        if not self.head_dim:
            if self.hidden_size % self.num_attention_heads:
                raise InputError("hidden_size does not divide into heads", expected=f"a multiple of {self.num_attention_heads}",
                                 found=self.hidden_size, fix="give head_dim")  # fmt: skip
            object.__setattr__(self, "head_dim", self.hidden_size // self.num_attention_heads)
        if self.num_attention_heads % self.num_key_value_heads:
            raise InputError("query heads do not divide among key/value heads", expected=f"a multiple of {self.num_key_value_heads}",
                             found=self.num_attention_heads)  # fmt: skip
        if self.head_dim % 2 or self.head_dim < 0:
            raise InputError("rotary positions need pairs", expected="an even head_dim", found=self.head_dim)


@dataclass(frozen=True, slots=True)
class Output:
    """What one pass leaves."""

    logits: Tensor  # [B, T, V], float32 at least
    hidden_states: tuple[Tensor, ...] | None = None  # x_BTD: the embeddings, then each layer's output (before the final norm)
    routings: tuple[Routing, ...] | None = None  # of each mixture layer, tokens flattened to B*T
    cache: KVCache | None = None


class RMSNorm(nn.Module):  # type: ignore[misc]  # torch is untyped here (pyproject: follow_imports = skip)
    """x / rms(x) in float32 at least, rounded to the model's dtype, times gain."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x_BTD: Tensor) -> Tensor:
        w_BTD = wide(x_BTD)
        return self.weight * (w_BTD * torch.rsqrt(w_BTD.square().mean(-1, keepdim=True) + self.eps)).to(x_BTD.dtype)


def rope_table(position_BT: Tensor, config: PanguConfig, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the angle by which position t turns pair r: t * theta^(-2r/C).

    Made in float64 for a float64 model, else in float32 as in the released files. Never a buffer: nothing of it is stored.
    """
    wider = torch.float64 if dtype == torch.float64 else torch.float32
    pair_R = torch.arange(0, config.head_dim, 2, dtype=wider, device=position_BT.device)
    angle_BTR = position_BT[:, :, None].to(wider) * config.rope_theta ** (-pair_R / config.head_dim)
    return angle_BTR.cos(), angle_BTR.sin()


def rotate(x_BHTC: Tensor, cos_BTR: Tensor, sin_BTR: Tensor) -> Tensor:
    """Turn the pairs (r, r + C/2)."""
    a_BHTR, b_BHTR = wide(x_BHTC).chunk(2, dim=-1)
    cos, sin = cos_BTR[:, None], sin_BTR[:, None]  # one axis for the heads
    return torch.cat((a_BHTR * cos - b_BHTR * sin, b_BHTR * cos + a_BHTR * sin), dim=-1).to(x_BHTC.dtype)


def visible(mask_BS: Tensor | None, length: int, past: int, device: torch.device) -> Tensor | None:
    """Which of S columns each of T queries sees: real ones, up to its own. None: exactly all up to its own, none cached.

    A padding query sees itself. What it computes means nothing, but it is a number: a row that sees nothing would be 0/0.
    """
    if mask_BS is None and past == 0:
        return None
    column_S = torch.arange(past + length, device=device)
    query_T1 = column_S[past:, None]
    causal_TS = column_S <= query_T1
    if mask_BS is None:
        return causal_TS[None, None]
    return ((causal_TS & mask_BS[:, None].bool()) | (column_S == query_T1))[:, None]  # [B, 1, T, S]


class Attention(nn.Module):  # type: ignore[misc]
    """Causal grouped-query attention with rotary positions and a bias on q, k, v *and* o."""

    def __init__(self, config: PanguConfig, layer: int) -> None:
        super().__init__()
        self.config, self.layer = config, layer
        q_size, kv_size = config.num_attention_heads * config.head_dim, config.num_key_value_heads * config.head_dim
        self.q_proj = nn.Linear(config.hidden_size, q_size, bias=config.bias)
        self.k_proj = nn.Linear(config.hidden_size, kv_size, bias=config.bias)
        self.v_proj = nn.Linear(config.hidden_size, kv_size, bias=config.bias)
        self.o_proj = nn.Linear(q_size, config.hidden_size, bias=config.bias)

    def forward(self, x_BTD: Tensor, step: Step) -> Tensor:
        c, (B, T, _) = self.config, x_BTD.shape
        q_BHTC = self.q_proj(x_BTD).view(B, T, c.num_attention_heads, c.head_dim).transpose(1, 2)
        k_BKTC = self.k_proj(x_BTD).view(B, T, c.num_key_value_heads, c.head_dim).transpose(1, 2)
        v_BKSC = self.v_proj(x_BTD).view(B, T, c.num_key_value_heads, c.head_dim).transpose(1, 2)
        q_BHTC, k_BKSC = rotate(q_BHTC, step.cos_BTR, step.sin_BTR), rotate(k_BKTC, step.cos_BTR, step.sin_BTR)
        if step.cache is not None:
            k_BKSC, v_BKSC = step.cache.put(self.layer, k_BKSC, v_BKSC)
        attend = eager_attention if step.attention == "eager" else sdpa_attention
        y_BHTC = attend(q_BHTC, k_BKSC, v_BKSC, step.visible_B1TS)
        return self.o_proj(y_BHTC.transpose(1, 2).reshape(B, T, c.num_attention_heads * c.head_dim))


def eager_attention(q_BHTC: Tensor, k_BKSC: Tensor, v_BKSC: Tensor, visible_B1TS: Tensor | None) -> Tensor:
    """Attention written out; heads h*H/K .. share key/value head h."""
    share, T = q_BHTC.shape[1] // k_BKSC.shape[1], q_BHTC.shape[2]
    k_BHSC, v_BHSC = k_BKSC.repeat_interleave(share, dim=1), v_BKSC.repeat_interleave(share, dim=1)
    score_BHTS = q_BHTC @ k_BHSC.transpose(2, 3) * q_BHTC.shape[-1] ** -0.5
    if visible_B1TS is None:
        visible_B1TS = torch.ones(T, T, dtype=torch.bool, device=q_BHTC.device).tril()[None, None]
    share_BHTS = wide(score_BHTS.masked_fill(~visible_B1TS, float("-inf"))).softmax(-1)
    return share_BHTS.to(v_BHSC.dtype) @ v_BHSC


def sdpa_attention(q_BHTC: Tensor, k_BKSC: Tensor, v_BKSC: Tensor, visible_B1TS: Tensor | None) -> Tensor:
    """The same through torch's fused kernels."""
    return F.scaled_dot_product_attention(
        q_BHTC, k_BKSC, v_BKSC, attn_mask=visible_B1TS, is_causal=visible_B1TS is None, enable_gqa=True
    )


@dataclass(frozen=True, slots=True)
class Step:
    """What every layer of one pass shares."""

    cos_BTR: Tensor
    sin_BTR: Tensor
    visible_B1TS: Tensor | None
    attention: str
    cache: KVCache | None


class Block(nn.Module):  # type: ignore[misc]
    """One layer: attention, then `mlp`, each reading a normed copy of the residual stream and adding to it."""

    def __init__(self, config: PanguConfig, layer: int, mlp: nn.Module) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = Attention(config, layer)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = mlp

    def forward(self, x_BTD: Tensor, step: Step) -> tuple[Tensor, Routing | None]:
        x_BTD = x_BTD + self.self_attn(self.input_layernorm(x_BTD), step)
        out = self.mlp(self.post_attention_layernorm(x_BTD))
        y_BTD, routing = out if isinstance(out, tuple) else (out, None)
        return x_BTD + y_BTD, routing


class Decoder(nn.Module):  # type: ignore[misc]
    """Embedding, layers and final norm: what the files call `model`. Its forward is `PanguLM`'s."""

    def __init__(self, config: PanguConfig, blocks: list[Block]) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(blocks)
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)


class PanguLM(Generates, nn.Module):  # type: ignore[misc]
    """A language model. `PanguProMoE` and `PanguDense` say what the `mlp` of a layer is.

    Args:
        config: its shape.
        attention: "sdpa" or "eager"; the function is the same.

    `checkpointing = True` recomputes each layer in the backward pass instead of keeping its activations.
    """

    def __init__(self, config: Any, *, attention: str = "sdpa") -> None:
        super().__init__()
        if attention not in ATTENTIONS:
            raise InputError("attention", expected=" or ".join(ATTENTIONS), found=attention)
        self.config, self.attention, self.checkpointing = config, attention, False
        self.model = Decoder(config, [Block(config, i, self.make_mlp(config)) for i in range(config.num_hidden_layers)])
        self.lm_head = None if config.tie_word_embeddings else nn.Linear(config.hidden_size, config.vocab_size, bias=False)

    def make_mlp(self, config: Any) -> nn.Module:
        """The `mlp` of one layer."""
        raise NotImplementedError

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        *,
        position_ids: Tensor | None = None,
        cache: KVCache | None = None,
        output_hidden_states: bool = False,
        last_only: bool = False,
        only_B: Tensor | None = None,
    ) -> Output:
        """Logits of the next token at every position.

        Args:
            input_ids: [B, T].
            attention_mask: [B, S] of any dtype, 0 = padding; S counts cached positions too. Padding may stand on either side, or anywhere.
            position_ids: [B, T]; by default real tokens are counted from 0.
            cache: what earlier calls left; this call's keys and values are added to it.
            output_hidden_states: leave the residual stream before, between and after the layers.
            last_only: logits of the last column only, [B, 1, V].
            only_B: logits of one column of each row only, [B, 1, V].
        """
        past = 0 if cache is None else cache.length
        position_BT = _positions(input_ids, attention_mask, past) if position_ids is None else position_ids
        x_BTD = self.model.embed_tokens(input_ids)
        cos_BTR, sin_BTR = rope_table(position_BT, self.config, x_BTD.dtype)
        mask = visible(attention_mask, input_ids.shape[1], past, input_ids.device)
        step = Step(cos_BTR, sin_BTR, mask, self.attention, cache)
        hidden, routings = [x_BTD], []
        for layer in self.model.layers:
            if self.checkpointing and torch.is_grad_enabled() and cache is None:
                x_BTD, routing = checkpoint(layer, x_BTD, step, use_reentrant=False)
            else:
                x_BTD, routing = layer(x_BTD, step)
            hidden += [x_BTD] if output_hidden_states else []
            routings += [] if routing is None else [routing]
        if cache is not None:
            cache.length += input_ids.shape[1]
        if last_only or only_B is not None:  # the head is the widest product by far
            rows_B = torch.arange(len(x_BTD), device=x_BTD.device)
            x_BTD = x_BTD[:, -1:] if only_B is None else x_BTD[rows_B, only_B][:, None]
        logits_BTV = self.head(self.model.norm(x_BTD))
        return Output(logits_BTV, tuple(hidden) if output_hidden_states else None, tuple(routings) or None, cache)

    def head(self, x_BTD: Tensor) -> Tensor:
        """Logits, float32 at least."""
        return wide(F.linear(x_BTD, self.model.embed_tokens.weight if self.lm_head is None else self.lm_head.weight))


def _positions(ids_BT: Tensor, mask_BS: Tensor | None, past: int) -> Tensor:
    B, T = ids_BT.shape
    if mask_BS is None:
        return torch.arange(past, past + T, device=ids_BT.device).expand(B, T)
    if mask_BS.shape != (B, past + T):
        raise InputError(
            "attention_mask", expected=f"[{B}, {past + T}]", found=list(mask_BS.shape), fix="cover cached positions too"
        )
    return (mask_BS.bool().cumsum(1) - 1).clamp_min(0)[:, past:]


@torch.no_grad()  # type: ignore[untyped-decorator]
def initialise(model: PanguLM, generator: torch.Generator) -> PanguLM:
    """Fill every weight, in the order of the state dict, from one generator: gains and router scales 1, biases 0, all else
    N(0, initializer_range^2). Every unit of an axis is drawn alike, which begat's order test needs: never initialise by index.
    """
    for name, weight in model.named_parameters():
        if name.endswith(".bias"):
            weight.zero_()
        elif weight.dim() == 1 or name.endswith("router_scale"):
            weight.fill_(1.0)
        else:
            weight.normal_(0.0, model.config.initializer_range, generator=generator)
    return model
