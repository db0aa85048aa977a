"""T4: key/value heads in another order with the query heads they serve, and query heads in another order within their group."""

from __future__ import annotations

import torch

from begat_lab.disguises.base import disguise
from begat_lab.models.dense import DenseLM


@disguise("head-permutation", "T4", "heads reordered")
def head_permutation(model: DenseLM, chance: torch.Generator) -> DenseLM:
    """Layer by layer. G: query heads of a group."""
    c = model.config
    K, G, C = c.num_key_value_heads, c.num_attention_heads // c.num_key_value_heads, c.head_dim
    with torch.no_grad():
        for block in model.model.layers:
            attention = block.self_attn
            order_K = torch.randperm(K, generator=chance)
            order_KG = torch.stack([torch.randperm(G, generator=chance) for _ in range(K)])
            for weight_OD in (attention.k_proj.weight, attention.v_proj.weight):
                weight_OD.copy_(weight_OD.view(K, C, -1)[order_K].reshape(weight_OD.shape))
            q_OD, o_DO = attention.q_proj.weight, attention.o_proj.weight
            pick = (order_K[:, None], order_KG)
            q_OD.copy_(q_OD.view(K, G, C, -1)[pick].reshape(q_OD.shape))
            o_DO.copy_(o_DO.view(-1, K, G, C)[:, pick[0], pick[1]].reshape(o_DO.shape))
    return model
