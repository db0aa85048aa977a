"""The training loop over ranks: data parallel, with the experts of a mixture spread by `begat_lab.moge.parallel`.

Enters: a `Run`.  Leaves: its folder (see `__init__.py`).  Every rank draws the whole batch from one generator and takes its share, and all
sums are over all ranks, so the number of ranks changes nothing but rounding.  One process and a pedigree's models: `begat_lab.training`.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh

from begat import InputError
from begat_lab.device import open_device
from begat_lab.models.pangu import initialise
from begat_lab.moge import Routing, paper_balance_loss, released_balance_loss
from begat_lab.moge.parallel import BACKENDS, ExpertParallel, parallelise, shared_parameters, start_ranks, whole_state
from begat_lab.text import standard_library, within
from begat_lab.tokenizer import write_tokenizer
from begat_lab.train.checkpoint import load_newest, save, start_moments, state_of
from begat_lab.train.config import DTYPES, MODELS, Run
from begat_lab.train.log import Line, Log
from begat_lab.training import Say, draw_windows, silent

# Shape suffixes as in models/pangu.py; N experts, W ranks.


def train_run(run: Run, say: Say = silent, *, stop_after: int | None = None) -> None:
    """Train, going on from the newest checkpoint. `stop_after` leaves at that step as a kill would: nothing is written."""
    mine = not dist.is_initialized()
    _join(run.head.device)
    try:
        Trainer(run, say).go(stop_after)
    finally:
        if mine:
            dist.destroy_process_group()


def _join(device: str) -> None:
    open_device(device)
    if device != "cpu":
        getattr(torch, device).set_device(_device(device))
    if "WORLD_SIZE" in os.environ or dist.is_initialized():
        start_ranks(device)
    else:  # alone, without torchrun
        dist.init_process_group(BACKENDS[device], store=dist.HashStore(), rank=0, world_size=1)


class Trainer:
    """One rank of a run."""

    def __init__(self, run: Run, say: Say) -> None:
        self.run, self.rank, self.ranks = run, dist.get_rank(), dist.get_world_size()
        self.out, self.say = Path(run.head.out), say if self.rank == 0 else silent
        self.device = _device(run.head.device)
        if run.recipe.batch % self.ranks:
            raise InputError(
                "[training] batch does not divide among the ranks", expected=f"a multiple of {self.ranks}", found=run.recipe.batch
            )
        experts = run.parallel.expert_ranks or self.ranks
        if self.ranks % experts:
            raise InputError("[parallel] expert_ranks", expected=f"a divisor of {self.ranks}", found=experts)
        mesh = init_device_mesh(run.head.device, (self.ranks // experts, experts), mesh_dim_names=("replica", "expert"))
        self.expert_group, self.replica_group = mesh["expert"].get_group(), mesh["replica"].get_group()
        whole = _whole_model(run)
        self.config, vocab = whole.config, whole.config.vocab_size
        self.tokens_N = within(standard_library()[run.head.text].train, vocab)
        self.model: Any = parallelise(whole.to(self.device), self.expert_group, run.parallel.dispatch).train()
        self.model.checkpointing = run.head.checkpointing
        self.mixtures = [m for m in self.model.modules() if isinstance(m, ExpertParallel)]
        self.shared = shared_parameters(self.model)
        own = {id(weight) for weight in self.shared}
        self.own_experts = [weight for weight in self.model.parameters() if id(weight) not in own]
        self.optimizer = torch.optim.AdamW(_decayed(self.model, run.recipe.weight_decay), betas=run.recipe.betas, fused=True)
        start_moments(self.optimizer)
        self.generator = torch.Generator().manual_seed(run.head.window_seed)

    def go(self, stop_after: int | None) -> None:
        """All steps that are left, and the files at the end."""
        recipe, every = self.run.recipe, self.run.checkpoint.every
        done = self._resume()
        log = Log(self.out, done) if self.rank == 0 else None
        for step in range(done + 1, recipe.steps + 1):
            line = self.step(step)
            if log:
                log.add(line)
            if step % 10 == 0 or step == recipe.steps:
                self.say(f"step {step}/{recipe.steps}  loss {line.loss:.4f}  {line.tokens_per_second:.0f} tokens/s")
            if step == stop_after:
                return
            if (every and step % every == 0) or step == recipe.steps:
                save(
                    self.out / "checkpoints", state_of(self.model, self.optimizer, self.generator, step), self.run.checkpoint.keep
                )
                if log:
                    log.draw()
        self._write_model()

    def step(self, step: int) -> Line:
        """One step; the numbers are of all ranks together."""
        began, recipe = time.perf_counter(), self.run.recipe
        for group in self.optimizer.param_groups:
            group["lr"] = recipe.rate_at(step - 1)
        window_BT = draw_windows(self.tokens_N, recipe, self.generator).chunk(self.ranks)[self.rank].to(self.device)
        out = self.model(window_BT[:, :-1])
        loss = F.cross_entropy(out.logits.flatten(0, 1), window_BT[:, 1:].flatten())
        visits = [self._visits(routing) for routing in out.routings or ()]
        balance = self._balance_loss(out.routings, visits)
        self.optimizer.zero_grad(set_to_none=False)
        ((loss + self.run.balance.coefficient * balance) / self.ranks).backward()  # summed over ranks this is the mean
        _sum_over(self.shared, None)
        _sum_over(self.own_experts, self.replica_group)
        norm = self._clip(recipe.clip)
        self.optimizer.step()
        means = torch.stack([loss.detach(), balance.detach()]).double()
        dist.all_reduce(means)
        seconds = time.perf_counter() - began
        speed = recipe.batch * recipe.context / seconds
        load = self._load(visits, float(means[1]) / self.ranks)
        return Line(step, float(means[0]) / self.ranks, recipe.rate_at(step - 1), norm, speed, **load)

    def _visits(self, routing: Routing) -> Tensor:
        """Rows of each expert over all ranks."""
        visits_N = torch.bincount(routing.expert_ids_TK.flatten(), minlength=routing.grouping.experts)
        dist.all_reduce(visits_N)
        return visits_N

    def _balance_loss(self, routings: tuple[Routing, ...] | None, visits: list[Tensor]) -> Tensor:
        kind = self.run.balance.loss
        if not routings or kind == "none":
            return torch.zeros((), device=self.device)
        if kind == "released":
            return released_balance_loss(routings)
        losses = [paper_balance_loss(routing, visits_N=visits_N) for routing, visits_N in zip(routings, visits, strict=True)]
        return torch.stack(losses).mean()

    def _clip(self, most: float) -> float:
        """Scale all gradients so that the whole model's norm is at most `most`; the norm before."""
        squares = torch.zeros((), dtype=torch.float64, device=self.device)
        for weight in self.own_experts:
            squares += weight.grad.double().square().sum()
        dist.all_reduce(squares, group=self.expert_group)
        for weight in self.shared:
            squares += weight.grad.double().square().sum()
        norm = float(squares.sqrt())
        for weight in (*self.shared, *self.own_experts):
            weight.grad.mul_(min(1.0, most / (norm + 1e-6)))
        return norm

    def _load(self, visits: list[Tensor], balance: float) -> dict[str, float]:
        if not visits:
            return {}
        tokens = self.run.recipe.batch * self.run.recipe.context
        groups, ranks = self.mixtures[0].grouping.groups, dist.get_world_size(self.expert_group)
        in_groups = [rows_N.view(groups, -1).sum(1) for rows_N in visits]
        on_ranks = [rows_N.view(ranks, -1).sum(1).double() for rows_N in visits]
        return {
            "balance_loss": balance,
            "imbalance_of_groups": _mean_spread(in_groups) / tokens,
            "imbalance_of_experts": _mean_spread(visits) / tokens,
            "max_over_mean_rows": max(float(rows.max() / rows.mean()) for rows in on_ranks),
        }

    def _resume(self) -> int:
        note = self.out / "run.toml"
        if self.rank == 0:
            self.out.mkdir(parents=True, exist_ok=True)
            if not note.exists():
                note.write_text(self.run.source, encoding="utf-8")
        dist.barrier()
        if note.read_text(encoding="utf-8") != self.run.source:
            raise InputError(
                "holds a run of another configuration", file=self.out, fix="give another out, or that run's own run.toml"
            )
        state = state_of(self.model, self.optimizer, self.generator, 0)
        done = load_newest(self.out / "checkpoints", state)
        if done is None:
            return 0
        self.generator.set_state(state["generator"])
        self.say(f"going on from step {done}")
        return done

    def _write_model(self) -> None:
        state = whole_state(self.model, self.expert_group)
        if self.rank == 0 and state is not None:
            model = MODELS[self.run.head.model](self.config)
            model.to(DTYPES[self.run.head.dtype]).load_state_dict(state)
            model.save_pretrained(self.out / "model")
            write_tokenizer(self.out / "model", self.config.vocab_size)
            self.say(f"model in {self.out / 'model'}")
        dist.barrier()


