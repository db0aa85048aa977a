"""The configuration of one training run, read strictly from TOML.

Enters: a TOML file.  Leaves: a `Run`.  An unknown key, a missing size and a wrong type are errors.  Who runs it: `loop.py`.

    out = "runs/moge"              # where everything goes; the same command goes on where it stopped
    model = "pangu-pro-moe"        # or "pangu-dense"
    text = "library"               # a corpus of begat_lab.text
    initial_seed = 1               window_seed = 1
    device = "cpu"                 # "cuda", "npu": untested there
    dtype = "float32"              # of weights and arithmetic
    checkpointing = false          # recompute each layer in the backward pass instead of keeping its activations
    start = "folder"               # begin from this checkpoint instead of [shape] and initial_seed
    [shape]                        # fields of PanguProMoEConfig or PanguDenseConfig; every size must be named
    [training]                     # fields of begat_lab.training.Recipe; batch counts the windows of all ranks together
    [parallel]
    expert_ranks = 0               # how many ranks share one set of experts; 0: all
    dispatch = "all-gather"        # or "all-to-all", "ragged"
    [balance]
    loss = "paper"                 # "released", "none"
    coefficient = 0.01
    [checkpoint]
    every = 100                    # steps; 0: none but the last
    keep = 2                       # how many of the newest stay
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch

from begat import InputError
from begat_lab.models.pangu_dense import PanguDense
from begat_lab.models.pangu_pro_moe import PanguProMoE
from begat_lab.moge.parallel import BACKENDS, DISPATCHES
from begat_lab.tables import fill, refuse_unknown
from begat_lab.training import Recipe

MODELS: dict[str, Any] = {"pangu-pro-moe": PanguProMoE, "pangu-dense": PanguDense}
DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16}
LOSSES = ("paper", "released", "none")


@dataclass(frozen=True, kw_only=True, slots=True)
class Parallel:
    """How ranks share the work."""

    expert_ranks: int = 0
    dispatch: str = "all-gather"


@dataclass(frozen=True, kw_only=True, slots=True)
class Balance:
    """Which auxiliary loss, and how strong."""

    loss: str = "paper"
    coefficient: float = 0.01


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoints:
    """When to write, and how many to keep."""

    every: int = 100
    keep: int = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """The plain values."""

    out: str
    model: str
    text: str = "library"
    initial_seed: int = 1
    window_seed: int = 1
    device: str = "cpu"
    dtype: str = "float32"
    start: str = ""
    checkpointing: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """One training run."""

    head: Head
    shape: Any  # the model's config; None with `head.start`
    recipe: Recipe
    parallel: Parallel
    balance: Balance
    checkpoint: Checkpoints
    source: str  # the TOML, verbatim: a run resumes only under the one it began with


def read_run(file: Path) -> Run:
    """The run that `file` describes."""
    try:
        source = file.read_text(encoding="utf-8")
        return _run(tomllib.loads(source), source)
    except OSError as err:
        raise InputError(f"cannot be read: {err.strerror}", file=file) from None
    except tomllib.TOMLDecodeError as err:
        raise InputError(f"no TOML: {err}", file=file) from None
    except InputError as err:
        raise InputError(err.problem, file=file, expected=err.expected, found=err.found,
                         fix="begat_lab/train/config.py explains the format") from None  # fmt: skip


def _run(raw: dict[str, Any], source: str) -> Run:
    tables = ("shape", "training", "parallel", "balance", "checkpoint")
    refuse_unknown(raw, [*(field.name for field in fields(Head)), *tables], "the run")
    head = fill(Head, {key: value for key, value in raw.items() if key not in tables}, "the run")
    parallel, balance = fill(Parallel, raw.get("parallel", {}), "[parallel]"), fill(Balance, raw.get("balance", {}), "[balance]")
    for value, allowed, key in ((head.model, MODELS, "model"), (head.dtype, DTYPES, "dtype"), (head.device, BACKENDS, "device"),
                                (parallel.dispatch, DISPATCHES, "dispatch"), (balance.loss, LOSSES, "loss")):  # fmt: skip
        if value not in allowed:
            raise InputError(key, expected=" or ".join(allowed), found=value)
    if bool(head.start) == ("shape" in raw):
        raise InputError(
            "the run must say where its weights come from",
            expected="either start or [shape]",
            found="both" if head.start else "neither",
        )
    return Run(
        head=head,
        shape=None if head.start else _shape(MODELS[head.model].layout.config, raw["shape"]),
        recipe=fill(Recipe, raw.get("training", {}), "[training]"),
        parallel=parallel,
        balance=balance,
        checkpoint=fill(Checkpoints, raw.get("checkpoint", {}), "[checkpoint]"),
        source=source,
    )


def _shape(config: type, table: dict[str, Any]) -> Any:
    # The defaults are the published models', so a size that is left out would be a huge one.
    sizes = [field.name for field in fields(config) if field.name.endswith("_size") or field.name.startswith("num_")]
    for name in sizes:
        if name not in table:
            raise InputError(f"[shape] lacks {name}")
    return fill(config, table, "[shape]")
