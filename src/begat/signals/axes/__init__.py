"""The symmetric axes: one file each, one registry, one contract test (`tests/contracts/test_axis_contract.py`).

Enters: two canonical models (names, shapes, geometry; no weights).  Leaves: `Site`s: which units of which tensors to sample.
Reading is the neighbour's work: `begat.pipeline.sampling`; counting hits: `begat.signals.order`.

Why axes may be multiplied (the assumption behind `begat.stats.order.log_e_combined`). Name the random permutations of a
model: σ of the residual stream, then per layer λ (MLA latent dims), κ (KV heads), ν (value dims of a head), ε (experts), π (units of
an MLP or of one expert). They are independent and uniform at initialisation and training keeps them so. Each axis reads only
tensors that depend on its own permutation and on ones *before it* in the order σ, λ, κ, ν, ε, π:

    residual      gains, residual biases, embedding columns          σ
    latent-dims   rows of kv_a, q_a                                  λ, σ
    kv-heads      rows of k (never of v, whose order is ν)           κ, σ
    value-dims    rows of v inside one head                          ν, κ, σ
    experts       router rows                                        ε, σ
    expert-units  rows of gate, up (columns of down)                 π, ε, σ
    mlp-units     rows of gate, up (columns of down)                 π, σ
    chain-units   rows of layer l                                    π_l, π_(l-1)

so given the earlier ones each e-value has mean at most 1, and so has the product. Tests that share a permutation (the views of
the residual stream) are averaged.
"""

from begat.signals.axes.base import AXES, Axis, Site, View

# one import per axis; registered in the order σ, λ, κ, ν, ε, π, in which they are read
# isort: off
from begat.signals.axes import residual, latent_dims, kv_heads, value_dims, experts, mlp_units, expert_units, chain_units  # noqa: F401
# isort: on

__all__ = ["AXES", "Axis", "Site", "View"]
