"""From scratch: fresh weights, trained on text. The parent of a family, its strangers and its twins are all of this kind.

Members with one `initial_seed` are twins: they start from the same weights.  Fresh weights: `models/`.  Training: `training.py`.
"""

from __future__ import annotations

from begat_lab.descent.base import EVERY, Child, Job, kind
from begat_lab.models import architecture_of


@kind("scratch", "trained from scratch", parents=0, seeds=("initial_seed", "window_seed"), trains=True, knows=EVERY)
def scratch(job: Job) -> Child:
    """A new model."""
    model = architecture_of(job.shape).new(job.shape, job.generator("initial_seed"))
    job.train(model)
    return job.store(model)
