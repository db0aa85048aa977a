"""MDIR: is the rotation between two models' matrices too close to a permutation to be random?

Enters: embeddings of shared tokens and the attention weights of all layers.  Leaves: -log10 p.
Paper: "Matrix-Driven Identification and Reconstruction" (arXiv 2508.06309 v3; v1 "Matrix-Driven Instant Review"), abstract and reviews only:
**the whole formula is a reconstruction**. U = Ortho(E_Aᵀ E_B) by polar decomposition; then for the rows of each attention matrix
U_M = Ortho(W_A U W_Bᵀ), O the other way round. Each is compared with the nearest signed permutation: s = max tr(U Pᵀ) (assignment
on |U|). Null: each is Haar-random, P(tr U >= s) ~ exp(-d² I(s/d)), times d! 2^d for the search; for finite d a bound of our own stands in
its place (`numbers.log_p_haar`). The p of the pair is the least over embedding and matrices times their number (Bonferroni).
The null holds for Gaussian weights; trained ones are not rotation-invariant (Adam has a preferred basis), which the bench shows.
Matrices with more rows than the residual stream is wide, and singular ones, are left out: the relation of their rows is not determined.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from begat.types import F64
from begat_lab.methods.base import METHODS, Method, Score, no_score
from begat_lab.methods.model import ATTENTION, Model, shared_tokens
from begat_lab.methods.numbers import log_p_trace, minus_log10, polar

# S shared tokens    D residual width    R rows of q, k or v (columns of o)


def mdir(a: Model, b: Model, _rng: np.random.Generator) -> Score:
    """Bonferroni over the embedding's and the attention matrices' rotations."""
    if a.misfit or b.misfit:
        return no_score(a.misfit or b.misfit)
    if a.shapes(ATTENTION) != b.shapes(ATTENTION):
        return no_score("needs attention weights of equal shapes")
    shared = shared_tokens(a, b)
    if isinstance(shared, str):
        return no_score(shared)
    ea_SD, eb_SD = a.weight("embed.tokens")[shared[0]], b.weight("embed.tokens")[shared[1]]
    if len(ea_SD) < ea_SD.shape[1]:
        return no_score(f"needs as many shared tokens as residual dims: {len(ea_SD)} of {ea_SD.shape[1]}")
    u_DD = polar(ea_SD.T @ eb_SD)
    if u_DD is None:
        return no_score("the embeddings of the shared tokens do not span the residual stream")
    embedding = log_p_trace(u_DD)
    matrices = [log_p_trace(m_RR) for m_RR in map(polar, _relations(a, b, u_DD)) if m_RR is not None]
    tests = [embedding, *matrices]
    log_p = min(0.0, min(tests) + math.log(len(tests)))
    least = min(matrices, default=0.0)
    return Score(minus_log10(log_p), detail={"embedding": minus_log10(embedding), "matrices": minus_log10(least)})


def _relations(a: Model, b: Model, u_DD: F64) -> Iterator[F64]:
    for layer in range(a.layers):
        for role in ATTENTION:
            x, y = a.weight(role, layer), b.weight(role, layer)
            if role == "attn.o.weight":
                x, y = x.T, y.T
            if len(x) <= x.shape[1]:
                yield (x @ u_DD) @ y.T


METHODS.add("mdir")(
    Method(
        "MDIR: trace of the rotation between models",
        "Matrix-Driven Identification and Reconstruction, arXiv 2508.06309 (reconstructed)",
        "weights",
        mdir,
        p_value=True,
        survives=frozenset({"mlp-permutation", "residual-permutation", "residual-rotation"}),
    )
)
