"""Pangu Pro MoE as one of the lab's architectures: logits alone, a loss with the paper's balance, `config.json` as a table.

Enters: a `PanguProMoEConfig` and token ids.  Leaves: logits, so that pedigrees can grow it like any other model.  The model itself:
`pangu_pro_moe.py`, whose folders these are.  Made from a dense parent: `begat_lab.descent.upcycled_moge`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from begat import InputError
from begat_lab.models.architecture import ARCHITECTURES, Architecture, LanguageModel
from begat_lab.models.pangu import initialise
from begat_lab.models.pangu_json import config_table, parse_config
from begat_lab.models.pangu_pro_moe import PanguProMoE, PanguProMoEConfig
from begat_lab.moge import paper_balance_loss
from begat_lab.training import Loss

# Shape suffixes as in pangu.py.


class MogeLM(PanguProMoE, LanguageModel):
    """The language model as the lab's training sees it: ids to logits."""

    def forward(self, ids_BT: Tensor) -> Tensor:  # type: ignore[override]
        return PanguProMoE.forward(self, ids_BT).logits


def balanced_loss(generator: torch.Generator) -> Loss:
    """Next-token loss plus `router_aux_loss_coef` times the paper's balance loss, mean over layers. It needs no chance."""

    def loss(model: nn.Module, window_BT: Tensor) -> Tensor:
        out = PanguProMoE.forward(model, window_BT[:, :-1])
        balance = torch.stack([paper_balance_loss(routing) for routing in out.routings or ()]).mean()
        plain = F.cross_entropy(out.logits.flatten(0, 1), window_BT[:, 1:].flatten())
        return plain + model.config.router_aux_loss_coef * balance

    return loss


def write_config(config: PanguProMoEConfig, dtype: torch.dtype) -> dict[str, Any]:
    """What config.json says."""
    return config_table(config, PanguProMoE.layout, dtype, {})


def read_config(raw: dict[str, Any], where: Path) -> PanguProMoEConfig:
    """The config of a config.json."""
    try:
        config: PanguProMoEConfig = parse_config(raw, PanguProMoE.layout, where, None)
    except InputError as err:
        raise ValueError(err.line()) from None
    return config


MOGE = Architecture(
    title="Pangu Pro MoE (Mixture of Grouped Experts)",
    config=PanguProMoEConfig,
    model=MogeLM,
    initialise=initialise,
    model_type=PanguProMoE.layout.model_types[0],
    write_config=write_config,
    read_config=read_config,
    matrices=r".*_proj\.weight",
    loss=balanced_loss,
)
ARCHITECTURES.add("moge")(MOGE)
