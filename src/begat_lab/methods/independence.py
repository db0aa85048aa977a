"""U_w of Zhu et al.: do the MLP units of two models keep one order?

Enters: up_proj of all layers.  Leaves: -log10 p.
Paper: "Independence Tests for Language Models", arXiv 2502.12292, section 2.2. Per layer MATCH the rows of A's up_proj to B's (assignment by cosine),
Spearman's correlation of the matching with the identity, its p from Student's t; Fisher over layers.
Null: the units of one model are exchangeable, independently in each layer; the t is an approximation. One-sided, as the text has it.
Reconstruction: where t would say p = 0 the probability 1/h! of that one permutation stands instead; ties are broken by the passed generator.
"""

from __future__ import annotations

import numpy as np

from begat_lab.methods.base import METHODS, Method, Score, no_score
from begat_lab.methods.model import Model
from begat_lab.methods.numbers import log_fisher, log_p_spearman, match, minus_log10, spearman, unit_rows

_ROLES = ("mlp.up.weight",)


def u_w(a: Model, b: Model, rng: np.random.Generator) -> Score:
    """Fisher over layers of Spearman(MATCH(up_A, up_B), identity)."""
    if not a.has(_ROLES) or a.shapes(_ROLES) != b.shapes(_ROLES):
        return no_score("needs up projections of equal shapes")
    log_ps = []
    for layer in range(a.layers):
        x_FD, y_FD = (unit_rows(m.weight(_ROLES[0], layer)) for m in (a, b))
        order_F = match(x_FD @ y_FD.T, rng)
        log_ps.append(log_p_spearman(spearman(order_F, np.arange(len(order_F))), len(order_F)))
    return Score(minus_log10(log_fisher(log_ps)), detail={f"layer {i}": minus_log10(p) for i, p in enumerate(log_ps)})


METHODS.add("u-w")(
    Method(
        "U_w: order of matched MLP units",
        "Independence Tests for Language Models, arXiv 2502.12292 §2.2",
        "weights",
        u_w,
        p_value=True,
    )
)
