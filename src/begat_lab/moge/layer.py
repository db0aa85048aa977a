"""One mixture layer: router, routed experts, shared expert. Usable in any model: x_…D in, y_…D out.

Enters: hidden states of any leading shape.  Leaves: the layer's output and its `Routing`, from which losses (`losses.py`) and load
(`balance.py`) are read.  Spread over ranks: `parallel.py`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from begat_lab.moge.experts import Expert, run_experts
from begat_lab.moge.router import Grouping, Routing, route

# Shape suffixes as in router.py.


class MoGE(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Mixture of Grouped Experts.

        y = sum over the picks e of  p_e * router_scale_e * expert_e(x)  +  shared_expert(x)

    `router_scale` is learned and absent from the paper's equations; the released file has it. The shared expert has no gate. Weights
    carry the released names: `gate.weight`, `router_scale`, `experts.E.gate_proj.weight`, `shared_expert.up_proj.weight`, …

    Args:
        hidden_size: D.
        units: F, of one routed expert.
        grouping: N experts in M groups, P picks in each. One group is ordinary top-K routing.
        shared_units: of the shared expert; 0 leaves it out.
        router_scale: whether there is one; without it every scale is 1.
        experts: "loop", "grouped", or "auto" (grouped where the device has it).
    """

    def __init__(
        self,
        hidden_size: int,
        units: int,
        grouping: Grouping,
        *,
        shared_units: int = 0,
        router_scale: bool = True,
        experts: str = "auto",
    ) -> None:
        super().__init__()
        self.grouping, self.mode = grouping, experts
        self.gate = nn.Linear(hidden_size, grouping.experts, bias=False)
        self.router_scale = nn.Parameter(torch.ones(1, grouping.experts)) if router_scale else None
        self.experts = nn.ModuleList(Expert(hidden_size, units) for _ in range(grouping.experts))
        self.shared_expert = Expert(hidden_size, shared_units) if shared_units else None

    def forward(self, x: Tensor) -> tuple[Tensor, Routing]:
        x_TD = x.reshape(-1, x.shape[-1])
        routing = route(self.gate(x_TD), self.grouping)
        y_TD = self.routed(x_TD, routing)
        if self.shared_expert is not None:
            y_TD = y_TD + self.shared_expert(x_TD)
        return y_TD.view_as(x), routing

    def routed(self, x_TD: Tensor, routing: Routing) -> Tensor:
        """The routed experts' weighted sum."""
        T, K = routing.expert_ids_TK.shape
        token_R = torch.arange(T, device=x_TD.device).repeat_interleave(K)
        y_RD = run_experts(self.experts, x_TD, routing.expert_ids_TK.flatten(), token_R, self.mode)
        return (y_RD.view(T, K, x_TD.shape[1]) * self.pick_weights(routing, x_TD.dtype)[:, :, None]).sum(1)

    def pick_weights(self, routing: Routing, dtype: torch.dtype) -> Tensor:
        """What each pick's output is multiplied by, in the model's dtype."""
        weights_TK = routing.weights_TK.to(dtype)
        return weights_TK if self.router_scale is None else weights_TK * self.router_scale[0, routing.expert_ids_TK]
