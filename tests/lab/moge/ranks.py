"""One rank of the expert-parallel tests: `python ranks.py FOLDER RANK RANKS`. Joins over a file in FOLDER, leaves FOLDER/rank-R.pt.

What is compared with what: `test_parallel.py`, which starts these.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import torch.distributed as dist

from begat_lab.moge import Grouping, MoGE
from begat_lab.moge.parallel import ExpertParallel, sum_gradients

N, M, P, D, F, T = 16, 8, 2, 12, 6, 5  # T tokens a rank
TOP = Grouping(N, 1, 4)  # ordinary top-K, the control
CASES = [("all-gather", Grouping(N, M, P)), ("all-to-all", Grouping(N, M, P)), ("ragged", Grouping(N, M, P)), ("ragged", TOP)]
CASES = [(dispatch, grouping, bad) for dispatch, grouping in CASES for bad in (False, True)]


def mixture(grouping: Grouping, bad: bool) -> MoGE:
    """The same on every rank. `bad`: the router sends everything to the lowest experts it may choose."""
    torch.manual_seed(7)
    whole = MoGE(D, F, Grouping(N, grouping.groups, grouping.picks), shared_units=5).double()
    with torch.no_grad():
        whole.router_scale.uniform_(0.5, 2.5)
        whole.gate.weight.normal_()
        if bad:  # logits fall with the expert's number for every token, whose first entry is positive
            whole.gate.weight.mul_(1e-3)
            whole.gate.weight[:, 0] -= torch.arange(N)
    return whole


def tokens(ranks: int) -> torch.Tensor:
    x_AD = torch.randn(ranks * T, D, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    x_AD[:, 0] = 0.5 + x_AD[:, 0].abs()
    return x_AD


def loss_of(y: torch.Tensor, routing, x: torch.Tensor) -> torch.Tensor:
    """Some function of output and router, a sum over tokens, so that ranks' losses add up to the whole's."""
    return (y * (x * 3).sin()).sum() + routing.weights_TK.square().sum()


def main(folder: Path, rank: int, ranks: int) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/join", rank=rank, world_size=ranks)
    results = []
    for dispatch, grouping, bad in CASES:
        part = ExpertParallel(mixture(grouping, bad), dispatch=dispatch)
        x = tokens(ranks)[rank * T : (rank + 1) * T].clone().requires_grad_()
        y, routing = part(x)
        loss_of(y, routing, x.detach()).backward()
        sum_gradients(part)
        grads = {name: weight.grad for name, weight in part.named_parameters()}
        results.append({"y": y.detach(), "x_grad": x.grad, "grads": grads, "rows": part.rows})
    torch.save(results, folder / f"rank-{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
