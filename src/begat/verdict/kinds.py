"""Kind and direction, looked up: which signs describe what, and which may point.

Enters: signs that were found, each with the model it takes for the parent.  Leaves: `Description`.  The table: `kinds.toml`; where signs come from:
`begat.pipeline.kind`.

A direction needs a sign with an arrow, and all arrows found must agree; else it is undetermined, and `why` says so.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from importlib import resources

UNDETERMINED = "undetermined"


@dataclass(frozen=True, slots=True)
class KindRule:
    """One row of the table."""

    fact: str
    kind: str
    arrow: bool
    why: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """A sign that was found. parent: "A" or "B" where it has one, "" else; words: what was seen."""

    fact: str
    parent: str
    words: str


@dataclass(frozen=True, slots=True)
class Description:
    """kind: "" when nothing is described; direction: "A → B", "B → A" or "undetermined", with `why`; evidence: all signs."""

    kind: str
    direction: str
    why: str
    evidence: tuple[Evidence, ...]


def parse_kinds(text: str) -> tuple[KindRule, ...]:
    """The table; ValueError on anything unknown, missing, repeated or of another type."""
    data = tomllib.loads(text)
    if set(data) != {"fact"}:
        raise ValueError(f"kinds: expected [[fact]] tables only, found {sorted(data)}")
    names = {f.name for f in fields(KindRule)}
    for row in data["fact"]:
        if set(row) != names:
            raise ValueError(f"fact {row.get('fact')}: unknown {sorted(set(row) - names)}, missing {sorted(names - set(row))}")
        if type(row["arrow"]) is not bool or not all(isinstance(row[n], str) and row[n] for n in names - {"arrow"}):
            raise ValueError(f"fact {row['fact']}: a value of the wrong type")
    rules = tuple(KindRule(**row) for row in data["fact"])
    if len({r.fact for r in rules}) != len(rules):
        raise ValueError("kinds: a fact is named twice")
    return rules


KINDS = parse_kinds(resources.files("begat.verdict").joinpath("kinds.toml").read_text("utf-8"))


def describe_signs(found: Sequence[Evidence], rules: Sequence[KindRule] = KINDS) -> Description:
    """Kind and direction of all signs together. ValueError on a sign without a rule."""
    by_fact = {r.fact: r for r in rules}
    unknown = [e.fact for e in found if e.fact not in by_fact]
    if unknown:
        raise ValueError(f"no rule for the signs {unknown}")
    order = [r.fact for r in rules]
    signs = sorted(found, key=lambda e: (order.index(e.fact), e.parent))
    kinds = list(dict.fromkeys(by_fact[e.fact].kind for e in signs))
    arrows = [e for e in signs if by_fact[e.fact].arrow]
    ends = {e.parent for e in arrows}
    if len(ends) == 1 and ends <= {"A", "B"}:
        direction, why = ("A → B" if ends == {"A"} else "B → A"), "; ".join(dict.fromkeys(by_fact[e.fact].why for e in arrows))
    elif arrows:
        direction, why = UNDETERMINED, "signs of direction contradict each other"
    else:
        direction, why = UNDETERMINED, (by_fact[signs[0].fact].why if signs else "no sign of direction was found")
    return Description("; ".join(kinds), direction, why, tuple(signs))
