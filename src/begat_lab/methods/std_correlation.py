"""Correlation over layers of the standard deviations of Q, K, V and O: the disputed 0.927.

Enters: attention weights.  Leaves: the mean Pearson correlation, in [-1, 1].
Paper: "Intrinsic Fingerprint of LLMs" (HonestAGI, arXiv 2507.03014, withdrawn 2026), section 3. Formula: `begat.signals.published`, not repeated
here. Reconstruction: interpolation of the shorter model follows the LeaFBench survey (arXiv 2508.19843).
"""

from __future__ import annotations

import numpy as np

from begat.signals.published import PUBLISHED
from begat_lab.methods.base import METHODS, Method, Score, no_score
from begat_lab.methods.model import Model


def std_correlation(a: Model, b: Model, _rng: np.random.Generator) -> Score:
    """The statistic of the same name of begat."""
    value = PUBLISHED["std-correlation"].compute(a.summaries, b.summaries)
    return no_score(value) if isinstance(value, str) else Score(value)


METHODS.add("std-correlation")(
    Method(
        "correlation of per-layer standard deviations",
        "Intrinsic Fingerprint of LLMs, arXiv 2507.03014 §3 (withdrawn)",
        "weights",
        std_correlation,
        equal_shape=False,
        survives=frozenset({"mlp-permutation", "residual-permutation", "residual-rotation"}),
        sees_noise=False,
    )
)
