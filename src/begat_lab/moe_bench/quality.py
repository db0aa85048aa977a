"""What grouping costs in quality: validation loss of MoGE and top-K trained alike. An ablation of our own; the paper publishes none.

Enters: a `Plan`.  Leaves: one row a seed.  Both start from the very same weights, see the same windows in the same order and take the same
number of steps, picks and operations; only the choice of experts differs. The differences are paired by seed.
"""

from __future__ import annotations

import math
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from statistics import mean, stdev

import torch

from begat_lab.models.moge import MogeLM, balanced_loss
from begat_lab.models.pangu import initialise
from begat_lab.moe_bench.clock import cores
from begat_lab.moe_bench.plan import Plan, top_k
from begat_lab.moge import imbalance_score, rows_per_part
from begat_lab.text import standard_library
from begat_lab.training import Say, silent, train, validation_loss


@dataclass(frozen=True, slots=True)
class QualityRow:
    """Nats per byte on held-out files, and how the trained routers spread those files' first windows over one rank a group."""

    seed: int
    moge_loss: float
    top_k_loss: float
    difference: float  # MoGE minus top-K
    moge_max_over_mean: float  # mean over layers
    top_k_max_over_mean: float
    moge_imbalance: float
    top_k_imbalance: float


@dataclass(frozen=True, slots=True)
class Quality:
    """All seeds, and the paired difference with its standard error (of the mean over seeds)."""

    text: str
    text_sha256: str
    rows: tuple[QualityRow, ...]
    difference: float
    standard_error: float


def measure_quality(plan: Plan, say: Say = silent) -> Quality:
    """Train both for every seed, as many at a time as there are cores, each on one thread: their number changes no bit.

    On a CPU in float32, whatever the plan's device is: the models are small.
    """
    todo = [(plan, seed, name) for seed in range(1, plan.seeds + 1) for name in plan.layer.contenders]
    workers = min(cores(), len(todo))
    done: dict[tuple[int, str], Trained] = {}
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for (_, seed, name), trained in zip(todo, pool.map(_trained, todo), strict=True):
            done[seed, name] = trained
            say(f"quality: seed {seed} of {plan.seeds}, {name}: {trained.loss:.4f} nats per byte")
    rows = []
    for seed in range(1, plan.seeds + 1):
        moge, top = done[seed, "MoGE"], done[seed, "top-K"]
        rows.append(QualityRow(seed, moge.loss, top.loss, moge.loss - top.loss, moge.max_over_mean, top.max_over_mean,
                               moge.imbalance, top.imbalance))  # fmt: skip
    differences, corpus = [row.difference for row in rows], standard_library()["library"]
    error = stdev(differences) / len(differences) ** 0.5 if len(differences) > 1 else math.nan
    return Quality(corpus.name, corpus.digest, tuple(rows), mean(differences), error)


@dataclass(frozen=True, slots=True)
class Trained:
    """What is kept of one training."""

    loss: float
    max_over_mean: float
    imbalance: float


def _trained(task: tuple[Plan, int, str]) -> Trained:
    """One training, in a process of its own."""
    plan, seed, name = task
    torch.set_num_threads(1)
    corpus = standard_library()["library"]
    config = plan.quality if name == "MoGE" else top_k(plan.quality)
    model = initialise(MogeLM(config), torch.Generator().manual_seed(seed))
    loss_of = balanced_loss(torch.Generator())
    train(model, corpus.train, plan.recipe, torch.Generator().manual_seed(1000 + seed), loss_of=loss_of)
    return Trained(validation_loss(model, corpus.validation, plan.recipe.context, 256), *_spread(model, corpus.validation, plan))


def _spread(model: MogeLM, tokens_N: torch.Tensor, plan: Plan) -> tuple[float, float]:
    """Over real routings of one batch: max/mean of rows per rank and the imbalance score, means over layers."""
    length, ranks = plan.recipe.context, plan.quality.num_groups
    ids = tokens_N[: 16 * length].view(-1, length)
    with torch.no_grad():
        out = super(MogeLM, model).forward(ids)
    spreads, scores = [], []
    for routing in out.routings or ():
        rows_S = rows_per_part(routing.expert_ids_TK, plan.quality.num_experts, ranks).double()
        spreads.append(float(rows_S.max() / rows_S.mean()))
        scores.append(imbalance_score(routing.expert_ids_TK, plan.quality.num_experts, ranks))
    return mean(spreads), mean(scores)
