"""T4: inside every key/value head another basis: v by an invertible map, q and k by what commutes with rotary positions.

v' = M v and o' = o M^-1.  Rotary positions turn the pairs (r, r + C/2), so each pair may be turned by a fixed angle, and k scaled
where q is scaled back.  Query heads of a group share their key/value head's maps.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from begat_lab.disguises.base import disguise, orthogonal, scales
from begat_lab.models.dense import DenseLM


@disguise("head-transform", "T4", "another basis inside every head")
def head_transform(model: DenseLM, chance: torch.Generator) -> DenseLM:
    """Head by head. G: query heads of a group."""
    c = model.config
    K, G, C = c.num_key_value_heads, c.num_attention_heads // c.num_key_value_heads, c.head_dim
    with torch.no_grad():
        for block in model.model.layers:
            attention = block.self_attn
            q_KGCD = attention.q_proj.weight.view(K, G, C, -1)
            k_KCD, v_KCD = (weight.view(K, C, -1) for weight in (attention.k_proj.weight, attention.v_proj.weight))
            o_DKGC = attention.o_proj.weight.view(-1, K, G, C)
            for head in range(K):
                turn_CC, size_C = pair_turn(C, chance).to(q_KGCD.dtype), scales(C // 2, chance).repeat(2).to(q_KGCD.dtype)
                k_KCD[head] = size_C[:, None] * (turn_CC @ k_KCD[head])
                q_KGCD[head] = (turn_CC @ q_KGCD[head]) / size_C[:, None]
                basis_CC = orthogonal(C, chance) * scales(C, chance) @ orthogonal(C, chance)
                v_KCD[head] = basis_CC.to(q_KGCD.dtype) @ v_KCD[head]
                o_DKGC[:, head] = o_DKGC[:, head] @ torch.linalg.inv(basis_CC).to(q_KGCD.dtype)
    return model


def pair_turn(size: int, chance: torch.Generator) -> Tensor:
    """A rotation that turns each pair (r, r + C/2) by an angle of its own."""
    angle_R = 2 * math.pi * torch.rand(size // 2, generator=chance, dtype=torch.float64)
    cos_RR, sin_RR = angle_R.cos().diag(), angle_R.sin().diag()
    return torch.cat((torch.cat((cos_RR, -sin_RR), 1), torch.cat((sin_RR, cos_RR), 1)))
