"""From scratch: fresh weights, trained on text. The parent of a family, its strangers and its twins are all of this kind.

Members with one `initial_seed` are twins: they start from the same weights.  Fresh weights: `models/`, by another rule than the
architecture's own: `models/initial.py`.  Training: `training.py`.
"""

from __future__ import annotations

from begat import InputError
from begat_lab.descent.base import EVERY, Child, Job, kind
from begat_lab.models import architecture_of
from begat_lab.models.dense import DENSE
from begat_lab.models.initial import Initial, draw_initial


@kind("scratch", "trained from scratch", parents=0, seeds=("initial_seed", "window_seed"), trains=True, options=Initial, knows=EVERY)
def scratch(job: Job) -> Child:
    """A new model."""
    architecture, how, lottery = architecture_of(job.shape), job.options, job.generator("initial_seed")
    if how == Initial():
        model = architecture.new(job.shape, lottery)
    elif architecture is DENSE:
        model = architecture.empty(job.shape)
        draw_initial(model, how, lottery)
    else:
        raise InputError("rules for initial weights are for the dense architecture", found=architecture.title, fix="drop the options")
    job.train(model)
    return job.store(model)
