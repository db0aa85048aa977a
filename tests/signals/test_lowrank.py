"""Ranks of merged adapters through the rounding of every type, and no low rank where everything was trained."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from begat.pipeline.steps import spacing
from begat.signals.lowrank import Rank, rank_of

TYPES = {"f32": (np.float32, 23, -149), "f16": (np.float16, 10, -24), "bf16": (ml_dtypes.bfloat16, 7, -133)}


def stored(values: np.ndarray, kind: str) -> np.ndarray:
    return values.astype(TYPES[kind][0]).astype(np.float32)


def rank(base: np.ndarray, child: np.ndarray, kind: str) -> Rank:
    return rank_of(base, child, spacing(child, *TYPES[kind][1:]))


@pytest.mark.parametrize("kind", sorted(TYPES))
@pytest.mark.parametrize("r", [1, 2, 4, 8, 16, 32, 64])
@pytest.mark.parametrize("size", [0.3, 1.0])
def test_rank_of_a_merged_adapter(kind: str, r: int, size: float) -> None:
    rng = np.random.default_rng(r)
    base = stored(0.02 * rng.standard_normal((256, 384)), kind)
    delta = rng.standard_normal((256, r)) @ rng.standard_normal((r, 384)) * (0.02 * size / r**0.5)
    found = rank(base, stored(base + delta, kind), kind)
    assert (found.state, found.rank) == ("low-rank", r)


@pytest.mark.parametrize("kind", sorted(TYPES))
def test_a_fine_tune_is_not_of_low_rank(kind: str) -> None:
    """Differences whose singular values fall off as a power, as those of trained weights do, none of them zero."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        base = stored(0.02 * rng.standard_normal((192, 256)), kind)
        u, _, vt = np.linalg.svd(rng.standard_normal((192, 256)), full_matrices=False)
        falloff = np.arange(1, 193) ** -rng.uniform(0.2, 1.2)
        delta = (u * falloff) @ vt
        child = stored(base + 0.02 * rng.uniform(0.1, 1) * delta / delta.std(), kind)
        assert rank(base, child, kind).state == "full"


def test_what_rounding_swallows_has_no_rank() -> None:
    rng = np.random.default_rng(3)
    base = stored(0.02 * rng.standard_normal((128, 128)), "f32")
    assert rank(base, stored(base, "bf16"), "bf16").state == "rounding"
    assert rank(base, base, "f32").state == "equal"
