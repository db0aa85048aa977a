"""Linear merge: a weighted mean of models of one shape ("model soup", arXiv:2203.05482)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from begat import InputError
from begat_lab.descent.base import EVERY, Child, Job, kind, same_shape


@dataclass(frozen=True, slots=True)
class Shares:
    """Weights of the mean."""

    shares: tuple[float, ...] = ()  # one a parent, adding up to 1; empty: equal


@kind("merge-linear", "weighted mean of its parents", parents=(2, 8), options=Shares, knows=EVERY)
def merge_linear(job: Job) -> Child:
    """Tensor by tensor."""
    models = [job.parent(number) for number in range(len(job.parents))]
    same_shape(models)
    shares = job.options.shares or (1 / len(models),) * len(models)
    if len(shares) != len(models) or abs(sum(shares) - 1) > 1e-6:
        raise InputError("shares of a linear merge", expected=f"{len(models)} that add up to 1", found=shares)
    others = [dict(model.named_parameters()) for model in models]
    with torch.no_grad():
        for name, weight in models[0].named_parameters():
            parts = [share * other[name] for share, other in zip(shares, others, strict=True)]
            weight.copy_(torch.stack(parts).sum(0))
    return job.store(models[0], shares=list(shares))
