"""AWM: match the embedding columns, then unbiased CKA of Q and K weights.

Enters: embeddings of shared tokens, Wq and Wk of all layers.  Leaves: the mean unbiased CKA, about 0 for strangers, 1 for copies.
Paper: "AWM: Accurate Weight-Matrix Fingerprint for Large Language Models", arXiv 2510.06738, section 3. The base model is the wider one (A when
equally wide). Linear assignment of the other's embedding columns to the base's by |cosine|, which undoes a permutation with signs; then per layer
CKA with residual dims as samples, so any rotation of q and k rows drops out. Unequal depth: assignment over the layer-pair scores.
Its z (detail "paper z") uses the published mean 0.00375 and standard deviation 0.0028 of 90 stranger pairs of other sizes; it is no p-value.
"""

from __future__ import annotations

import math

import numpy as np

from begat.types import F64, I64
from begat_lab.methods.base import METHODS, Method, Score, no_score
from begat_lab.methods.model import Model, shared_tokens
from begat_lab.methods.numbers import match, u_centred, unit_rows

_ROLES = ("attn.q.weight", "attn.k.weight")
# S shared tokens    D dims of the narrower model    O rows of q or k    L, M layers of base and other


def awm(a: Model, b: Model, _rng: np.random.Generator) -> Score:
    """Mean unbiased CKA of Q and K after matching residual dims."""
    if a.misfit or b.misfit:
        return no_score(a.misfit or b.misfit)
    shared = shared_tokens(a, b)
    if isinstance(shared, str):
        return no_score(shared)
    embeds = [m.weight("embed.tokens")[ids] for m, ids in zip((a, b), shared, strict=True)]
    models = [a, b]
    if embeds[0].shape[1] < embeds[1].shape[1]:
        embeds, models = embeds[::-1], models[::-1]
    if embeds[1].shape[1] < 4:
        return no_score("needs at least four residual dims")
    dims_D, sign_D = match_columns(*embeds)
    grams = [_grams(models[0], dims_D, sign_D), _grams(models[1], None, None)]
    score_LM = np.mean([grams[0][r] @ grams[1][r].T for r in _ROLES], axis=0)
    if score_LM.shape[0] == score_LM.shape[1]:
        pairs = np.diag(score_LM)
    else:
        narrow_LM = score_LM if score_LM.shape[0] < score_LM.shape[1] else score_LM.T
        pairs = narrow_LM[np.arange(len(narrow_LM)), match(narrow_LM)]
    value = float(pairs.mean())
    if not math.isfinite(value):
        return no_score("Q or K of a layer is constant")
    return Score(value, detail={"paper z": (value - 0.00375) / 0.0028})


def match_columns(base_SE: F64, other_SD: F64) -> tuple[I64, F64]:
    """For each column of `other` its column of `base` (assignment by |cosine|), and the sign of their cosine."""
    cosine_DE = unit_rows(other_SD.T) @ unit_rows(base_SE.T).T
    dims_D = match(np.abs(cosine_DE))
    sign_D = np.where(cosine_DE[np.arange(len(dims_D)), dims_D] < 0, -1.0, 1.0)
    return dims_D, sign_D


def _grams(m: Model, dims_D: I64 | None, sign_D: F64 | None) -> dict[str, F64]:
    """Role → U-centred Gram matrices of the residual dims, one a layer, flattened and scaled to length 1."""
    out: dict[str, list[F64]] = {r: [] for r in _ROLES}
    for role in _ROLES:
        for layer in range(m.layers):
            w_OD = m.weight(role, layer)
            if dims_D is not None and sign_D is not None:
                w_OD = w_OD[:, dims_D] * sign_D
            k_DD = u_centred(w_OD.T @ w_OD)
            size = float(np.linalg.norm(k_DD))
            out[role].append(k_DD.ravel() / (size if size > 0 else math.nan))
    return {r: np.stack(grams) for r, grams in out.items()}


METHODS.add("awm")(
    Method(
        "AWM: unbiased CKA of Q and K after matching",
        "AWM, arXiv 2510.06738 §3",
        "weights",
        awm,
        equal_shape=False,
        survives=frozenset({"mlp-permutation", "residual-permutation"}),
    )
)
