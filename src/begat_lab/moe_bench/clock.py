"""How time is taken, and the floor under it: what the machine's own matrix product and copy would need for the same work.

Enters: things to run, by name.  Leaves: their seconds round by round, and ratios.  Contenders run in turn inside every round, in an order
that turns round by round, so that a noisy machine is noisy for all of them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any

import torch

from begat_lab.moe_bench.plan import LayerSize


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def synchronise(device: str) -> None:
    """Wait until the device has done what it was given."""
    if device != "cpu":
        getattr(torch, device).synchronize()


@dataclass(frozen=True, slots=True)
class Ratio:
    """Median and quartiles over rounds."""

    middle: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.middle:.3f} ({self.low:.3f} to {self.high:.3f})"


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of each contender in each round."""

    seconds: Mapping[str, tuple[float, ...]]

    def median(self, name: str) -> float:
        """Of one contender, in seconds."""
        return median(self.seconds[name])

    def speed_ratio(self, name: str, other: str) -> Ratio:
        """How many times faster `name` is than `other`: the median of the rounds' own ratios."""
        ratios = [b / a for a, b in zip(self.seconds[name], self.seconds[other], strict=True)]
        low, _, high = quantiles(ratios, n=4) if len(ratios) > 1 else (ratios[0],) * 3
        return Ratio(median(ratios), low, high)


def side_by_side(runs: Mapping[str, Callable[[], Any]], device: str, repeats: int, least: float = 0.01) -> Timing:
    """Time `runs` in alternation. Each is warmed up, then repeated inside a round until that lasts `least` seconds."""
    often: dict[str, int] = {}
    for name, run in runs.items():
        run()
        once = _seconds(run, device, 1)
        often[name] = max(1, min(1000, round(least / max(once, 1e-7))))
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(repeats):
        for name in list(runs) if turn % 2 else list(runs)[::-1]:
            seconds[name].append(_seconds(runs[name], device, often[name]))
    return Timing({name: tuple(values) for name, values in seconds.items()})


def _seconds(run: Callable[[], Any], device: str, times: int) -> float:
    synchronise(device)
    began = time.perf_counter()
    for _ in range(times):
        run()
    synchronise(device)
    return (time.perf_counter() - began) / times


@dataclass(frozen=True, slots=True)
class Floor:
    """The least time of some work, and what it is made of."""

    seconds: float
    bound: str


@dataclass(frozen=True, slots=True)
class Ceilings:
    """What this machine does at best, measured: one large matrix product, one large copy (bytes read plus bytes written)."""

    device: str
    dtype: str
    flops_per_second: float
    bytes_per_second: float

    def floor(self, flops: float, moved: float) -> Floor:
        """No version can be much faster than the larger of the two times."""
        work, traffic = flops / self.flops_per_second, moved / self.bytes_per_second
        return Floor(max(work, traffic), "operations" if work >= traffic else "bytes")


def measure_ceilings(device: str, dtype: torch.dtype, repeats: int = 7) -> Ceilings:
    """Time the two on random numbers (products of zeros can be faster)."""
    size, block = (8192, 2**30) if device != "cpu" else (1024, 2**26)
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    source = torch.randint(255, (block,), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    product, copy = (
        side_by_side({"it": run}, device, repeats, 0.05).median("it") for run in (lambda: a @ b, lambda: target.copy_(source))
    )
    return Ceilings(device, str(dtype).removeprefix("torch."), 2 * size**3 / product, 2 * block / copy)


def layer_floor(
    ceilings: Ceilings, size: LayerSize, tokens: int, touched: int, itemsize: int, *, backward: bool = False
) -> Floor:
    """What the routed experts of one layer need at least.

    Forward: 6*D*F operations a row; the weights of the `touched` experts and the tokens are read once, the result is written once.
    Backward: twice the operations; weights and tokens are read again, their gradients written.
    """
    D, F, rows = size.hidden, size.units, tokens * size.picks
    weights, states = 3 * D * F * touched * itemsize, 2 * tokens * D * itemsize
    return ceilings.floor(6.0 * D * F * rows * (3 if backward else 1), (weights + states) * (3.0 if backward else 1.0))
