"""Same-index agreement of one tensor in two models: the numbers of the inheritance map.

Enters: running sums over the same cells of A and B.  Leaves: cosine, R², slope, relative change.  A description of where
inheritance lies, never evidence by itself: two models share no index by chance, but neither does this have an exact null for
axes that are not symmetric (tokens, RoPE pairs).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from begat.types import F32, MapCell, TensorKey


@dataclass(slots=True)
class Sums:
    """Sums over compared cells; `centred` tensors (vectors: gains, biases) also need the plain sums."""

    n: int = 0
    aa: float = 0.0
    bb: float = 0.0
    ab: float = 0.0
    a: float = 0.0
    b: float = 0.0
    equal: bool = True

    def add(self, a: F32, b: F32) -> None:
        """Add cells a and b, contiguous float32 arrays of one size."""
        x, y = a.reshape(-1), b.reshape(-1)
        self.n += x.size
        with np.errstate(over="ignore", invalid="ignore"):
            aa, bb = float(np.dot(x, x)), float(np.dot(y, y))
        if not 1e-30 < min(aa, bb) <= max(aa, bb) < 1e30:  # squares may have left float32
            u, v = x.astype(np.float64), y.astype(np.float64)
            aa, bb, ab = float(u @ u), float(v @ v), float(u @ v)
        else:
            ab = float(np.dot(x, y))
        self.aa, self.bb, self.ab = self.aa + aa, self.bb + bb, self.ab + ab
        if self.equal:
            self.equal = bool(np.array_equal(x, y))

    def add_vector(self, a: F32, b: F32) -> None:
        """As `add` in float64, with the plain sums."""
        x, y = a.reshape(-1).astype(np.float64), b.reshape(-1).astype(np.float64)
        self.n += x.size
        self.aa, self.bb, self.ab = self.aa + float(x @ x), self.bb + float(y @ y), self.ab + float(x @ y)
        self.a, self.b = self.a + float(x.sum()), self.b + float(y.sum())
        self.equal = self.equal and bool(np.array_equal(x, y))

    def merge(self, other: Sums) -> None:
        """Add another set of sums."""
        self.n += other.n
        self.aa, self.bb, self.ab = self.aa + other.aa, self.bb + other.bb, self.ab + other.ab
        self.a, self.b, self.equal = self.a + other.a, self.b + other.b, self.equal and other.equal


def cell(key: TensorKey, sums: Sums, total: int, centred: bool) -> MapCell:
    """The map cell of sums: R² = cos², with vectors centred (norm gains are positive and near constant, so their raw cosine is
    close to 1 between strangers: the Solar-Open mistake).
    """
    aa, bb, ab = sums.aa, sums.bb, sums.ab
    change = math.sqrt(max(aa - 2 * ab + bb, 0.0) / aa) if aa > 0 else float(bb > 0)
    slope = ab / aa if aa > 0 else 0.0
    if centred and sums.n > 1:
        floor = 1e-12 * max(aa, bb, 1e-300)
        aa, bb, ab = aa - sums.a**2 / sums.n, bb - sums.b**2 / sums.n, ab - sums.a * sums.b / sums.n
        aa, bb = (aa if aa > floor else 0.0), (bb if bb > floor else 0.0)
    cosine = max(-1.0, min(1.0, ab / math.sqrt(aa * bb))) if aa > 0 and bb > 0 else (1.0 if sums.equal else 0.0)
    if sums.equal:
        cosine, change = 1.0, 0.0
    rms_a, rms_b = (math.sqrt(x / sums.n) if sums.n else 0.0 for x in (aa, bb))
    return MapCell(
        key.tower, key.layer, key.role, key.expert, cosine=cosine, r2=cosine * cosine, slope=slope, change=change,
        rms_a=rms_a, rms_b=rms_b, identical=sums.equal, n=sums.n, total=total,
    )  # fmt: skip
