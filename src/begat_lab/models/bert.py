"""A BERT-shaped encoder, read from top to bottom: config, embeddings, attention, layer, head, model, loss, `config.json`.

Enters: a `BertConfig` and token ids.  Leaves: logits at every position.  Unlike the decoders: every position sees all others, norms
stand *behind* what is added (post-LN), and the loss is that of masked words.  There is no padding and no second sentence, so the row
of the second token type never learns; no pooler, as in transformers' BertForMaskedLM.  Attributes carry that class's names.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from begat import InputError
from begat_lab.models.architecture import ARCHITECTURES, Architecture, LanguageModel, draw, whole_heads
from begat_lab.training import Loss

# Shape suffixes as in dense.py: B batch, T position, V vocabulary, D hidden size, F MLP units, H heads, C dims of one head; M masked positions.

_MASKED, _AS_MASK, _AS_OTHER = 0.15, 0.8, 0.1  # share of positions to predict; of these shown as [MASK], and as any token


@dataclass(frozen=True, kw_only=True, slots=True)
class BertConfig:
    """The shape of one model. Fields carry the names of Hugging Face's `config.json`, but `mask_token_id`, which is the lab's."""

    vocab_size: int  # V
    hidden_size: int  # D
    intermediate_size: int  # F
    num_hidden_layers: int
    num_attention_heads: int  # H; C = D / H
    mask_token_id: int  # the row of the vocabulary that stands for [MASK]
    max_position_embeddings: int = 512  # rows of the table of positions; no window may be longer
    type_vocab_size: int = 2
    layer_norm_eps: float = 1e-12
    initializer_range: float = 0.02  # standard deviation of the initial weights

    def __post_init__(self) -> None:
        whole_heads(self.hidden_size, self.num_attention_heads)
        if not 0 <= self.mask_token_id < self.vocab_size:
            raise InputError(
                "mask_token_id is no row of the vocabulary", expected=f"0 to {self.vocab_size - 1}", found=self.mask_token_id
            )


class Embeddings(nn.Module):  # type: ignore[misc]  # torch is untyped here (pyproject: follow_imports = skip)
    """Word, position and token type, added and normed."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)

    def forward(self, ids_BT: Tensor) -> Tensor:
        positions_TD = self.position_embeddings(torch.arange(ids_BT.shape[1]))
        return self.LayerNorm(self.word_embeddings(ids_BT) + positions_TD + self.token_type_embeddings.weight[0])


class SelfAttention(nn.Module):  # type: ignore[misc]
    """q, k, v and what they attend to."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.heads = config.num_attention_heads
        self.query = nn.Linear(config.hidden_size, config.hidden_size)
        self.key = nn.Linear(config.hidden_size, config.hidden_size)
        self.value = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, x_BTD: Tensor) -> Tensor:
        B, T, D = x_BTD.shape
        q_BHTC, k_BHTC, v_BHTC = (
            linear(x_BTD).view(B, T, self.heads, -1).transpose(1, 2) for linear in (self.query, self.key, self.value)
        )
        return F.scaled_dot_product_attention(q_BHTC, k_BHTC, v_BHTC).transpose(1, 2).reshape(B, T, D)


class Output(nn.Module):  # type: ignore[misc]
    """A map back to the residual stream, and the norm behind the sum."""

    def __init__(self, inputs: int, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(inputs, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)

    def forward(self, h_BTI: Tensor, x_BTD: Tensor) -> Tensor:
        return self.LayerNorm(x_BTD + self.dense(h_BTI))


class Layer(nn.Module):  # type: ignore[misc]
    """Attention, then MLP. Unit f of the MLP is row f of `intermediate` and column f of `output`."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.attention = nn.ModuleDict({"self": SelfAttention(config), "output": Output(config.hidden_size, config)})
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(config.hidden_size, config.intermediate_size)})
        self.output = Output(config.intermediate_size, config)

    def forward(self, x_BTD: Tensor) -> Tensor:
        x_BTD = self.attention["output"](self.attention["self"](x_BTD), x_BTD)
        return self.output(F.gelu(self.intermediate["dense"](x_BTD)), x_BTD)


class Encoder(nn.Module):  # type: ignore[misc]
    """Everything but the head; Hugging Face calls it `bert`."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.embeddings = Embeddings(config)
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))})

    def forward(self, ids_BT: Tensor) -> Tensor:
        x_BTD = self.embeddings(ids_BT)
        for layer in self.encoder["layer"]:
            x_BTD = layer(x_BTD)
        return x_BTD


class Transform(nn.Module):  # type: ignore[misc]
    """What the head does before it compares with the embedding."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)

    def forward(self, x_BTD: Tensor) -> Tensor:
        return self.LayerNorm(F.gelu(self.dense(x_BTD)))


