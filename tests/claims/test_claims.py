"""The table of claims is strict, and every claim has words."""

from __future__ import annotations

import dataclasses
import math

import pytest

from begat.claims import CLAIMS, Claim
from begat.claims.base import parse_claims

ROW = '[[claim]]\nabout = "x"\nvalues = ["yes", "no"]\nwithheld = ["no"]\nwords = "{subject}: {value}"\n'


@pytest.mark.parametrize("about", sorted(CLAIMS))
def test_every_claim_has_words_without_a_hole(about: str) -> None:
    rule = CLAIMS[about]
    for value in rule.values or ("anything",):
        claim = Claim(about, "layer 3", value, "text", 3, 2, (0, 1), 0.5)
        assert claim.words.strip() and "{" not in claim.words
        assert claim.withheld == (value in rule.withheld)


def test_what_the_table_does_not_know_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown claim"):
        Claim("gossip", "A", "x")
    with pytest.raises(ValueError, match="unknown value"):
        Claim("relation", "A and B", "cousins")
    with pytest.raises(ValueError, match="no number"):
        Claim("coefficient", "1", "identified", number=math.nan)
    with pytest.raises(dataclasses.FrozenInstanceError):
        Claim("relation", "A and B", "derived").value = "identical"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (ROW.replace("about", "abuot"), "unknown"),
        (ROW + "more = 1\n", "unknown"),
        (ROW + ROW, "named twice"),
        (ROW.replace('["no"]', '["maybe"]'), "withholds"),
        (ROW.replace('["yes", "no"]', "[1, 2]"), "wrong type"),
        ("[other]\n" + ROW, "expected"),
    ],
)
def test_a_table_with_a_slip_is_refused(text: str, why: str) -> None:
    assert set(parse_claims(ROW)) == {"x"}
    with pytest.raises(ValueError, match=why):
        parse_claims(text)
