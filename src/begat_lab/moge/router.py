"""The router: softmax over all experts, then the best few *inside every group* (arXiv:2505.21411, equations 4 to 6).

Enters: router logits of T tokens and a `Grouping`.  Leaves: a `Routing`: which experts each token visits, with what weight.  The weights
are the probabilities as the softmax over all experts gave them; they are not renormalised, so they do not sum to 1.  What the experts do
with it: `experts.py`.  Ordinary top-K routing is the grouping with one group.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from begat import InputError

# Shape suffixes of this package: x_TD is a tensor of shape [T, D].
#   T tokens (a batch, flattened)     D hidden size     F units of one expert
#   N experts     M groups     G = N/M experts of a group     P picks in every group (the paper's K')     K = M*P picks of a token


@dataclass(frozen=True, slots=True)
class Grouping:
    """N experts in M equal groups of neighbours; a token visits P experts of every group."""

    experts: int  # N
    groups: int  # M
    picks: int  # P

    def __post_init__(self) -> None:
        if self.experts < 1 or self.groups < 1 or self.experts % self.groups:
            raise InputError("experts do not fall into equal groups", expected="groups that divide the experts",
                             found=f"{self.experts} experts, {self.groups} groups")  # fmt: skip
        if not 1 <= self.picks <= self.group_size:
            raise InputError("picks in a group", expected=f"1 to {self.group_size}", found=self.picks)

    @property
    def group_size(self) -> int:
        """G."""
        return self.experts // self.groups

    @property
    def picks_per_token(self) -> int:
        """K."""
        return self.groups * self.picks


@dataclass(frozen=True, slots=True)
class Routing:
    """Where T tokens go. Picks stand in group order, inside a group by falling probability."""

    grouping: Grouping
    logits_TN: Tensor
    probs_TN: Tensor  # softmax over all N, before any choice
    expert_ids_TK: Tensor  # 0 to N-1
    weights_TK: Tensor  # the chosen experts' entries of probs_TN


def wide(x: Tensor) -> Tensor:
    """`x` in float32 at least: what is summed or exponentiated is not left in 16 bits."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def route(logits_TN: Tensor, grouping: Grouping) -> Routing:
    """Choose P experts in each group for every token."""
    if logits_TN.dim() != 2 or logits_TN.shape[1] != grouping.experts:
        raise InputError("router logits", expected=f"[tokens, {grouping.experts}]", found=list(logits_TN.shape))
    T, M, G = len(logits_TN), grouping.groups, grouping.group_size
    probs_TN = wide(logits_TN).softmax(-1)
    best = probs_TN.view(T, M, G).topk(grouping.picks, dim=-1)  # values and indices are [T, M, P]
    first_M1 = torch.arange(0, grouping.experts, G, device=logits_TN.device)[:, None]  # id of each group's first expert
    ids_TK = (best.indices + first_M1).view(T, grouping.picks_per_token)
    return Routing(grouping, logits_TN, probs_TN, ids_TK, best.values.view(T, grouping.picks_per_token))
