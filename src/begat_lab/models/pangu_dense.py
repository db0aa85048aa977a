"""openPangu dense (openPangu-Embedded 7B and 1B): Llama's decoder with a bias on q, k, v and o.

Enters: a `PanguDenseConfig` (its defaults are the published 7B) or a folder, and token ids.  Leaves: logits.  Layer and model:
`pangu.py`; folders: `pangu_folder.py`.  Llama folders with `attention_bias` are read too: the function is the same, which is what the
tests use as an oracle.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from begat_lab.models.pangu import PanguConfig, PanguLM
from begat_lab.models.pangu_folder import Folders
from begat_lab.models.pangu_json import Layout
from begat_lab.moge.experts import Expert


@dataclass(frozen=True, kw_only=True, slots=True)
class PanguDenseConfig(PanguConfig):
    """The shape of one model; the defaults are those of the published 7B."""

    hidden_size: int = 4096
    intermediate_size: int = 12800
    num_hidden_layers: int = 34
    num_attention_heads: int = 32
    num_key_value_heads: int = 8
    max_position_embeddings: int = 32768
    eos_token_id: int | tuple[int, ...] | None = 45892  # [unused10], which ends a turn


class PanguDense(Folders, PanguLM):
    """The language model. `PanguDense(config)` has random weights; `from_pretrained` reads a folder."""

    config: PanguDenseConfig
    layout = Layout(
        config=PanguDenseConfig,
        model_types=("PanguEmbedded", "llama"),
        architecture="PanguEmbeddedForCausalLM",
        spellings={"attention_bias": "bias"},
        fixed={"hidden_act": "silu", "attention_dropout": 0.0, "rope_scaling": None, "mlp_bias": False, "pretraining_tp": 1},
        unwritten=("head_dim",),
    )

    def make_mlp(self, config: PanguDenseConfig) -> nn.Module:
        """SwiGLU."""
        return Expert(config.hidden_size, config.intermediate_size)

    def counts(self) -> tuple[int, int]:
        """Parameters in all, and those that one token uses: the same."""
        total = sum(weight.numel() for weight in self.parameters())
        return total, total
