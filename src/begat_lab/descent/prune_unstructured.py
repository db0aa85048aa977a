"""Unstructured pruning: the smallest weights of every attention and MLP matrix become zero; the shape stays."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from begat import InputError
from begat_lab.descent.base import EVERY, Child, Job, kind
from begat_lab.models import architecture_of


@dataclass(frozen=True, slots=True)
class Sparse:
    """How much."""

    share: float = 0.5  # of each matrix

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise InputError("share of weights to prune", expected="between 0 and 1", found=self.share)


@kind("prune-unstructured", "smallest weights zeroed", options=Sparse, knows=EVERY)
def prune_unstructured(job: Job) -> Child:
    """By magnitude within each matrix, to exactly the asked share; ties go by position."""
    model = job.parent()
    architecture = architecture_of(model.config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if architecture.is_matrix(name):
                flat = weight.view(-1)
                flat[flat.abs().argsort(stable=True)[: round(job.options.share * flat.numel())]] = 0.0
    return job.store(model)
