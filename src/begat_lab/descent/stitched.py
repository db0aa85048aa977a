"""Stitched: some layers from one parent, the rest from another; embedding, final norm and head from the first."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from begat import InputError
from begat_lab.descent.base import Child, Job, kind, same_shape


@dataclass(frozen=True, slots=True)
class Stitch:
    """Where the parts come from."""

    layers: tuple[int, ...]  # that come from the second parent


@kind("stitched", "layers of two parents", parents=2, options=Stitch)
def stitched(job: Job) -> Child:
    """Layer by layer, at the same depth."""
    models, layers = [job.parent(0), job.parent(1)], job.options.layers
    same_shape(models)
    if not layers or not set(layers) < set(range(models[0].config.num_hidden_layers)):
        raise InputError("layers to take from the second parent", expected="some of its layers, not all", found=layers)
    other = dict(models[1].named_parameters())
    with torch.no_grad():
        for name, weight in models[0].named_parameters():
            if any(name.startswith(f"model.layers.{layer}.") for layer in layers):
                weight.copy_(other[name])
    return job.store(models[0], layers_of_second=sorted(layers))
