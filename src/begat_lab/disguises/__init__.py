"""Disguises: changes of the weights that leave the function alone (statistics.md §3, T1 to T6), one file each behind one registry.

Enters: a model in float64 and a generator.  Leaves: a model that computes the same logits within rounding.  To add one: a file with a
function under `@disguise(...)`, imported here; `tests/lab/test_disguises.py` picks it up.  As descent: `begat_lab/descent/disguised.py`.
"""

# one import per file
from begat_lab.disguises import (  # noqa: F401
    gains,
    head_permutation,
    head_transform,
    residual_permutation,
    residual_rotation,
    scaling,
    unit_permutation,
)
from begat_lab.disguises.base import DISGUISES, Disguise, disguise, untied

__all__ = ["DISGUISES", "Disguise", "disguise", "untied"]
