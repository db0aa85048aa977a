"""GhostSpec-like spectra: singular values of the QK and VO products of each layer.

Enters: attention weights.  Leaves: the mean correlation of spectra of aligned layers, or their mean squared difference (lower is more related).
Paper: "GhostSpec", arXiv 2511.06390; only the abstract was read, so **all but the products is a reconstruction**: singular values of
Wqᵀ Wk and Wo Wv (KV heads repeated for their query heads), scaled to length 1 so that a scale of the model does not count; a longer spectrum is
cut to the shorter one's length; for the paper's POSA: unequally many layers are aligned monotonically (dynamic programming) at least mean squared
difference, a skipped layer costing `PENALTY` times the median difference of all layer pairs. Invariant under every rotation and
permutation that leaves the function alone, while norm gains stay where they are.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from begat.types import F64
from begat_lab.methods.base import METHODS, Compute, Method, Score, no_score
from begat_lab.methods.model import Model

PENALTY = 0.5
_PAPER = "GhostSpec, arXiv 2511.06390, abstract (reconstructed)"
# L, M layers of A and B    S singular values, falling


def ghostspec(measure: str) -> Compute:
    """The method by "corr" or "mse"."""

    def compute(a: Model, b: Model, _rng: np.random.Generator) -> Score:
        if a.misfit or b.misfit:
            return no_score(a.misfit or b.misfit)
        xs, ys = (m.once("ghostspec", partial(_all_spectra, m)) for m in (a, b))
        diff_LM = np.array([[_compare(x, y, "mse") for y in ys] for x in xs])
        pairs = align(diff_LM, PENALTY * float(np.median(diff_LM)))
        found = [_compare(xs[i], ys[j], measure) for i, j in pairs]
        if not found or not np.isfinite(found).all():
            return no_score("the spectra are constant or nothing could be aligned")
        return Score(float(np.mean(found)), detail={"aligned layers": float(len(pairs))})

    return compute


def align(cost_LM: F64, penalty: float) -> list[tuple[int, int]]:
    """The monotone alignment of least cost, each skipped layer costing `penalty`; of equally many layers none is skipped."""
    n, m = cost_LM.shape
    if n == m:
        return [(i, i) for i in range(n)]
    best = np.full((n + 1, m + 1), np.inf)
    best[0], best[:, 0] = penalty * np.arange(m + 1), penalty * np.arange(n + 1)
    for i in range(1, n + 1):
        for j in range(1, m + 1):
            best[i, j] = min(best[i - 1, j - 1] + cost_LM[i - 1, j - 1], penalty + min(best[i - 1, j], best[i, j - 1]))
    pairs = []
    i, j = n, m
    while i and j:
        if best[i, j] == best[i - 1, j - 1] + cost_LM[i - 1, j - 1]:
            i, j = i - 1, j - 1
            pairs.append((i, j))
        elif best[i - 1, j] <= best[i, j - 1]:
            i -= 1
        else:
            j -= 1
    return pairs[::-1]


def _all_spectra(m: Model) -> list[tuple[F64, F64]]:
    return [_spectra(m, i) for i in range(m.layers)]


def _spectra(m: Model, layer: int) -> tuple[F64, F64]:
    qk = m.weight("attn.q.weight", layer).T, m.per_query_head("attn.k.weight", layer)
    vo = m.weight("attn.o.weight", layer), m.per_query_head("attn.v.weight", layer)
    return _product_spectrum(*qk), _product_spectrum(*vo)


def _product_spectrum(x_DR: F64, y_RD: F64) -> F64:
    """Singular values of XY, the leading min(R, D) of them, scaled to length 1."""
    s_S = np.linalg.svd(x_DR @ y_RD, compute_uv=False)[: x_DR.shape[1]]
    size = float(np.linalg.norm(s_S))
    return np.asarray(s_S / size if size > 0 else s_S)


def _compare(x: tuple[F64, F64], y: tuple[F64, F64], measure: str) -> float:
    found = []
    for s, t in zip(x, y, strict=True):
        n = min(len(s), len(t))
        s, t = s[:n], t[:n]
        if measure == "mse":
            found.append(float(((s - t) ** 2).mean()))
        else:
            found.append(float(np.corrcoef(s, t)[0, 1]) if n > 1 and s.std() > 0 and t.std() > 0 else float("nan"))
    return float(np.mean(found))


_EVERY = frozenset({"mlp-permutation", "residual-permutation", "residual-rotation"})
METHODS.add("ghostspec-corr")(
    Method("QK and VO spectra: correlation", _PAPER, "weights", ghostspec("corr"), equal_shape=False, survives=_EVERY)
)
METHODS.add("ghostspec-mse")(
    Method(
        "QK and VO spectra: squared difference", _PAPER, "weights", ghostspec("mse"), equal_shape=False, survives=_EVERY,
        higher_is_more_related=False,
    )
)  # fmt: skip
