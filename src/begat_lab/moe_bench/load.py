"""Rows per rank: how evenly the rows of a batch fall on R ranks, by the router alone.

Enters: a `Plan`.  Leaves: one row for each router, batch size and number of ranks.  The imbalance score: `begat_lab.moge.balance`.  On real
ranks: `parallel.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import mean

import torch

from begat_lab.moe_bench.plan import Plan
from begat_lab.moe_bench.routers import ROUTERS, logits
from begat_lab.moge import Grouping, imbalance_score, route, rows_per_part


@dataclass(frozen=True, slots=True)
class LoadRow:
    """Means over batches, for both contenders. max/mean: rows of the busiest rank over the mean."""

    router: str
    tokens: int
    ranks: int
    moge_max_over_mean: float
    top_k_max_over_mean: float
    top_k_worst_batch: float  # the largest max/mean
    moge_imbalance: float
    top_k_imbalance: float


def measure_load(plan: Plan, batch_sizes: tuple[int, ...] = (16, 128, 1024)) -> tuple[LoadRow, ...]:
    """Route the same logits both ways."""
    chance, rows = torch.Generator().manual_seed(1), []
    for router in ROUTERS:
        for tokens in batch_sizes:
            batches = [logits(router, tokens, plan.layer.experts, chance) for _ in range(plan.load_batches)]
            chosen = {
                name: [route(z, grouping).expert_ids_TK for z in batches] for name, grouping in plan.layer.contenders.items()
            }
            for ranks in plan.ranks:
                of = {name: [_spread(ids, plan.layer.experts, ranks) for ids in all_ids] for name, all_ids in chosen.items()}
                (moge, moge_scores), (top, top_scores) = (tuple(zip(*pairs, strict=True)) for pairs in of.values())
                rows.append(LoadRow(router, tokens, ranks, mean(moge), mean(top), max(top), mean(moge_scores), mean(top_scores)))
    return tuple(rows)


def _spread(ids_TK: torch.Tensor, experts: int, ranks: int) -> tuple[float, float]:
    """Rows of the busiest rank over the mean, and the imbalance score."""
    rows_S = rows_per_part(ids_TK, experts, ranks).double()
    return float(rows_S.max() / rows_S.mean()), imbalance_score(ids_TK, experts, ranks)


def busiest_rank(ids_TK: torch.Tensor, grouping: Grouping, ranks: int) -> int:
    """Which of R ranks has most rows."""
    return int(rows_per_part(ids_TK, grouping.experts, ranks).argmax())
