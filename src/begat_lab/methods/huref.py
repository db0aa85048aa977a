"""HuRef's invariant terms: products of weights seen from token space, compared by cosine (ICS).

Enters: embeddings of shared tokens X and the attention and MLP weights of the last two layers.  Leaves: the ICS, in [-1, 1] (the paper prints 100 times it).
Paper: "HuRef: HUman-REadable Fingerprint for Large Language Models", arXiv 2312.04828, section 4. Per layer, W stored [out, in]:

    Ma = X Wqᵀ Wk Xᵀ        Mb = X Wvᵀ Woᵀ Xᵀ        Mf = X (Wgᵀ ∘ Wuᵀ) Wdᵀ Xᵀ   (X Wuᵀ Wdᵀ Xᵀ without a gate)

each standardised; the ICS is the cosine of all of them together. Invariant under permutations of the residual stream and of MLP units and under
changes of basis inside heads. Ma and Mb also under rotation of the residual stream, but Mf not where the MLP is gated: an elementwise product of
weights has no basis-free meaning. Blind to rotary positions and to norm gains, so a gain moved into the weights breaks it.
Reconstruction: the paper takes the 4,096 rarest tokens of a corpus; here at most `TOKENS` shared ones, drawn by the passed generator. Under
grouped-query attention each KV head is repeated for its own query heads.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from begat.types import F64
from begat_lab.methods.base import METHODS, Method, Score, no_score
from begat_lab.methods.model import Model, shared_tokens

TOKENS = 1024
LAYERS = 2
_MLP = ("mlp.up.weight", "mlp.down.weight")
# S sampled shared tokens    D residual width    F MLP units


def huref(a: Model, b: Model, rng: np.random.Generator) -> Score:
    """Cosine of the standardised invariant terms of the last two layers."""
    if not all(m.has(_MLP) and m.layers >= LAYERS for m in (a, b)):
        return no_score(f"needs dense MLP weights in at least {LAYERS} layers")
    if a.misfit or b.misfit:
        return no_score(a.misfit or b.misfit)
    shared = shared_tokens(a, b)
    if isinstance(shared, str):
        return no_score(shared)
    n = len(shared[0])
    at_S = np.sort(rng.choice(n, size=min(n, TOKENS), replace=False))
    cosines = []
    for x_SS, y_SS in zip(_terms(a, shared[0][at_S]), _terms(b, shared[1][at_S]), strict=True):
        x_SS, y_SS = x_SS - x_SS.mean(), y_SS - y_SS.mean()
        size = float(np.linalg.norm(x_SS) * np.linalg.norm(y_SS))
        if size == 0:
            return no_score("an invariant term is constant")
        cosines.append(float((x_SS * y_SS).sum()) / size)
    # standardised terms are equally long, so the cosine of all together is the mean of theirs
    return Score(float(np.mean(cosines)), detail={f"term {i}": c for i, c in enumerate(cosines)})


def _terms(m: Model, ids_S: np.ndarray) -> Iterator[F64]:
    x_SD = m.weight("embed.tokens")[ids_S]
    for layer in range(m.layers - LAYERS, m.layers):
        q, k, v = (
            m.weight("attn.q.weight", layer),
            m.per_query_head("attn.k.weight", layer),
            m.per_query_head("attn.v.weight", layer),
        )
        yield (x_SD @ q.T) @ (k @ x_SD.T)
        yield (x_SD @ v.T) @ (m.weight("attn.o.weight", layer).T @ x_SD.T)
        in_FD = m.weight("mlp.up.weight", layer)
        if m.shape("mlp.gate.weight", layer):
            in_FD = in_FD * m.weight("mlp.gate.weight", layer)
        yield (x_SD @ in_FD.T) @ (m.weight("mlp.down.weight", layer).T @ x_SD.T)


METHODS.add("huref")(
    Method(
        "HuRef: cosine of invariant terms (ICS)",
        "HuRef, arXiv 2312.04828 §4",
        "weights",
        huref,
        equal_shape=False,
        survives=frozenset({"mlp-permutation", "residual-permutation"}),
    )
)
