"""What independent models score on published statistics, read from the shipped file."""

from __future__ import annotations

import json
from importlib import resources

import pytest

from begat.signals.published import PUBLISHED
from begat.stats import published
from begat.stats.published import Measured, load_published, remark

RISING = tuple(i / 100 for i in range(101))


def measured(percentiles: tuple[float, ...] = RISING) -> Measured:
    return Measured("f", 6, 3240, percentiles, {})


@pytest.mark.parametrize(("value", "share"), [(-1.0, 1.0), (0.0, 1.0), (0.005, 100 / 101), (0.5, 51 / 101), (1.0, 1 / 101), (1.01, 0.0)])
def test_share_at_least(value: float, share: float) -> None:
    assert measured().share_at_least(value) == pytest.approx(share)


def test_a_value_shared_by_many_counts_them_all() -> None:
    assert measured((0.0,) * 50 + (1.0,) * 51).share_at_least(1.0) == pytest.approx(51 / 101)


def test_every_published_statistic_was_measured() -> None:
    found = load_published()
    assert set(found) == set(PUBLISHED)
    for families in found.values():
        for m in families:
            assert m.pairs > 20
            assert len(m.percentiles) == 101
            for threshold, n in m.at_least.items():  # the percentiles and the counts tell one story
                assert abs(m.share_at_least(float(threshold)) - n / m.pairs) < 0.03


def test_what_a_report_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published, "load_published", lambda: {"x": (measured(), Measured("g", 24, 91, RISING, {}))})
    assert remark("x", 0.57) == "At least as high in begat's lab: 44 % of 3,240 independent pairs of 6 layers, 44 % of 91 independent pairs of 24 layers."
    assert remark("x", 2.0).startswith("At least as high in begat's lab: none of 3,240")
    assert remark("unknown", 0.5) == ""


def test_unknown_keys_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = json.loads(resources.files("begat.stats").joinpath("data", "published.json").read_text("utf-8"))
    monkeypatch.setattr(published.json, "loads", lambda text: raw | {"more": 1})
    load_published.cache_clear()
    with pytest.raises(ValueError, match="other keys"):
        load_published()
    load_published.cache_clear()
