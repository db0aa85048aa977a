"""One contract for every published statistic: 1 for a model against itself, a number or a reason for anything, no crash."""

from __future__ import annotations

import numpy as np
import pytest

from begat.signals.published import PUBLISHED, Summaries

ROLES = ("attn.q.weight", "attn.k.weight", "attn.v.weight", "attn.o.weight")


def summaries(seed: int, layers: int = 8, width: int = 64) -> Summaries:
    rng = np.random.default_rng(seed)
    trend = 1 + 0.1 * np.arange(layers)
    return Summaries(
        {r: trend + 0.02 * rng.standard_normal(layers) for r in ROLES}, 1 + 0.1 * rng.standard_normal(width * (2 * layers + 1))
    )


@pytest.mark.parametrize("name", list(PUBLISHED))
def test_itself(name: str) -> None:
    x = summaries(0)
    assert PUBLISHED[name].compute(x, x) == pytest.approx(1)


@pytest.mark.parametrize("name", list(PUBLISHED))
def test_strangers_with_a_common_trend_score_high(name: str) -> None:
    """Why none of these is evidence: independent models share trends and scales."""
    value = PUBLISHED[name].compute(summaries(0), summaries(1))
    assert isinstance(value, float)
    assert value > 0.9


@pytest.mark.parametrize("name", list(PUBLISHED))
@pytest.mark.parametrize(
    "other",
    [
        Summaries({}, np.zeros(0)),
        Summaries({r: np.ones(8) for r in ROLES}, np.zeros(64 * 17)),
        summaries(1, layers=1),
        summaries(2, width=3),
    ],
)
def test_nothing_to_compute_is_said(name: str, other: Summaries) -> None:
    value = PUBLISHED[name].compute(summaries(0), other)
    assert isinstance(value, str) or np.isfinite(value)


@pytest.mark.parametrize("name", list(PUBLISHED))
def test_it_names_its_source_and_its_worth(name: str) -> None:
    assert PUBLISHED[name].paper
    assert len(PUBLISHED[name].remark) > 40
