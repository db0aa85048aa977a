"""Two auxiliary losses that share a name in the literature and nothing else: the paper's and the released file's.

Enters: the `Routing` of one layer (paper) or of all layers (released), and which tokens are real.  Leaves: a scalar to be multiplied
by a coefficient (the paper's alpha, the config's `router_aux_loss_coef`) and added to the loss.  The counts in both are constants:
gradients flow through the mean probabilities only.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from begat_lab.moge.router import Routing

# Shape suffixes as in router.py. real_T: True where the token is no padding.


def paper_balance_loss(routing: Routing, real_T: Tensor | None = None, *, visits_N: Tensor | None = None) -> Tensor:
    """The paper's loss of one layer (arXiv:2505.21411, section 2.2) with alpha = 1: sum over experts of f_i * p_i.

    f_i = N / (K |B|) * (tokens that visit expert i, by the grouped choice); p_i = mean over the tokens of the softmax over all N.
    It is 1 when load and probabilities are uniform. Between groups there is nothing to balance; it works inside each group.
    `visits_N` counts the visits in a batch that is spread over ranks; the mean over ranks is then the loss of the whole batch.
    """
    probs_TN, N = _real(routing.probs_TN, real_T), routing.grouping.experts
    if visits_N is None:
        visits_N = torch.bincount(_real(routing.expert_ids_TK, real_T).flatten(), minlength=N)
    visits_N = visits_N.to(probs_TN.dtype)
    return (visits_N * (N / visits_N.sum()) * probs_TN.mean(0)).sum()  # K |B| visits in all


def released_balance_loss(routings: Sequence[Routing], real_T: Tensor | None = None) -> Tensor:
    """The loss that the released modelling file computes, which is Mixtral's (arXiv:2101.03961, equations 4 to 6, as there generalised).

    It counts the *global* top K of the softmax, not the grouped choice that routes, and pools the tokens of all layers:
    N * sum over experts of (share of tokens with i among their top K) * (mean probability of i). Uniform value: K.
    """
    grouping = routings[0].grouping
    probs_TN = torch.cat([_real(routing.probs_TN, real_T) for routing in routings])
    top_TK = probs_TN.topk(grouping.picks_per_token, dim=-1).indices
    share_N = F.one_hot(top_TK, grouping.experts).sum((0, 1)).to(probs_TN.dtype) / len(probs_TN)
    return grouping.experts * (share_N * probs_TN.mean(0)).sum()


def _real(x: Tensor, real_T: Tensor | None) -> Tensor:
    return x if real_T is None else x[real_T.flatten().bool()]
