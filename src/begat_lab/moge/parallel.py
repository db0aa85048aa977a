"""Expert parallelism: the experts of a mixture spread over ranks, tokens travelling to them and back (torch.distributed).

Enters: a whole `MoGE`, the same on every rank, and a process group.  Leaves: an `ExpertParallel` that keeps only this rank's experts and
computes what the whole would, forward and backward.  One process: `layer.py`.  Who starts ranks and trains: `begat_lab.train`.

Every token picks P experts in every group. So when each rank holds whole groups, it gets exactly T*K/R rows from every rank's T tokens,
whatever the router does: sizes are known beforehand and no counts are exchanged. Ordinary top-K has no such sizes; `dispatch="ragged"`
runs it, and any other grouping, as the control.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from begat import InputError
from begat_lab.device import open_device
from begat_lab.moge.experts import run_experts
from begat_lab.moge.layer import MoGE
from begat_lab.moge.router import Routing, route

# Shape suffixes as in router.py, and R: ranks, A = R*T: all ranks' tokens, Q = K/R: a token's picks on one rank.

DISPATCHES = ("all-gather", "all-to-all", "ragged")
# torch 2.13 renamed these two.
_gather_into = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor
_reduce_into = getattr(dist, "reduce_scatter_single", None) or dist.reduce_scatter_tensor
BACKENDS = {"cpu": "gloo", "cuda": "nccl", "npu": "hccl"}


class ExpertParallel(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """One rank's part of a mixture. Gate, router scale and shared expert stay whole on every rank; their gradients need `sum_gradients`.

    Args:
        whole: the mixture; its modules are taken over, its other ranks' experts are dropped. Names of weights stay.
        group: the ranks that share the experts; all if None.
        dispatch: "all-gather" (all tokens to all ranks, results summed by reduce-scatter), "all-to-all" (rows to the ranks of their
            experts, all splits equal and static), "ragged" (as all-to-all, with splits as the router made them).

    Every rank must bring equally many tokens to a call; pad, and mask the loss, where they differ. `rows` is how many rows this rank's
    experts had in the last call.
    """

    def __init__(self, whole: MoGE, group: dist.ProcessGroup | None = None, dispatch: str = "all-gather") -> None:
        super().__init__()
        self.group, self.dispatch, self.grouping, self.mode = group, dispatch, whole.grouping, whole.mode
        self.rank, self.ranks = dist.get_rank(group), dist.get_world_size(group)
        if dispatch not in DISPATCHES:
            raise InputError("dispatch", expected=" or ".join(DISPATCHES), found=dispatch)
        parts = whole.grouping.experts if dispatch == "ragged" else whole.grouping.groups
        if parts % self.ranks:
            raise InputError(
                "ranks cannot share the experts evenly", expected=f"a divisor of {parts}", found=f"{self.ranks} ranks"
            )
        self.gate, self.router_scale, self.shared_expert = whole.gate, whole.router_scale, whole.shared_expert
        self.held = whole.grouping.experts // self.ranks
        self.first = self.rank * self.held
        self.experts = nn.ModuleDict({str(e): whole.experts[e] for e in range(self.first, self.first + self.held)})
        self.rows = 0

    pick_weights = MoGE.pick_weights

    def forward(self, x: Tensor) -> tuple[Tensor, Routing]:
        x_TD = x.reshape(-1, x.shape[-1])
        routing = route(self.gate(x_TD), self.grouping)
        weights_TK = self.pick_weights(routing, x_TD.dtype)
        send = {"all-gather": self._all_gather, "all-to-all": self._all_to_all, "ragged": self._ragged}[self.dispatch]
        y_TD = send(x_TD, routing.expert_ids_TK, weights_TK)
        if self.shared_expert is not None:
            y_TD = y_TD + self.shared_expert(x_TD)
        return y_TD.view_as(x), routing

    def _run(self, x: Tensor, ids_R: Tensor, token_R: Tensor) -> Tensor:
        """Run the experts that are here; `ids_R` counts all N experts."""
        self.rows = len(ids_R)
        return run_experts(list(self.experts.values()), x, ids_R - self.first, token_R, self.mode)

    def _all_gather(self, x_TD: Tensor, ids_TK: Tensor, weights_TK: Tensor) -> Tensor:
        x_AD, ids_AK, weights_AK = (AllGather.apply(part, self.group) for part in (x_TD, ids_TK, weights_TK))
        Q = ids_TK.shape[1] // self.ranks
        mine = slice(self.rank * Q, (self.rank + 1) * Q)  # picks stand in group order, so this rank's are neighbours
        token_R = torch.arange(len(x_AD), device=x_TD.device).repeat_interleave(Q)
        y_RD = self._run(x_AD, ids_AK[:, mine].flatten(), token_R)
        y_AD = (y_RD.view(len(x_AD), Q, x_AD.shape[1]) * weights_AK[:, mine, None]).sum(1)
        return ReduceScatter.apply(y_AD, self.group)

    def _all_to_all(self, x_TD: Tensor, ids_TK: Tensor, weights_TK: Tensor) -> Tensor:
        (T, K), R, D = ids_TK.shape, self.ranks, x_TD.shape[1]
        Q = K // R
        ids_RTQ = ids_TK.view(T, R, Q).transpose(0, 1).contiguous()
        x_RTQD = x_TD[None, :, None].expand(R, T, Q, D).contiguous()
        there = AllToAll.apply(x_RTQD.view(R * T * Q, D), None, None, self.group)
        ids = AllToAll.apply(ids_RTQ.view(-1), None, None, self.group)
        y_there = self._run(there, ids, torch.arange(len(ids), device=ids.device))
        y_RTQD = AllToAll.apply(y_there, None, None, self.group).view(R, T, Q, D)
        return (y_RTQD.transpose(0, 1).reshape(T, K, D) * weights_TK[:, :, None]).sum(1)

    def _ragged(self, x_TD: Tensor, ids_TK: Tensor, weights_TK: Tensor) -> Tensor:
        (T, K), D = ids_TK.shape, x_TD.shape[1]
        ids_R = ids_TK.flatten()
        order_R = ids_R.argsort(stable=True)  # by expert is by rank
        out_R = torch.bincount(ids_R // self.held, minlength=self.ranks)
        into_R = AllToAll.apply(out_R, None, None, self.group)  # the exchange that grouping makes needless
        out, into = out_R.tolist(), into_R.tolist()
        there = AllToAll.apply(x_TD[order_R // K], into, out, self.group)
        ids = AllToAll.apply(ids_R[order_R], into, out, self.group)
        y_there = self._run(there, ids, torch.arange(len(ids), device=ids.device))
        y_RD = AllToAll.apply(y_there, out, into, self.group)
        y_TKD = torch.empty_like(y_RD).index_copy(0, order_R, y_RD).view(T, K, D)
        return (y_TKD * weights_TK[:, :, None]).sum(1)


class AllGather(torch.autograd.Function):  # type: ignore[misc]
    """Every rank's rows, in rank order. Backward: each rank gets the sum of what all ranks say about its rows."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: dist.ProcessGroup | None) -> Tensor:
        ctx.group = group
        return _gathered(x, group)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return _scattered(grad, ctx.group), None


