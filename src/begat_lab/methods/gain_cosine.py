"""Cosine of norm gains, raw (the accusation against Solar-Open) and centred (its rebuttal).

Enters: norm gains.  Leaves: a cosine, in [-1, 1].
Source: sionic-ai/solar-vs-glm (README, December 2025, retracted January 2026) for the raw one: `begat.signals.published`, not repeated here;
hyunwoongko/solar-vs-glm-vs-phi for the centred one. Reconstruction: the rebuttal says "Pearson" of norm weights; here each norm's gains are
centred by their own mean before all are pooled, so that a depth trend common to both models does not count as agreement.
"""

from __future__ import annotations

import numpy as np

from begat.signals.published import PUBLISHED
from begat_lab.methods.base import METHODS, Method, Score, no_score
from begat_lab.methods.model import Model


def raw(a: Model, b: Model, _rng: np.random.Generator) -> Score:
    """The statistic "gain-cosine" of begat."""
    value = PUBLISHED["gain-cosine"].compute(a.summaries, b.summaries)
    return no_score(value) if isinstance(value, str) else Score(value)


def centred(a: Model, b: Model, _rng: np.random.Generator) -> Score:
    """Cosine after each norm's mean is taken away."""
    if not a.gains or {k: len(g) for k, g in a.gains.items()} != {k: len(g) for k, g in b.gains.items()}:
        return no_score("needs norm gains of equal number")
    x, y = (np.concatenate([m.gains[k] - m.gains[k].mean() for k in a.gains]) for m in (a, b))
    size = float(np.sqrt((x @ x) * (y @ y)))
    return Score(float(x @ y) / size) if size > 0 else no_score("the gains of a model are all alike")


METHODS.add("gain-cosine")(
    Method("raw cosine of norm gains", "sionic-ai/solar-vs-glm, README, 2025 (retracted 2026)", "weights", raw, sees_noise=False)
)
METHODS.add("gain-cosine-centred")(
    Method("centred cosine of norm gains", "hyunwoongko/solar-vs-glm-vs-phi, README, 2026", "weights", centred)
)
