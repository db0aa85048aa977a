"""The disputed statistic: correlation over layers of the standard deviations of Q, K, V and O.

Enters: per-layer standard deviations.  Leaves: the mean Pearson correlation.
Formula: "Intrinsic Fingerprint of LLMs" (HonestAGI, arXiv 2507.03014, withdrawn by arXiv in April 2026), section 3, as reconstructed in the LeaFBench
survey (arXiv 2508.19843): for each of Q, K, V, O the vector of per-layer standard deviations of all entries, normalised over layers, Pearson
correlation between two models, mean over the four; the shorter model is linearly interpolated to the longer one's depth.
"""

from __future__ import annotations

import numpy as np

from begat.signals.published.base import PUBLISHED, Published, Summaries

_ROLES = ("attn.q.weight", "attn.k.weight", "attn.v.weight", "attn.o.weight")


def std_correlation(a: Summaries, b: Summaries) -> float | str:
    """Mean over Q, K, V, O of the Pearson correlation of per-layer standard deviations, in [-1, 1]."""
    found = []
    for role in _ROLES:
        x, y = a.layer_sd.get(role), b.layer_sd.get(role)
        if x is None or y is None or min(len(x), len(y)) < 3:
            return "needs Q, K, V and O in at least three layers"
        n = max(len(x), len(y))
        x, y = (np.interp(np.linspace(0, 1, n), np.linspace(0, 1, len(v)), v) for v in (x, y))
        if x.std() == 0 or y.std() == 0:
            return "the standard deviations do not vary over layers"
        found.append(float(np.corrcoef(x, y)[0, 1]))
    return float(np.mean(found))


PUBLISHED.add("std-correlation")(
    Published(
        "correlation of per-layer standard deviations (the 0.927 of the Pangu dispute)",
        "arXiv 2507.03014, withdrawn 2026",
        "Depth trends are common to all trained transformers, so independent models of one recipe correlate too; it has no null and no error rate.",
        std_correlation,
    )
)
