"""Disguised: the parent behind function-preserving changes, applied in the order given (`begat_lab/disguises`).

The truth records by how much the logits moved: in float64, before the weights are rounded to the stored type.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from begat import InputError
from begat_lab.descent.base import DEPENDENT, INDEPENDENT, Child, Job, kind
from begat_lab.disguises import DISGUISES
from begat_lab.models.dense import DenseLM


@dataclass(frozen=True, slots=True)
class Disguises:
    """Which."""

    disguises: tuple[str, ...]

    def __post_init__(self) -> None:
        for name in self.disguises or ("none",):
            if name not in list(DISGUISES):
                raise InputError("no such disguise", expected=", ".join(DISGUISES), found=name)


@kind("disguised", "function-preserving disguise", seeds=("chance_seed",), options=Disguises,
      expects=DEPENDENT | INDEPENDENT | {"cannot-test"})  # fmt: skip
def disguised(job: Job) -> Child:
    """What a disguise hides from begat is measured by the bench; here nothing is expected."""
    model, chance = job.parent().double(), job.generator("chance_seed")
    before_BTV = probe(model)
    for name in job.options.disguises:
        model = DISGUISES[name].apply(model, chance)
    moved = float((probe(model) - before_BTV).abs().max() / before_BTV.abs().max())
    return job.store(
        model.float(), logits_moved_in_float64=moved, letters=[DISGUISES[name].letter for name in job.options.disguises]
    )


def probe(model: DenseLM) -> Tensor:
    """Logits on a fixed run of tokens."""
    with torch.no_grad():
        ids_BT = (torch.arange(4 * 48) * 37 % model.config.vocab_size).view(4, 48)
        return model(ids_BT)  # logits_BTV
