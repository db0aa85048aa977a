"""Vocabulary: rows of the embedding (and of an untied head) added, cut off, or drawn anew and trained in; the layers stay.

Lab models read bytes (`tokenizer.py`), so what is cut off are the bytes from `rows` on, and text is read without them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from begat import InputError
from begat_lab.descent.base import Child, Job, kind
from begat_lab.models.dense import DenseLM, empty_model
from begat_lab.text import within
from begat_lab.training import train

_TABLES = ("model.embed_tokens.weight", "lm_head.weight")


@dataclass(frozen=True, slots=True)
class Rows:
    """The new size."""

    rows: int


@dataclass(frozen=True, slots=True)
class Fresh:
    """What learns after the embedding was drawn anew."""

    frozen: bool = False  # True: embedding and head only


@kind("vocabulary-extended", "rows added to the vocabulary", seeds=("chance_seed",), options=Rows)
def extended(job: Job) -> Child:
    """New rows: the mean of the old ones plus noise of their spread, as is usual before training on."""
    parent, chance, rows = job.parent(), job.generator("chance_seed"), job.options.rows
    _check(rows > parent.config.vocab_size, f"more than {parent.config.vocab_size}", rows)

    def grown(table_VD: Tensor) -> Tensor:
        noise = torch.randn(rows - len(table_VD), table_VD.shape[1], generator=chance) * table_VD.std(0)
        return torch.cat((table_VD, table_VD.mean(0) + 0.1 * noise))

    return job.store(_with_tables(parent, rows, grown))


@kind("vocabulary-pruned", "rows cut from the vocabulary", options=Rows)
def pruned(job: Job) -> Child:
    """The first rows stay."""
    parent, rows = job.parent(), job.options.rows
    _check(0 < rows < parent.config.vocab_size, f"1 to {parent.config.vocab_size - 1}", rows)
    return job.store(_with_tables(parent, rows, lambda table_VD: table_VD[:rows]))


@kind(
    "vocabulary-replaced",
    "embedding drawn anew, then trained in",
    seeds=("window_seed", "chance_seed"),
    trains=True,
    options=Fresh,
)
def replaced(job: Job) -> Child:
    """Fresh rows of the parent's initial spread; then all weights, or only these, are trained."""
    tokens_N, recipe = job.text()
    parent, chance = job.parent(), job.generator("chance_seed")
    spread = parent.config.initializer_range
    child = _with_tables(
        parent, parent.config.vocab_size, lambda table_VD: torch.randn(table_VD.shape, generator=chance) * spread
    )
    if job.options.frozen:
        for name, weight in child.named_parameters():
            weight.requires_grad_(name in _TABLES)
    train(child, within(tokens_N, child.config.vocab_size), recipe, job.generator("window_seed"), job.say, tick=job.tick)
    return job.store(child)


def _with_tables(parent: DenseLM, rows: int, change: Callable[[Tensor], Tensor]) -> DenseLM:
    child = empty_model(replace(parent.config, vocab_size=rows))
    weights = {name: change(weight) if name in _TABLES else weight for name, weight in parent.state_dict().items()}
    with torch.no_grad():
        child.load_state_dict(weights)
    return child


def _check(right: bool, expected: str, found: int) -> None:
    if not right:
        raise InputError("rows of the new vocabulary", expected=expected, found=found)
