"""Does the difference of two matrices look like white noise: independent, alike in every place?

Enters: the difference.  Leaves: a `Whiteness`.  Which matrices, and what it says of a model: `begat.pipeline.arrows.noise`.

Null and assumption. The values of D [M, N] are independent with one variance s² and a finite fourth
moment k s⁴. Then the largest singular value lies at s (√M + √N) (Marchenko & Pastur 1967; Bai & Yin
1988), and the mean square of a row has variance (k - 1) s⁴ / N over rows, that of a column
(k - 1) s⁴ / M. Each of the three is given over that expectation, so that noise stands at 1 in all.
What training adds stands far above 1: gradients are sums of few directions, and units and features
learn unequally. That is calibrated, not proved (docs/lab-log.md): training could be made to look so.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from begat.types import F64

# Shape suffixes: M rows, N columns


@dataclass(frozen=True, slots=True)
class Whiteness:
    """Attributes, each about 1 for white noise: top: largest singular value over the edge; rows, columns: dispersion of their mean
    squares over that of chance.

    kurtosis: fourth moment over the squared second (3 for normal, 1.8 for uniform values).
    zero: share of values that are exactly 0.
    """

    top: float
    rows: float
    columns: float
    kurtosis: float
    zero: float
    shape: tuple[int, int]


def whiteness(delta_MN: F64) -> Whiteness:
    """Measure a difference."""
    m, n = delta_MN.shape
    x2 = np.square(delta_MN)
    scale = max(float(x2.mean()), 1e-300)
    kurtosis = float(np.square(x2).mean()) / scale**2
    chance = max(kurtosis - 1, 0.1) * scale**2
    top = float(np.linalg.norm(delta_MN, 2)) / (np.sqrt(scale) * (np.sqrt(m) + np.sqrt(n)))
    rows, columns = float(x2.mean(1).var()) * n / chance, float(x2.mean(0).var()) * m / chance
    return Whiteness(top, rows, columns, kurtosis, float((delta_MN == 0).mean()), (m, n))