def _whole_model(run: Run) -> Any:
    kind, dtype = MODELS[run.head.model], DTYPES[run.head.dtype]
    if run.head.start:
        return kind.from_pretrained(run.head.start, dtype=dtype)
    return initialise(kind(run.shape), torch.Generator().manual_seed(run.head.initial_seed)).to(dtype)


def _device(kind: str) -> torch.device:
    return torch.device(kind) if kind == "cpu" else torch.device(kind, int(os.environ.get("LOCAL_RANK", "0")))


def _mean_spread(counts: list[Tensor]) -> float:
    """Largest minus smallest count, averaged over layers."""
    return sum(float(rows.max() - rows.min()) for rows in counts) / len(counts)


def _decayed(model: nn.Module, decay: float) -> list[dict[str, Any]]:
    """Weight decay on matrices; none on the embedding, gains, biases and router scales."""
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, weight in model.named_parameters():
        plain = weight.dim() < 2 or name.endswith(("embed_tokens.weight", "router_scale"))
        (others if plain else matrices).append(weight)
    return [{"params": matrices, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]


@torch.no_grad()  # type: ignore[untyped-decorator]
def _sum_over(weights: list[nn.Parameter], group: dist.ProcessGroup | None) -> None:
    if not weights or dist.get_world_size(group) == 1:
        return
    flat = torch.cat([weight.grad.flatten() for weight in weights])  # one message instead of one a tensor
    dist.all_reduce(flat, group=group)
    for weight, summed in zip(weights, flat.split([weight.numel() for weight in weights]), strict=True):
        weight.grad.copy_(summed.view_as(weight))