class Predictions(nn.Module):  # type: ignore[misc]
    """The head: logits come from the word embedding itself, with a bias a word."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.empty(config.vocab_size))
        self.transform = Transform(config)

    def forward(self, x_BTD: Tensor, words_VD: Tensor) -> Tensor:
        return F.linear(self.transform(x_BTD), words_VD, self.bias)


class BertLM(LanguageModel):
    """The masked language model."""

    config: BertConfig

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.config = config
        self.bert = Encoder(config)
        self.cls = nn.ModuleDict({"predictions": Predictions(config)})

    def forward(self, ids_BT: Tensor) -> Tensor:
        return self.cls["predictions"](self.bert(ids_BT), self.bert.embeddings.word_embeddings.weight)  # logits_BTV


def initialise(model: BertLM, generator: torch.Generator) -> None:
    """Draw every weight, all matrices with one spread, as in BERT."""
    spread = model.config.initializer_range
    draw(model, generator, spread, spread, ())


# --- loss -----------------------------------------------------------------------------------------------------


def masked_word_loss(generator: torch.Generator) -> Loss:
    """Mean cross-entropy in nats of masked words; `generator` picks them and how each is shown."""

    def loss(model: nn.Module, window_BT: Tensor) -> Tensor:
        aim_BT = window_BT[:, :-1]  # windows have a token more than the context, for decoders
        config: BertConfig = model.config
        B, T = aim_BT.shape
        place_BM = torch.rand(B, T, generator=generator).argsort(1)[:, : max(1, round(_MASKED * T))]
        fate_BM = torch.rand(place_BM.shape, generator=generator)
        other_BM = torch.randint(config.vocab_size, place_BM.shape, generator=generator)
        aim_BM = aim_BT.gather(1, place_BM)
        shown_BM = torch.where(
            fate_BM < _AS_MASK, config.mask_token_id, torch.where(fate_BM < _AS_MASK + _AS_OTHER, other_BM, aim_BM)
        )
        logits_BTV = model(aim_BT.scatter(1, place_BM, shown_BM))
        logits_BMV = logits_BTV.gather(1, place_BM[:, :, None].expand(-1, -1, logits_BTV.shape[-1]))
        return F.cross_entropy(logits_BMV.flatten(0, 1), aim_BM.flatten())

    return loss


# --- config.json ----------------------------------------------------------------------------------------------

# Settings that change the function, with the value this model stands for.
_FIXED: dict[str, Any] = {
    "hidden_act": "gelu",
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "add_cross_attention": False,
    "tie_word_embeddings": True,
}
_PUBLISHED_MASK = 103  # of the published English vocabularies, whose config.json does not say it


def write_config(config: BertConfig, dtype: torch.dtype) -> dict[str, Any]:
    """The fields of `config` and what transformers needs to call it a BERT. Token 0, the byte 0, pads."""
    fixed = {"architectures": ["BertForMaskedLM"], "model_type": "bert", "torch_dtype": str(dtype).removeprefix("torch."),
             "pad_token_id": 0}  # fmt: skip
    return {**fixed, **_FIXED, **asdict(config)}


def read_config(raw: dict[str, Any], where: Path) -> BertConfig:
    """The `BertConfig` that a Hugging Face `config.json` describes."""
    for key, value in _FIXED.items():
        if raw.get(key, value) != value:
            raise ValueError(f"{where}: {key} is {raw[key]!r}, the lab's BERT has {value!r} only")
    return BertConfig(
        vocab_size=int(raw["vocab_size"]),
        hidden_size=int(raw["hidden_size"]),
        intermediate_size=int(raw["intermediate_size"]),
        num_hidden_layers=int(raw["num_hidden_layers"]),
        num_attention_heads=int(raw["num_attention_heads"]),
        mask_token_id=int(raw.get("mask_token_id", _PUBLISHED_MASK)),
        max_position_embeddings=int(raw.get("max_position_embeddings", 512)),
        type_vocab_size=int(raw.get("type_vocab_size", 2)),
        layer_norm_eps=float(raw.get("layer_norm_eps", 1e-12)),
        initializer_range=float(raw.get("initializer_range", 0.02)),
    )


BERT = Architecture(
    title="BERT-shaped encoder",
    config=BertConfig,
    model=BertLM,
    initialise=initialise,
    model_type="bert",
    write_config=write_config,
    read_config=read_config,
    matrices=r"bert\.encoder\..*\.(query|key|value|dense)\.weight",
    positions_end=True,
    loss=masked_word_loss,
    measure=masked_word_loss,
)
ARCHITECTURES.add("bert")(BERT)
