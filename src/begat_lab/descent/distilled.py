"""Distilled from outputs: fresh weights learn the parent's probabilities. No weight of the parent enters, and none can show it.

Loss: Kullback-Leibler divergence from teacher to student, at temperature 1.  The student may have a shape of its own.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from begat import InputError
from begat_lab.descent.base import Child, Job, kind
from begat_lab.models.dense import new_model
from begat_lab.text import within
from begat_lab.training import train


@kind(
    "distilled",
    "fresh weights, taught by the parent's outputs",
    seeds=("initial_seed", "window_seed"),
    trains=True,
    inherits=False,
)
def distilled(job: Job) -> Child:
    """A student of the parent's."""
    tokens_N, recipe = job.text()
    teacher = job.parent()
    if teacher.config.vocab_size != job.shape.vocab_size:
        raise InputError(
            "vocabulary of the student", expected=f"that of its teacher, {teacher.config.vocab_size}", found=job.shape.vocab_size
        )

    def divergence(student: nn.Module, window_BT: Tensor) -> Tensor:
        with torch.no_grad():
            aim_BTV = F.log_softmax(teacher(window_BT[:, :-1]), -1)
        log_BTV = F.log_softmax(student(window_BT[:, :-1]), -1)
        return F.kl_div(log_BTV.flatten(0, 1), aim_BTV.flatten(0, 1), reduction="batchmean", log_target=True)

    model = new_model(job.shape, job.generator("initial_seed"))
    tokens_N = within(tokens_N, model.config.vocab_size)
    train(model, tokens_N, recipe, job.generator("window_seed"), job.say, loss_of=divergence, tick=job.tick)
    return job.store(model)
