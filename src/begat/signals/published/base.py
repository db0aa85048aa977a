"""What a published statistic is and what it may look at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from begat.registry import Registry
from begat.types import F64


@dataclass(frozen=True, slots=True)
class Summaries:
    """Per-layer summaries of one model.

    layer_sd: role ("attn.q.weight", …) → standard deviation of all its entries per layer, [L].
    gains: all norm gains one after the other, [(2L+1)·d].
    """

    layer_sd: Mapping[str, F64]
    gains: F64


@dataclass(frozen=True, slots=True)
class Published:
    """A statistic from the literature; `compute` returns the value or, as text, why there is none."""

    title: str
    paper: str
    remark: str
    compute: Callable[[Summaries, Summaries], float | str]


PUBLISHED: Registry[Published] = Registry("published statistic")
