"""Look the facts up in the decision table.

Enters: `Facts`.  Leaves: `Judgement`.  The table: `policy.toml`; where facts come from: `begat.pipeline.compare`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from begat.verdict.policy import POLICY, Policy


@dataclass(frozen=True, slots=True)
class Facts:
    """What the decision table may ask.

    Attributes:
        equality: "identical", "on-grid", "different" or "unknown"; coarser: "A", "B" or "".
        tested: at least one exact test ran.
        at_index: one of them at equal index, without alignment.
        dependence: the combined e-value reached the threshold.
        aligned: it reached it only after alignment.
        calibrated: three views of MLP units agree far beyond the bank of independent pairs.
        mixed: some parts are dependent while others, tested with enough units, are not.
        component: only something outside the layers, or one tower of several, is dependent.
        covered: enough of both models was read and tested to clear them.
        reachable: had every sampled unit matched, the threshold would have been reached.
        trained: "trained", "initial" or "unknown" (`begat.verdict.trained`).
        words: values for the sentences.
        apart: what training added is shared no more than between twins, whether or not all of the start was kept.
    """

    equality: str
    coarser: str
    tested: bool
    at_index: bool
    dependence: bool
    aligned: bool
    calibrated: bool
    mixed: bool
    component: bool
    covered: bool
    reachable: bool
    trained: str
    words: Mapping[str, str]
    apart: bool = False


@dataclass(frozen=True, slots=True)
class Judgement:
    """The rule that decided, with its sentence filled in."""

    verdict: str
    sentence: str
    direction: str
    direction_why: str
    kind: str


def judge(facts: Facts, policy: Policy = POLICY) -> Judgement:
    """The first rule whose conditions all hold. The table's last rules leave nothing undecided; ValueError if it does."""
    for rule in policy.rules:
        if all(getattr(facts, fact) == value for fact, value in rule.when.items()):
            sentence = rule.sentence.format_map(facts.words).strip()
            return Judgement(rule.verdict, sentence, rule.direction, rule.direction_why, rule.kind)
    raise ValueError("the decision table has no rule for these facts")
