"""Depth: layers left out (pruned) or used twice (up-scaled); embedding, final norm and head stay.

Enters: a parent and a list of its layers.  Leaves: a model of those layers, in that order.  Up-scaling is SOLAR's recipe
(arXiv:2312.15166): two overlapping runs of layers, to be trained on afterwards (a fine-tune in the pedigree).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import torch

from begat import InputError
from begat_lab.descent.base import Child, Job, kind
from begat_lab.models.dense import DenseLM, empty_model


@dataclass(frozen=True, slots=True)
class Layers:
    """Which of the parent's layers, in the child's order."""

    layers: tuple[int, ...]


def with_layers(parent: DenseLM, layers: tuple[int, ...]) -> DenseLM:
    """A model of these layers of `parent`."""
    have = parent.config.num_hidden_layers
    if not layers or not all(0 <= layer < have for layer in layers):
        raise InputError(
            "layers that the parent does not have", expected=f"0 to {have - 1}", found=", ".join(map(str, layers)) or "none"
        )
    child = empty_model(replace(parent.config, num_hidden_layers=len(layers)))
    whole = {name: weight for name, weight in parent.state_dict().items() if ".layers." not in name}
    for to, layer in enumerate(layers):
        stem = f"model.layers.{layer}."
        one = {name.removeprefix(stem): weight for name, weight in parent.state_dict().items() if name.startswith(stem)}
        whole |= {f"model.layers.{to}.{name}": weight for name, weight in one.items()}
    with torch.no_grad():
        child.load_state_dict(copy.deepcopy(whole))
    return child


@kind("prune-depth", "layers left out", options=Layers)
def prune_depth(job: Job) -> Child:
    """Each layer at most once, in the parent's order."""
    parent, layers = job.parent(), job.options.layers
    if list(layers) != sorted(set(layers)) or len(layers) >= parent.config.num_hidden_layers:
        raise InputError(
            "pruning keeps some layers in their order", found=", ".join(map(str, layers)), fix="kind up-scale repeats layers"
        )
    return job.store(with_layers(parent, layers), layers=list(layers))


@kind("up-scale", "layers used more than once", options=Layers)
def up_scale(job: Job) -> Child:
    """Some layer at least twice."""
    layers = job.options.layers
    if len(set(layers)) == len(layers):
        raise InputError("up-scaling repeats layers", found=", ".join(map(str, layers)), fix="kind prune-depth leaves layers out")
    return job.store(with_layers(job.parent(), layers), layers=list(layers))
