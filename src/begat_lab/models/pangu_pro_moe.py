"""Pangu Pro MoE, first version (72B-A16B, arXiv:2505.21411): a pre-norm decoder whose every layer is a Mixture of Grouped Experts.

Enters: a `PanguProMoEConfig` (its defaults are the published size) or a folder, and token ids.  Leaves: logits.  Layer and model:
`pangu.py`; the mixture: `begat_lab.moge`; folders: `pangu_folder.py`.

Written from the paper and from the behaviour of the released `modeling_pangu_moe.py` (as kept in github.com/darren-fzq1/EAQuant, commit
37c45090, models/pangu_moe/); its numbers on random weights are the tests' oracle.  Traps: weights are not renormalised, q, k, v *and* o
have biases, `router_scale` is not in the paper, and the second version (openPangu-R-72B-2512) is another network under the same
`model_type`, which is refused.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from begat import InputError
from begat_lab.models.pangu import PanguConfig, PanguLM
from begat_lab.models.pangu_folder import Folders
from begat_lab.models.pangu_json import Layout
from begat_lab.moge import Grouping, MoGE, pack_experts


@dataclass(frozen=True, kw_only=True, slots=True)
class PanguProMoEConfig(PanguConfig):
    """The shape of one model; the defaults are those of the published 72B."""

    hidden_size: int = 5120
    num_hidden_layers: int = 48
    num_attention_heads: int = 40
    num_key_value_heads: int = 8
    moe_intermediate_size: int = 1344  # units of one routed expert
    shared_expert_intermediate_size: int = 5376  # of the shared one, four experts wide; 0 leaves it out
    num_experts: int = 64  # N
    num_experts_per_tok: int = 8  # K
    num_groups: int = 8  # M; the released files know no such key, there it is 8 whatever the rest
    router_aux_loss_coef: float = 1e-3  # for whoever trains

    def __post_init__(self) -> None:
        PanguConfig.__post_init__(self)
        if not self.bias:
            raise InputError(
                "attention without biases", expected="bias = true: it tells the first version from the second", found=False
            )
        if self.num_experts_per_tok % max(self.num_groups, 1):
            raise InputError("num_experts_per_tok does not divide among the groups", expected=f"a multiple of {self.num_groups}",
                             found=self.num_experts_per_tok, fix="give num_groups in config.json")  # fmt: skip
        _ = self.grouping  # checks the rest

    @property
    def grouping(self) -> Grouping:
        """N, M and picks in a group."""
        return Grouping(self.num_experts, self.num_groups, self.num_experts_per_tok // self.num_groups)


class PanguProMoE(Folders, PanguLM):
    """The language model. `PanguProMoE(config)` has random weights; `from_pretrained` reads a folder.

    Args:
        config: its shape.
        attention: "sdpa" or "eager".
        experts: "loop", "grouped", or "auto" (grouped where the device has it).
    """

    config: PanguProMoEConfig
    layout = Layout(
        config=PanguProMoEConfig,
        model_types=("PanguProMoE",),
        architecture="PanguProMoEForCausalLM",
        spellings={},
        fixed={"hidden_act": "silu", "attention_dropout": 0.0, "rope_scaling": None, "mlp_only_layers": []},
        unwritten=("bias", "head_dim"),
        v2_tells=True,
    )

    def __init__(self, config: PanguProMoEConfig, *, attention: str = "sdpa", experts: str = "auto") -> None:
        self.experts_mode = experts
        super().__init__(config, attention=attention)

    def make_mlp(self, config: PanguProMoEConfig) -> nn.Module:
        """The mixture of one layer."""
        return MoGE(config.hidden_size, config.moe_intermediate_size, config.grouping,
                    shared_units=config.shared_expert_intermediate_size, experts=self.experts_mode)  # fmt: skip

    def pack(self) -> None:
        """Lay each layer's experts side by side in memory, for grouped products without a copy."""
        for layer in self.model.layers:
            pack_experts(layer.mlp.experts)

    def counts(self) -> tuple[int, int]:
        """Parameters in all, and those that one token uses (both embeddings counted)."""
        total = sum(weight.numel() for weight in self.parameters())
        routed = sum(weight.numel() for layer in self.model.layers for weight in layer.mlp.experts.parameters())
        grouping = self.config.grouping
        return total, total - routed + routed * grouping.picks_per_token // grouping.experts
