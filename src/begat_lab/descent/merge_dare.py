"""DARE merge (arXiv:2311.03099): drop most of each difference from the base at random, rescale the rest, average."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from begat import InputError
from begat_lab.descent.base import EVERY, Child, Job, kind, same_shape


@dataclass(frozen=True, slots=True)
class Dare:
    """How much to drop."""

    drop: float = 0.7  # share of every difference

    def __post_init__(self) -> None:
        if not 0 <= self.drop < 1:
            raise InputError("share that a DARE merge drops", expected="0 or more, below 1", found=self.drop)


@kind("merge-dare", "DARE merge of children of a base", parents=(3, 8), seeds=("chance_seed",), options=Dare, knows=EVERY)
def merge_dare(job: Job) -> Child:
    """Parent 0 is the base, the others are its children; each keeps its own random part."""
    models, chance, drop = (
        [job.parent(number) for number in range(len(job.parents))],
        job.generator("chance_seed"),
        job.options.drop,
    )
    same_shape(models)
    children = [dict(model.named_parameters()) for model in models[1:]]
    with torch.no_grad():
        for name, weight in models[0].named_parameters():
            kept = [(child[name] - weight) * (torch.rand(weight.shape, generator=chance) >= drop) for child in children]
            weight.add_(torch.stack(kept).sum(0) / (1 - drop) / len(children))
    return job.store(models[0])
