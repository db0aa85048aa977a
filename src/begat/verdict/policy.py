"""The decision table, read strictly.

Enters: `policy.toml`.  Leaves: `POLICY`.  Unknown keys, missing keys and unknown verdicts raise ValueError at import, so that a
typo cannot weaken a rule.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib import resources
from typing import Any

VERDICTS = (
    "identical",
    "re-encoded",
    "derived",
    "shared-initialisation",
    "derived-or-shared-initialisation",
    "partly-derived",
    "no-evidence",
    "cannot-test",
)
_RULE_KEYS = {"verdict", "when", "sentence", "direction", "direction_why", "kind"}
_FACT_TYPES = {
    "equality": str,
    "coarser": str,
    "tested": bool,
    "at_index": bool,
    "dependence": bool,
    "aligned": bool,
    "calibrated": bool,
    "mixed": bool,
    "component": bool,
    "covered": bool,
    "reachable": bool,
    "trained": str,
    "apart": bool,
}


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the table: `when` maps facts to the values they must have."""

    verdict: str
    when: Mapping[str, str | bool]
    sentence: str
    direction: str
    direction_why: str
    kind: str


@dataclass(frozen=True, slots=True)
class Policy:
    """Thresholds, exit codes and rules; the comments in policy.toml say what each threshold means."""

    dependence_log10_e: float
    part_log10_e: float
    part_units: int
    agreeing_cosine: float
    agreeing_gains: float
    unread_share: float
    cleared_share: float
    power: float
    comparable_moved: float
    trained_moved: float
    trained_gains: float
    trained_share: float
    near_moved: float
    near_gains: float
    near_share: float
    trained_energy: float
    stated_below: float
    stated_above: float
    stated_even: float
    initial_gains: float
    initial_share: float
    initial_ratio: float
    initial_hits: float
    views_share: float
    views_factor: float
    views_units: int
    exit_codes: Mapping[str, int]
    rules: tuple[Rule, ...]


def parse_policy(text: str) -> Policy:
    """Parse a decision table; ValueError on anything unknown, missing or of another type."""
    data = tomllib.loads(text)
    _exactly(data, {"thresholds", "exit_codes", "rule"}, "policy")
    thresholds: dict[str, Any] = data["thresholds"]
    _exactly(thresholds, {f.name for f in fields(Policy)} - {"exit_codes", "rules"}, "thresholds")
    _exactly(data["exit_codes"], set(VERDICTS), "exit_codes")
    return Policy(**thresholds, exit_codes=data["exit_codes"], rules=tuple(_rule(r) for r in data["rule"]))


def _rule(data: dict[str, Any]) -> Rule:
    _exactly(data, _RULE_KEYS, "rule")
    if data["verdict"] not in VERDICTS:
        raise ValueError(f"rule names an unknown verdict: {data['verdict']}")
    for fact, value in data["when"].items():
        if fact not in _FACT_TYPES or type(value) is not _FACT_TYPES[fact]:
            raise ValueError(f"rule for {data['verdict']} has an unknown condition: {fact} = {value!r}")
    return Rule(**data)


def _exactly(data: Mapping[str, Any], keys: set[str], where: str) -> None:
    if set(data) != keys:
        raise ValueError(f"{where}: unknown {sorted(set(data) - keys)}, missing {sorted(keys - set(data))}")


POLICY = parse_policy(resources.files("begat.verdict").joinpath("policy.toml").read_text("utf-8"))
