"""φ_MATCH of Zhu et al.: do gate and up projections name the same partner for each MLP unit?

Enters: gate_proj and up_proj of all layers, or their outputs on probe tokens.  Leaves: -log10 p.
Paper: "Independence Tests for Language Models", arXiv 2502.12292, section 2.3 (unconstrained setting). Per layer
Spearman(MATCH(gate_A, gate_B), MATCH(up_A, up_B)), p from Student's t, Fisher over layers.
The activation variant matches units by squared Euclidean distance of their outputs, the smaller model padded with silent units; it is the paper's. The weight
variant matches rows by cosine; **a reconstruction**, it needs an unchanged residual basis but no forward pass.
Null: the two matchings are independent. Gate and up of *trained* strangers share features, so this p is too small for them (the
paper calls it empirical); the bench shows by how much. Only layers of equal index are paired: unequal depth gets a reason.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from begat.types import F64
from begat_lab.methods.base import METHODS, Method, Score, no_score
from begat_lab.methods.model import Model
from begat_lab.methods.numbers import log_fisher, log_p_spearman, match, minus_log10, spearman, unit_rows

_ROLES = ("mlp.gate.weight", "mlp.up.weight")
_PAPER = "Independence Tests for Language Models, arXiv 2502.12292 §2.3"
# F units of A    G units of B    P probe positions    D residual width


def phi_match_weights(a: Model, b: Model, rng: np.random.Generator) -> Score:
    """φ_MATCH on rows of the weights."""
    if not a.has(_ROLES) or a.shapes(_ROLES) != b.shapes(_ROLES):
        return no_score("needs gate and up projections of equal shapes")

    def gains(layer: int) -> list[F64]:
        return [unit_rows(a.weight(r, layer)) @ unit_rows(b.weight(r, layer)).T for r in _ROLES]

    return _combine(gains, a.layers, rng)


def phi_match_activations(a: Model, b: Model, rng: np.random.Generator) -> Score:
    """φ_MATCH on outputs of the gate and up projections."""
    if a.layers != b.layers:
        return no_score("needs equally many layers")
    if a.trace.up_LFP[0].shape[1] != b.trace.up_LFP[0].shape[1]:
        return no_score("the two models ran on different sentences")

    def gains(layer: int) -> list[F64]:
        pairs = ((a.trace.gate_LFP, b.trace.gate_LFP), (a.trace.up_LFP, b.trace.up_LFP))
        return [-_distances(x[layer], y[layer]) for x, y in pairs]

    return _combine(gains, a.layers, rng)


def _distances(x_FP: F64, y_GP: F64) -> F64:
    """Squared Euclidean distances of all pairs of units, the shorter list padded with zeros: [max(F, G), max(F, G)]."""
    n = max(len(x_FP), len(y_GP))
    x, y = (np.pad(v, ((0, n - len(v)), (0, 0))) for v in (x_FP, y_GP))
    return np.asarray((x * x).sum(1)[:, None] + (y * y).sum(1)[None, :] - 2 * x @ y.T)


def _combine(gains: Callable[[int], list[F64]], layers: int, rng: np.random.Generator) -> Score:
    log_ps = []
    for layer in range(layers):
        by_gate_F, by_up_F = (match(g, rng) for g in gains(layer))
        log_ps.append(log_p_spearman(spearman(by_gate_F, by_up_F), len(by_gate_F)))
    return Score(minus_log10(log_fisher(log_ps)), detail={f"layer {i}": minus_log10(p) for i, p in enumerate(log_ps)})


METHODS.add("phi-match-weights")(
    Method(
        "φ_MATCH on weights: gate and up agree on the matching",
        f"{_PAPER} (weight variant reconstructed)",
        "weights",
        phi_match_weights,
        p_value=True,
        survives=frozenset({"mlp-permutation"}),
    )
)
METHODS.add("phi-match-activations")(
    Method(
        "φ_MATCH on activations: gate and up agree on the matching",
        _PAPER,
        "forward",
        phi_match_activations,
        p_value=True,
        equal_shape=False,
        survives=frozenset({"mlp-permutation", "residual-permutation", "residual-rotation"}),
    )
)
