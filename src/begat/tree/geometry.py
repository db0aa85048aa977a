"""Angles between models → corners of triangles, with bounds.

Enters: a matrix of distances (radians) and their standard deviations.  Leaves: for models v, p, q an interval for the cosine of
the angle at v between the ways to p and to q, and lengths that add up along a path.  Which corner means what: `join.py`,
`mixtures.py`.

**Model.** A training step far from the weights it starts from is at right angles to them and to every other change made apart
from it (in thousands of dimensions random directions are). So if every path between p and q leads through v, cosines multiply
along it: cos d(p,q) = cos d(p,v) · cos d(v,q), and lengths −log cos d add. This is the information distance of Gaussian tree models
(Choi, Tan, Anandkumar & Willsky, "Learning Latent Tree Graphical Models", JMLR 12, 2011, section 2); for small angles it is
d²/2, the law of Pythagoras. The corner at v in spherical trigonometry is the partial correlation of p and q given v:

    (cos d(p,q) − cos d(p,v) cos d(q,v)) / (sin d(p,v) sin d(q,v))

0: v separates p and q. Positive: their ways from v have a stretch in common. −1: v lies on the arc between them.

**Assumption about units.** A distance is a root mean square over units. If all units drift alike, the formula is right; if drift
is spread unevenly, angles average as squares and the flat corner (d(p,v)² + d(q,v)² − d(p,q)²) / (2 d(p,v) d(q,v)) is nearer. Every
conclusion must hold under both, widened by z standard deviations of measurement.

**Errors of measurement** are independent between pairs, or, with `shared_bits`, those of sign bits along the same directions for all models: an angle d
is π times the share of bits that differ (Goemans & Williamson, J. ACM 42, 1995, lemma 3.2). Among three models the bits in which two pairs
differ at once are half of what the two shares together exceed the third's by, so covariances follow from the three angles; models that lie
close have nearly the same error towards a third.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
#: angles beyond this say nothing about lengths: −log cos runs away
_FAR = 1.45
_NARROW = 1e-9
#: ratio of numbers of bits up to which two angles count as measured along the same directions; least variance left, as a share of that of independent errors
_ALIKE, _LEAST = 1.5, 0.02


@dataclass(frozen=True, slots=True)
class Corners:
    """Intervals for the cosine of a corner; `low` and `high` are NaN where a distance is missing."""

    low: Matrix
    high: Matrix


class Geometry:
    """Distances of n models and what follows from them.

    Args:
        d_NN: radians, symmetric, NaN where unknown.
        sd_NN: their standard deviations.
        z: half width of intervals, in standard deviations.
        shared_bits: distances come from sign bits along the same directions for all models.
    """

    def __init__(self, d_NN: Matrix, sd_NN: Matrix, z: float, shared_bits: bool = False) -> None:
        self.d, self.sd, self.z, self.shared_bits = d_NN, sd_NN, z, shared_bits
        with np.errstate(invalid="ignore"):
            usable = d_NN < _FAR
        d = np.where(usable, d_NN, np.nan)
        #: length by form (0 flat, 1 spherical), and its standard deviation
        self.length = np.stack([d**2 / 2, -np.log(np.cos(d))])
        self.length_sd = np.stack([d * sd_NN, np.tan(d) * sd_NN])

    def corners_at(self, v: int) -> Corners:
        """The corner at v for all pairs (p, q) at once: two N × N matrices."""
        d1, d2, d3 = self.d[v][:, None], self.d[v][None, :], self.d
        s1, s2, s3 = self.sd[v][:, None], self.sd[v][None, :], self.sd
        return self._corner(d1, d2, d3, s1, s2, s3)

    def corner(self, v: int, p: int, q: int) -> tuple[float, float]:
        """(low, high) of the cosine at v between the ways to p and to q; (−inf, inf) where a distance is missing."""
        args = [np.asarray(m[i, j]) for m in (self.d, self.sd) for i, j in ((v, p), (v, q), (p, q))]
        c = self._corner(*args)
        low, high = float(c.low), float(c.high)
        return (low, high) if low == low else (-np.inf, np.inf)

    def _corner(self, d1: Matrix, d2: Matrix, d3: Matrix, s1: Matrix, s2: Matrix, s3: Matrix) -> Corners:
        with np.errstate(invalid="ignore", divide="ignore"):
            n1, n2 = np.maximum(np.sin(d1), _NARROW), np.maximum(np.sin(d2), _NARROW)
            round_ = (np.cos(d3) - np.cos(d1) * np.cos(d2)) / (n1 * n2)
            by1 = np.cos(d2) / n2 - round_ * np.cos(d1) / n1
            by2 = np.cos(d1) / n1 - round_ * np.cos(d2) / n2
            by3 = -np.sin(d3) / (n1 * n2)
            wide = self.z * np.sqrt(self._variance((by1, by2, by3), (d1, d2, d3), (s1, s2, s3)))
            flat = (d1**2 + d2**2 - d3**2) / (2 * np.maximum(d1, _NARROW) * np.maximum(d2, _NARROW))
            # a distance within its own error of zero leaves the corner open
            blind = (d1 <= self.z * s1) | (d2 <= self.z * s2)
            low = np.where(blind, -np.inf, np.minimum(round_, flat) - wide)
            high = np.where(blind, np.inf, np.maximum(round_, flat) + wide)
        missing = np.isnan(d1 + d2 + d3)
        return Corners(np.where(missing, np.nan, low), np.where(missing, np.nan, high))

    def projection(self, x: int, far: int, y: int) -> tuple[Matrix, Matrix]:
        """How far from x the way to y leaves the way to `far`: (length, sd), by form. NaN where a distance is missing."""
        pairs = ((x, far), (x, y), (far, y))
        g = (self.length[:, x, far] + self.length[:, x, y] - self.length[:, far, y]) / 2
        d, s = (tuple(np.asarray(m[i, j]) for i, j in pairs) for m in (self.d, self.sd))
        with np.errstate(invalid="ignore", divide="ignore"):
            slopes = [np.stack([z, np.tan(z)]) * sign / 2 for z, sign in zip(d, (1.0, 1.0, -1.0), strict=True)]
            return g, np.sqrt(self._variance(slopes, d, s))

    def _variance(self, by: Sequence[Matrix], d: Sequence[Matrix], s: Sequence[Matrix]) -> Matrix:
        """Variance of what depends on the three sides of a triangle with slopes `by`."""
        alone: Matrix = sum((b * e) ** 2 for b, e in zip(by, s, strict=True))  # type: ignore[assignment]
        if not self.shared_bits:
            return alone
        share = [x / np.pi for x in d]
        bits = [p * (1 - p) * np.pi**2 / np.maximum(e, _NARROW) ** 2 for p, e in zip(share, s, strict=True)]
        out = alone
        for i, j in ((0, 1), (0, 2), (1, 2)):
            k = 3 - i - j
            n = np.maximum(bits[i], bits[j])
            # both pairs measured by like numbers of bits: else the bits are not the same
            alike = n <= _ALIKE * np.minimum(bits[i], bits[j])
            both = np.where(alike, ((share[i] + share[j] - share[k]) / 2 - share[i] * share[j]) * np.pi**2 / np.maximum(n, 1.0), 0.0)
            out = out + 2 * by[i] * by[j] * both
        return np.maximum(out, _LEAST * alone)
