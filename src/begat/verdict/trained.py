"""Descended, or only grown from the same initial weights? Read off the bank of twins and relatives.

Enters: an `Agreement`, the bank, the policy's thresholds.  Leaves: a `TrainedState`.  Numbers: `begat.signals.trained`; bank: `begat.stats.twins`.

"trained": the gains of both have moved from their start, and gains and share pass those of every comparable twin of the bank by a margin.
"initial": they have moved about equally far, and agree less than those of every comparable relative, by a margin. Twins whose gains have hardly moved
agree nearly in full, as relatives do; of such a pair nothing is said. All between stays "unknown", and the verdict then names both.
"""

from __future__ import annotations

from collections.abc import Set

from begat.signals.trained import Agreement
from begat.stats.twins import RELATIVES, Bank
from begat.types import TrainedState
from begat.verdict.policy import POLICY, Policy


def judge_trained(found: Agreement, stated: Set[float], bank: Bank, whole: bool, policy: Policy = POLICY) -> TrainedState:
    """Which of the three states.

    Args:
        found: the numbers of the pair.
        stated: standard deviations of the initial weights that the two configs state.
        whole: every layer is dependent and no axis was reordered, as between twins.
    """
    twins = bank.comparable(policy.comparable_moved)
    relatives = bank.comparable(policy.comparable_moved, RELATIVES, policy.initial_ratio)
    doubt = _doubt(found, stated, policy)
    state, why = _state(found, doubt, whole, policy)
    sd = next(iter(stated)) if not doubt else None
    energies = [x / sd**2 if sd and x is not None else None for x in (found.square_a, found.square_b)]
    if state == "trained" and min(x or 0.0 for x in energies) < policy.trained_energy:
        least = min(x or 0.0 for x in energies)
        state, why = "unknown", f"one of the two is too close to its initial weights to tell (mean square {least:.2f} of the initial one)"
    return TrainedState(
        state=state, why=why, share=found.share, gains=found.gains, ranks=found.ranks, moved_a=found.moved_a, moved_b=found.moved_b,
        energy_a=energies[0], energy_b=energies[1], initial_sd=sd, cells=found.cells, twins=len(twins), starts=bank.starts(twins),
        twin_share=max(t.share for t in twins), twin_gains=max(max(t.gains, t.ranks) for t in twins),
        relative_gains=min(min(t.gains, t.ranks) for t in relatives),
    )  # fmt: skip


def _doubt(found: Agreement, stated: Set[float], policy: Policy) -> str:
    """Why nothing counts as stated of how the weights were drawn; "" where something does.

    "trained" asks for it because gains that did not start from one value would agree between twins as well; the numbers do not use it.
    """
    if len(stated) != 1:
        return "neither config states the deviation of the initial weights (initializer_range), or the two disagree"
    (sd,) = stated
    for square, quiet in ((found.square_a, found.quiet_a), (found.square_b, found.quiet_b)):
        if square is None or quiet is None:
            return "too few values of matrices were compared to hold the stated deviation of the initial weights against them"
        variance, words = sd**2, f"the weights contradict the stated deviation of the initial ones ({sd:g}), which counts as not stated: "
        if quiet < policy.stated_below * variance:
            return words + "some rows are narrower by far"
        if quiet > policy.stated_above * variance and quiet - variance > policy.stated_even * (square - quiet):
            return words + "even the quietest rows are wider by far"
    return ""


def _state(found: Agreement, doubt: str, whole: bool, policy: Policy) -> tuple[str, str]:
    if found.gains is None or found.ranks is None:
        return "unknown", "there are too few norm gains that vary, and only of them is it known where they started"
    if found.moved < policy.trained_moved:
        return (
            "unknown",
            f"one of the two is too close to its initial weights to tell: its norm gains have moved by {found.moved:.3f}, and twins that "
            f"have moved less than {policy.trained_moved} agree as relatives do",
        )
    if found.share is None:
        return "unknown", "too few values of matrices were compared, or training has changed all rows and columns alike"
    low = min(found.gains, found.ranks)
    near = found.moved < policy.near_moved
    gains, share = (policy.near_gains, policy.near_share) if near else (policy.trained_gains, policy.trained_share)
    if low >= gains and found.share >= share:
        return ("unknown", doubt) if doubt else ("trained", "more of what training added is shared than twins of one initialisation share")
    if not whole:
        return "unknown", "some layers show no dependence or another order of units, so this is no whole initialisation shared as it was"
    if max(found.moved_a, found.moved_b) > policy.initial_ratio * found.moved:
        return "unknown", "one of the two was trained so much further that a child could have lost its parent's training"
    if apart(found.gains, found.ranks, found.share, policy):
        return "initial", "less of what training added is shared than relatives share that were trained about as far"
    return "unknown", "what training added is shared neither clearly more than between the bank's twins nor clearly less than between its relatives"


def apart(gains: float | None, ranks: float | None, share: float | None, policy: Policy = POLICY) -> bool:
    """What training added is shared no more than between twins."""
    if gains is None or ranks is None or share is None:
        return False
    return max(gains, ranks) <= policy.initial_gains and share <= policy.initial_share
