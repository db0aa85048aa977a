"""From scratch: fresh weights, trained on text. The parent of a family, its strangers and its twins are all of this kind.

Members with one `initial_seed` are twins: they start from the same weights.  Fresh weights: `models/dense.py`.  Training: `training.py`.
"""

from __future__ import annotations

from begat_lab.descent.base import Child, Job, kind
from begat_lab.models.dense import new_model
from begat_lab.text import within
from begat_lab.training import train


@kind("scratch", "trained from scratch", parents=0, seeds=("initial_seed", "window_seed"), trains=True)
def scratch(job: Job) -> Child:
    """A new model."""
    tokens_N, recipe = job.text()
    model = new_model(job.shape, job.generator("initial_seed"))
    train(model, within(tokens_N, model.config.vocab_size), recipe, job.generator("window_seed"), job.say, tick=job.tick)
    return job.store(model)
