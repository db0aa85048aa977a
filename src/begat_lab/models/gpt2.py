"""A GPT-2-shaped decoder, read from top to bottom: config, attention, MLP, block, model, initial weights, `config.json`.

Enters: a `Gpt2Config` and token ids.  Leaves: logits.  Unlike Llama's: learned absolute positions, LayerNorm with bias, q, k and v in
one matrix, biases everywhere, and matrices that lie [inputs, outputs] (`Conv1D`).  Attributes carry the names that transformers'
GPT2LMHeadModel saves under.  Files and folders: `huggingface.py`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from begat_lab.models.architecture import ARCHITECTURES, Architecture, LanguageModel, draw, whole_heads

# Shape suffixes as in dense.py: B batch, T position, V vocabulary, D hidden size, F MLP units, H heads, C dims of one head; I inputs, O outputs.


@dataclass(frozen=True, kw_only=True, slots=True)
class Gpt2Config:
    """The shape of one model. Fields carry the names of Hugging Face's `config.json`."""

    vocab_size: int  # V
    n_embd: int  # D
    n_inner: int  # F
    n_layer: int
    n_head: int  # H; C = D / H
    n_positions: int = 1024  # rows of the table of positions; no window may be longer
    layer_norm_epsilon: float = 1e-5
    initializer_range: float = 0.02  # standard deviation of the initial weights

    def __post_init__(self) -> None:
        whole_heads(self.n_embd, self.n_head)

    @property
    def max_position_embeddings(self) -> int:
        """`n_positions` under the name of the other architectures."""
        return self.n_positions


class Conv1D(nn.Module):  # type: ignore[misc]  # torch is untyped here (pyproject: follow_imports = skip)
    """A linear map whose matrix lies [inputs, outputs], with a bias."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(inputs, outputs))
        self.bias = nn.Parameter(torch.empty(outputs))

    def forward(self, x_BTI: Tensor) -> Tensor:
        return x_BTI @ self.weight + self.bias


class Attention(nn.Module):  # type: ignore[misc]
    """Causal attention; `c_attn` computes q, k and v side by side."""

    def __init__(self, config: Gpt2Config) -> None:
        super().__init__()
        self.heads = config.n_head
        self.c_attn = Conv1D(config.n_embd, 3 * config.n_embd)
        self.c_proj = Conv1D(config.n_embd, config.n_embd)

    def forward(self, x_BTD: Tensor) -> Tensor:
        B, T, D = x_BTD.shape
        q_BHTC, k_BHTC, v_BHTC = (
            part_BTD.view(B, T, self.heads, -1).transpose(1, 2) for part_BTD in self.c_attn(x_BTD).chunk(3, dim=-1)
        )
        y_BHTC = F.scaled_dot_product_attention(q_BHTC, k_BHTC, v_BHTC, is_causal=True)
        return self.c_proj(y_BHTC.transpose(1, 2).reshape(B, T, D))


class MLP(nn.Module):  # type: ignore[misc]
    """Two maps around GELU (by tanh, "gelu_new"). Unit f is column f of c_fc and row f of c_proj."""

    def __init__(self, config: Gpt2Config) -> None:
        super().__init__()
        self.c_fc = Conv1D(config.n_embd, config.n_inner)
        self.c_proj = Conv1D(config.n_inner, config.n_embd)

    def forward(self, x_BTD: Tensor) -> Tensor:
        return self.c_proj(F.gelu(self.c_fc(x_BTD), approximate="tanh"))


class Block(nn.Module):  # type: ignore[misc]
    """One layer: attention, then MLP, each reading a normed copy of the residual stream and adding to it."""

    def __init__(self, config: Gpt2Config) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.n_embd, config.layer_norm_epsilon)
        self.attn = Attention(config)
        self.ln_2 = nn.LayerNorm(config.n_embd, config.layer_norm_epsilon)
        self.mlp = MLP(config)

    def forward(self, x_BTD: Tensor) -> Tensor:
        x_BTD = x_BTD + self.attn(self.ln_1(x_BTD))
        return x_BTD + self.mlp(self.ln_2(x_BTD))


class Decoder(nn.Module):  # type: ignore[misc]
    """Everything but the output head; Hugging Face calls it `transformer`."""

    def __init__(self, config: Gpt2Config) -> None:
        super().__init__()
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)
        self.wpe = nn.Embedding(config.n_positions, config.n_embd)
        self.h = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.ln_f = nn.LayerNorm(config.n_embd, config.layer_norm_epsilon)

    def forward(self, ids_BT: Tensor) -> Tensor:
        x_BTD = self.wte(ids_BT) + self.wpe(torch.arange(ids_BT.shape[1]))
        for layer in self.h:
            x_BTD = layer(x_BTD)
        return self.ln_f(x_BTD)


class Gpt2LM(LanguageModel):
    """The language model; logits come from the embedding itself."""

    config: Gpt2Config

    def __init__(self, config: Gpt2Config) -> None:
        super().__init__()
        self.config = config
        self.transformer = Decoder(config)

    def forward(self, ids_BT: Tensor) -> Tensor:
        return F.linear(self.transformer(ids_BT), self.transformer.wte.weight)  # logits_BTV


def initialise(model: Gpt2LM, generator: torch.Generator) -> None:
    """Draw every weight; what writes to the residual stream is drawn narrower, by sqrt(2 * layers), as in GPT-2."""
    wide = model.config.initializer_range
    draw(model, generator, wide, wide / (2 * model.config.n_layer) ** 0.5, ("c_proj.weight",))


# --- config.json ----------------------------------------------------------------------------------------------

# Settings that change the function, with the value this model stands for.
_FIXED: dict[str, Any] = {
    "activation_function": "gelu_new",
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
    "add_cross_attention": False,
    "tie_word_embeddings": True,
}


def write_config(config: Gpt2Config, dtype: torch.dtype) -> dict[str, Any]:
    """The fields of `config` and what transformers needs to call it a GPT-2. Token 0, the byte 0, ends a text."""
    fixed = {"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "torch_dtype": str(dtype).removeprefix("torch."),
             "bos_token_id": 0, "eos_token_id": 0}  # fmt: skip
    return {**fixed, **_FIXED, **asdict(config)}


def read_config(raw: dict[str, Any], where: Path) -> Gpt2Config:
    """The `Gpt2Config` that a Hugging Face `config.json` describes."""
    for key, value in _FIXED.items():
        if raw.get(key, value) != value:
            raise ValueError(f"{where}: {key} is {raw[key]!r}, the lab's GPT-2 has {value!r} only")
    return Gpt2Config(
        vocab_size=int(raw["vocab_size"]),
        n_embd=int(raw["n_embd"]),
        n_inner=int(raw.get("n_inner") or 4 * raw["n_embd"]),
        n_layer=int(raw["n_layer"]),
        n_head=int(raw["n_head"]),
        n_positions=int(raw.get("n_positions", 1024)),
        layer_norm_epsilon=float(raw.get("layer_norm_epsilon", 1e-5)),
        initializer_range=float(raw.get("initializer_range", 0.02)),
    )


GPT2 = Architecture(
    title="GPT-2-shaped decoder",
    config=Gpt2Config,
    model=Gpt2LM,
    initialise=initialise,
    model_type="gpt2",
    write_config=write_config,
    read_config=read_config,
    matrices=r".*\.(c_attn|c_proj|c_fc)\.weight",
    positions_end=True,
    inputs_first=True,
)
ARCHITECTURES.add("gpt2")(GPT2)
