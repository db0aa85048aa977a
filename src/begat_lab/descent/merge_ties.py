"""TIES merge (arXiv:2306.01708): trim small differences from the base, elect a sign per weight, average those that agree with it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from begat import InputError
from begat_lab.descent.base import EVERY, Child, Job, kind, same_shape


@dataclass(frozen=True, slots=True)
class Ties:
    """How to trim and add."""

    density: float = 0.2  # share of each difference that stays, the largest
    scale: float = 1.0  # on the merged difference

    def __post_init__(self) -> None:
        if not 0 < self.density <= 1:
            raise InputError("density of a TIES merge", expected="above 0, at most 1", found=self.density)


@kind("merge-ties", "TIES merge of children of a base", parents=(3, 8), options=Ties, knows=EVERY)
def merge_ties(job: Job) -> Child:
    """Parent 0 is the base, the others are its children."""
    models = [job.parent(number) for number in range(len(job.parents))]
    same_shape(models)
    children = [dict(model.named_parameters()) for model in models[1:]]
    with torch.no_grad():
        for name, weight in models[0].named_parameters():
            delta = torch.stack([trimmed(child[name] - weight, job.options.density) for child in children])
            sign = delta.sum(0).sign()
            agrees = (delta.sign() == sign) & (delta != 0)
            mean = (delta * agrees).sum(0) / agrees.sum(0).clamp_min(1)
            weight.add_(job.options.scale * mean)
    return job.store(models[0])


def trimmed(delta: Tensor, density: float) -> Tensor:
    """`delta` with all but its largest `density` share zeroed; ties go by position."""
    flat = delta.flatten()
    stay = flat.abs().argsort(descending=True, stable=True)[: round(density * flat.numel())]
    return torch.zeros_like(flat).scatter(0, stay, flat[stay]).view_as(delta)
