"""Noised: every weight plus Gaussian noise, in proportion to its tensor's own spread. No training drifts like this; it measures power."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from begat_lab.descent.base import EVERY, Child, Job, kind


@dataclass(frozen=True, slots=True)
class Noise:
    """How much."""

    share: float = 0.1  # standard deviation of the noise over the tensor's (rms for gains)


@kind("noised", "parent plus noise", seeds=("chance_seed",), options=Noise, knows=EVERY)
def noised(job: Job) -> Child:
    """Tensor by tensor, in the order of the state dict."""
    model, chance = job.parent(), job.generator("chance_seed")
    with torch.no_grad():
        for weight in model.parameters():
            spread = weight.std() if weight.dim() > 1 else weight.square().mean().sqrt()
            weight.add_(torch.randn(weight.shape, generator=chance) * spread * job.options.share)
    return job.store(model)