class ReduceScatter(torch.autograd.Function):  # type: ignore[misc]
    """The sum over ranks, each keeping its own rows. Backward: all-gather."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: dist.ProcessGroup | None) -> Tensor:
        ctx.group = group
        return _scattered(x, group)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return _gathered(grad, ctx.group), None


class AllToAll(torch.autograd.Function):  # type: ignore[misc]
    """Rows to their ranks; `into` and `out` are rows from and to each rank, equal shares if None. Backward: the way back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, into: list[int] | None, out: list[int] | None, group: dist.ProcessGroup | None) -> Tensor:
        ctx.into, ctx.out, ctx.group = into, out, group
        return _exchanged(x, into, out, group)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        return _exchanged(grad, ctx.out, ctx.into, ctx.group), None, None, None


def _gathered(x: Tensor, group: dist.ProcessGroup | None) -> Tensor:
    whole = x.new_empty((dist.get_world_size(group) * x.shape[0], *x.shape[1:]))
    _gather_into(whole, x.contiguous(), group=group)
    return whole


def _scattered(x: Tensor, group: dist.ProcessGroup | None) -> Tensor:
    own = x.new_empty((x.shape[0] // dist.get_world_size(group), *x.shape[1:]))
    _reduce_into(own, x.contiguous(), group=group)
    return own


def _exchanged(x: Tensor, into: list[int] | None, out: list[int] | None, group: dist.ProcessGroup | None) -> Tensor:
    got = x.new_empty((x.shape[0] if into is None else sum(into), *x.shape[1:]))
    dist.all_to_all_single(got, x.contiguous(), into, out, group=group)
    return got


def shared_parameters(model: nn.Module) -> list[nn.Parameter]:
    """The parameters that every rank has whole: all but the experts'. In the same order on every rank."""
    experts = {id(w) for m in model.modules() if isinstance(m, ExpertParallel) for w in m.experts.parameters()}
    return [weight for weight in model.parameters() if id(weight) not in experts]


@torch.no_grad()  # type: ignore[untyped-decorator]
def sum_gradients(model: nn.Module, group: dist.ProcessGroup | None = None) -> None:
    """Add up over ranks the gradients of what every rank has whole. An expert's gradient is a sum over all ranks' tokens already."""
    grads = [weight.grad for weight in shared_parameters(model) if weight.grad is not None]
    if grads:
        flat = torch.cat([grad.flatten() for grad in grads])  # one message instead of one a tensor
        dist.all_reduce(flat, group=group)
        for grad, summed in zip(grads, flat.split([grad.numel() for grad in grads]), strict=True):
            grad.copy_(summed.view_as(grad))


def parallelise(model: nn.Module, group: dist.ProcessGroup | None = None, dispatch: str = "all-gather") -> nn.Module:
    """Replace every `MoGE` inside `model` by this rank's part of it."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, MoGE):
                setattr(parent, name, ExpertParallel(child, group, dispatch))
    return model


def whole_state(model: nn.Module, group: dist.ProcessGroup | None = None) -> dict[str, Tensor] | None:
    """The weights of the whole model under their names, on the group's first rank; None on the others."""
    own = {name: weight.detach().cpu() for name, weight in model.state_dict().items()}
    first = dist.get_rank(group) == 0
    parts: list[Any] | None = [None] * dist.get_world_size(group) if first else None
    dist.gather_object(own, parts, group=group, group_dst=0)
    return {name: weight for part in parts for name, weight in part.items()} if parts else None


def start_ranks(device: str = "cpu") -> None:
    """Join the ranks that torchrun (or the like) started, with the backend that belongs to the device."""
    if device not in BACKENDS:
        raise InputError("device", expected=" or ".join(BACKENDS), found=device)
    open_device(device)  # an npu's package registers hccl
    if not dist.is_initialized():
        dist.init_process_group(BACKENDS[device])
