"""What a report says of the world, as data: one `Claim` for every statement that can be true or false.

Enters: `table.toml`, the strict table of claims.  Leaves: `Claim`, whose words are made from its values and
never the other way about.  Who makes claims: the `claims.py` of every room that delivers a result.  Who holds them
against the truth of models of known ancestry: `begat_lab`.
"""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass, fields
from importlib import resources


@dataclass(frozen=True, slots=True)
class ClaimRule:
    """One row of the table; its comments say what the fields mean."""

    about: str
    values: tuple[str, ...]
    withheld: tuple[str, ...]
    words: str


@dataclass(frozen=True, slots=True)
class Claim:
    """One statement.

    Attributes:
        about: a name of the table ("relation", "part", "direction", …).
        subject: whom or what it is about ("layer 3", "A", a parent's number); "" where `about` says it.
        value: what is said of it.
        tower, layer: where in B, "" and -1 where it is about no place.
        source: the layer of A it speaks of, -1 for none.
        experts: routed experts it speaks of, () for none or all.
        number: a share, coefficient or rank; None where nothing is measured.

    Raises:
        ValueError: an unknown claim, a value that the table does not list, a number that is not finite.
    """

    about: str
    subject: str
    value: str
    tower: str = ""
    layer: int = -1
    source: int = -1
    experts: tuple[int, ...] = ()
    number: float | None = None

    def __post_init__(self) -> None:
        rule = CLAIMS.get(self.about)
        if rule is None:
            raise ValueError(f"unknown claim: {self.about}")
        if rule.values and self.value not in rule.values:
            raise ValueError(f"claim {self.about}: unknown value {self.value!r}")
        if self.number is not None and not math.isfinite(self.number):
            raise ValueError(f"claim {self.about}: {self.number} is no number")

    @property
    def withheld(self) -> bool:
        """Nothing is said, so nothing can be false."""
        return self.value in CLAIMS[self.about].withheld

    @property
    def words(self) -> str:
        """The claim as a clause."""
        return CLAIMS[self.about].words.format(**{f.name: getattr(self, f.name) for f in fields(self)})


def parse_claims(text: str) -> dict[str, ClaimRule]:
    """The table; ValueError on anything unknown, missing, repeated or of another type."""
    data = tomllib.loads(text)
    if set(data) != {"claim"}:
        raise ValueError(f"claims: expected [[claim]] tables only, found {sorted(data)}")
    names = {f.name for f in fields(ClaimRule)}
    out: dict[str, ClaimRule] = {}
    for row in data["claim"]:
        if set(row) != names:
            raise ValueError(f"claim {row.get('about')}: unknown {sorted(set(row) - names)}, missing {sorted(names - set(row))}")
        lists = all(isinstance(row[n], list) and all(isinstance(v, str) for v in row[n]) for n in ("values", "withheld"))
        if not lists or not isinstance(row["words"], str) or not isinstance(row["about"], str):
            raise ValueError(f"claim {row['about']}: a value of the wrong type")
        if row["values"] and not set(row["withheld"]) <= set(row["values"]):
            raise ValueError(f"claim {row['about']}: withholds a value that it cannot have")
        if row["about"] in out:
            raise ValueError(f"claims: {row['about']} is named twice")
        out[row["about"]] = ClaimRule(row["about"], tuple(row["values"]), tuple(row["withheld"]), row["words"])
    return out


CLAIMS = parse_claims(resources.files("begat.claims").joinpath("table.toml").read_text("utf-8"))
