"""How even the load is: rows per part, the paper's imbalance score with its Monte Carlo, and statistics of a layer's load.

Enters: which experts the tokens of a batch visit.  Leaves: counts and scores.  A *part* is what the parts of a machine hold: M groups
on M devices, or single experts.  Which experts: `router.py`.  The same counts over real ranks: `parallel.py`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from begat import InputError
from begat_lab.moge.router import Grouping, Routing

# Shape suffixes as in router.py, and S: parts, X: batches of a Monte Carlo.


def rows_per_part(expert_ids_TK: Tensor, experts: int, parts: int) -> Tensor:
    """How many (token, expert) rows fall on each of `parts` equal blocks of neighbouring experts."""
    if experts % parts:
        raise InputError("experts do not fall into equal parts", expected=f"a divisor of {experts}", found=parts)
    return torch.bincount(expert_ids_TK.flatten() // (experts // parts), minlength=parts)  # count_S


def imbalance_score(expert_ids_TK: Tensor, experts: int, parts: int) -> float:
    """IS(X) = (max_i T_i - min_i T_i) / |X| (arXiv:2505.21411, equation 2): T_i rows on part i, |X| tokens."""
    rows_S = rows_per_part(expert_ids_TK, experts, parts)
    return float(rows_S.max() - rows_S.min()) / len(expert_ids_TK)


def imbalance_scores(
    grouping: Grouping,
    tokens: int,
    batches: int,
    generator: torch.Generator,
    *,
    parts: int | None = None,
    replace: bool = False,
) -> Tensor:
    """Monte Carlo of the score under uniform routing: one score_X for each of `batches` batches of `tokens` tokens.

    A token draws P distinct experts uniformly inside every group; with one group that is top-K with a random router. `replace` draws
    with replacement instead, as a rough model of top-K. `parts` defaults to the number of groups.
    """
    N, parts = grouping.experts, parts or grouping.groups
    scores = []
    left = batches
    while left:
        some = min(left, max(1, 2**22 // (tokens * N)))  # memory stays small
        ids = _draw(grouping, some * tokens, replace, generator).view(some, -1)
        if N % parts:
            raise InputError("experts do not fall into equal parts", expected=f"a divisor of {N}", found=parts)
        part = ids // (N // parts) + parts * torch.arange(some)[:, None]
        rows_XS = torch.bincount(part.flatten(), minlength=some * parts).view(some, parts)
        scores.append((rows_XS.amax(1) - rows_XS.amin(1)).double() / tokens)
        left -= some
    return torch.cat(scores)


def _draw(grouping: Grouping, tokens: int, replace: bool, generator: torch.Generator) -> Tensor:
    M, G, P = grouping.groups, grouping.group_size, grouping.picks
    if replace:
        pick = torch.randint(G, (tokens, M, P), generator=generator)
    else:  # the places of the P largest of G uniform numbers are P distinct numbers, drawn uniformly
        pick = torch.rand(tokens, M, G, generator=generator).topk(P, dim=-1).indices
    return (pick + G * torch.arange(M)[:, None]).view(tokens, -1)


@dataclass(frozen=True, slots=True)
class Load:
    """The load of one layer in one batch."""

    rows_per_expert: tuple[int, ...]
    tokens: int
    imbalance_of_groups: float  # 0 by construction
    imbalance_of_experts: float  # what is left inside the groups
    max_over_mean: float  # rows of the busiest expert over the mean
    idle_experts: int  # without any row
    entropy: float  # of the share of rows, over its largest value: 1 is even
    mean_picked_probability: float  # sum of a token's unrenormalised weights, averaged


def load_of(routing: Routing, real_T: Tensor | None = None) -> Load:
    """Load statistics of the tokens marked real (all of them if None)."""
    ids_TK, weights_TK = routing.expert_ids_TK, routing.weights_TK.detach()
    if real_T is not None:
        ids_TK, weights_TK = ids_TK[real_T.flatten().bool()], weights_TK[real_T.flatten().bool()]
    grouping = routing.grouping
    rows_N = rows_per_part(ids_TK, grouping.experts, grouping.experts).double()
    share_N = rows_N / rows_N.sum()
    entropy = float(-(share_N * share_N.clamp_min(1e-300).log()).sum())
    return Load(
        rows_per_expert=tuple(int(rows) for rows in rows_N),
        tokens=len(ids_TK),
        imbalance_of_groups=imbalance_score(ids_TK, grouping.experts, grouping.groups),
        imbalance_of_experts=imbalance_score(ids_TK, grouping.experts, grouping.experts),
        max_over_mean=float(rows_N.max() / rows_N.mean()),
        idle_experts=int((rows_N == 0).sum()),
        entropy=entropy / math.log(grouping.experts) if grouping.experts > 1 else 1.0,
        mean_picked_probability=float(weights_TK.sum(1).mean()),
    )
