"""SLERP merge: each tensor on the arc between its two parents' (Shoemake 1985; as merge tools apply it to flattened tensors)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from begat_lab.descent.base import EVERY, Child, Job, kind, same_shape

_PARALLEL = 1e-6  # sine of the angle below which the arc is a line


@dataclass(frozen=True, slots=True)
class Arc:
    """Where on the arc."""

    t: float = 0.5  # 0: first parent, 1: second


@kind("merge-slerp", "spherical mean of two parents", parents=2, options=Arc, knows=EVERY)
def merge_slerp(job: Job) -> Child:
    """Tensor by tensor."""
    models = [job.parent(0), job.parent(1)]
    same_shape(models)
    other = dict(models[1].named_parameters())
    with torch.no_grad():
        for name, weight in models[0].named_parameters():
            weight.copy_(slerp(weight, other[name], job.options.t))
    return job.store(models[0])


def slerp(a: Tensor, b: Tensor, t: float) -> Tensor:
    """The point at `t` of the arc between two tensors seen as vectors; lengths are interpolated with the directions' weights."""
    x, y = a.double().flatten(), b.double().flatten()
    if not (x.any() and y.any()):  # a bias that never learnt has no direction
        return torch.lerp(a, b, t)
    angle = torch.dot(x / x.norm(), y / y.norm()).clamp(-1, 1).acos()
    if float(angle.sin()) < _PARALLEL:
        return torch.lerp(a, b, t)
    point = (((1 - t) * angle).sin() * x + (t * angle).sin() * y) / angle.sin()
    return point.view(a.shape).float()
