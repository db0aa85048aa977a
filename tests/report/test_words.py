from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from begat.report import words
from begat.report.gridmap import grids
from begat.report.layout import part_rows, ranges, role_order
from begat.verdict import VERDICTS
from report.verdicts import part


@pytest.mark.parametrize(
    ("log10", "said"), [(None, "not run"), (1193.97, "10^1193"), (0.0, "1"), (-0.82, "0.15"), (2.5, "310"), (-7.2, "10^-8")]
)
def test_e_values_are_rounded_down(log10: float | None, said: str) -> None:
    assert str(words.e_value(log10)) == said


@pytest.mark.parametrize(
    ("log10", "said"), [(None, "not run"), (-1166.9, "10^-1166"), (0.0, "1"), (-0.5, "0.32"), (-2.9, "0.0013")]
)
def test_p_bounds_are_rounded_up(log10: float | None, said: str) -> None:
    assert str(words.p_bound(log10)) == said


@given(st.floats(-1, 1))
def test_ratios_are_cut_towards_zero(x: float) -> None:
    assert abs(float(words.ratio(x))) <= abs(x) + 1e-8
    assert words.ratio(x) != "-0.000"


def test_almost_one_is_not_one() -> None:
    assert words.ratio(0.99996) == "0.999"
    assert words.ratio(1.0) == "1.000"
    assert words.ratio(0.998) == "0.998"


@pytest.mark.parametrize(
    ("n", "said"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (31_457_280, "31.5 MB"),
        (999_900, "1 MB"),
        (4_943_291_216, "4.94 GB"),
        (123_456_789_012, "123 GB"),
    ],
)
def test_sizes(n: int, said: str) -> None:
    assert words.size(n) == said


@pytest.mark.parametrize(
    ("part", "whole", "said"), [(0, 0, ""), (0, 5, "0 %"), (1, 10**6, "below 0.01 %"), (64, 10**4, "0.64 %"), (1, 1, "100 %")]
)
def test_shares(part: int, whole: int, said: str) -> None:
    assert words.share(part, whole) == said


@pytest.mark.parametrize(
    ("s", "said"), [(0.0042, "0.00 s"), (0.4183, "0.42 s"), (7.31, "7.3 s"), (42.4, "42 s"), (200, "3 min 20 s")]
)
def test_durations(s: float, said: str) -> None:
    assert words.duration(s) == said


def test_reading_again_is_said() -> None:
    assert words.of_total(2, 4) == "of 4 B (50 %)"
    assert words.of_total(6, 4) == "from 4 B of weights, some of them more than once"


def test_labels_are_the_parts_that_differ() -> None:
    assert words.labels("hub/x/model", "hub/y/model") == ("x", "y")
    assert words.labels("a.gguf", "a.gguf") == ("a.gguf", "a.gguf")
    assert words.labels("", "/") == ("", "/")


def test_rerun_quotes_and_guards() -> None:
    replay = {"map": "full", "nonce": "my word", "published": True, "base": None}
    assert words.rerun("-a", "b c", replay) == "begat compare --map full --nonce 'my word' --published -- -a 'b c'"
    assert words.rerun("a", "b", {}) == "begat compare a b"


def test_powers_in_a_sentence() -> None:
    assert [str(p) for p in words.powers("below 10^-6). x10^3")] == ["below ", "10^-6", "). x10^3"]


def test_every_verdict_has_a_badge() -> None:
    assert set(words.BADGES) == set(VERDICTS)


def test_ranges() -> None:
    assert ranges([part(i, "dependent", 1, 1, 0.1) for i in (5, 0, 1, 2, -1)]) == "layers 0–2, 5, embedding"
    assert ranges([part(7, "dependent", 1, 1, 0.1, "vision")]) == "vision layer 7"


def test_an_unknown_status_is_shown_as_it_is() -> None:
    odd = [part(0, "dependent", 1, 1, 0.1), part(1, "frozen", 1, 1, 0.1, why="?")]
    assert [r.words for r in part_rows(odd)] == ["dependent", "frozen"]
    assert grids((), odd, None)[0].chips[1].status == "undetermined"


def test_roles_are_in_the_order_of_computation() -> None:
    roles = ["head.weight", "x.bias", "x.weight", "mlp.up.weight", "attn.q.bias", "attn.q.weight", "embed.tokens"]
    assert sorted(roles, key=role_order) == [
        "embed.tokens",
        "attn.q.weight",
        "attn.q.bias",
        "mlp.up.weight",
        "head.weight",
        "x.weight",
        "x.bias",
    ]
