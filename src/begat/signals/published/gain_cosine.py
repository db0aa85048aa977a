"""Cosine of all norm gains, raw: the statistic of the Solar-Open accusation, retracted by its authors.

Enters: the concatenated norm gains.  Leaves: their cosine.  Formula: sionic-ai/solar-vs-glm (README, January 2026).
"""

from __future__ import annotations

import numpy as np

from begat.signals.published.base import PUBLISHED, Published, Summaries


def gain_cosine(a: Summaries, b: Summaries) -> float | str:
    """Raw cosine of the concatenated norm gains, in [-1, 1]."""
    x, y = a.gains, b.gains
    if not len(x) or x.shape != y.shape:
        return "needs norm gains of equal number"
    return float(x @ y / np.sqrt((x @ x) * (y @ y))) if x.any() and y.any() else "the gains are zero"


PUBLISHED.add("gain-cosine")(
    Published(
        "raw cosine of norm gains (the 0.989 of the Solar dispute)",
        "sionic-ai/solar-vs-glm, retracted 2026",
        "Norm gains are positive and nearly constant, so strangers reach 0.9 and more; centred, the same pair had 0.01.",
        gain_cosine,
    )
)
