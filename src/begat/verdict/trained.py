"""Descended, or only grown from the same initial weights? Read off the bank of twins.

Enters: an `Agreement`, the bank, the policy's thresholds.  Leaves: a `TrainedState`.  Numbers: `begat.signals.trained`; bank: `begat.stats.twins`.

"trained": both numbers pass what any twin of the bank shares, by the policy's margin. "initial": what is shared is within the twins' range, and the two
are not so far apart that a child would have lost its parent's training. All between stays "unknown", and the verdict then names both.
"""

from __future__ import annotations

from begat.signals.trained import Agreement
from begat.stats.twins import Bank
from begat.types import TrainedState
from begat.verdict.policy import POLICY, Policy


def judge_trained(found: Agreement, initial_sd: float | None, bank: Bank, whole: bool, policy: Policy = POLICY) -> TrainedState:
    """Which of the three states; `whole`: every layer is dependent and no axis was reordered, as between twins."""
    twins = bank.comparable(policy.trained_energy)
    state, why = _state(found, initial_sd, whole, policy)
    return TrainedState(
        state=state, why=why, share=found.share, gains=found.gains, energy_a=found.energy_a, energy_b=found.energy_b,
        initial_sd=initial_sd, cells=found.cells, twins=len(twins),
        twin_share=max(t.share for t in twins if t.share is not None), twin_gains=max(t.gains for t in twins if t.gains is not None),
    )  # fmt: skip


def _state(found: Agreement, initial_sd: float | None, whole: bool, policy: Policy) -> tuple[str, str]:
    if initial_sd is None:
        return "unknown", "neither config states the deviation of the initial weights (initializer_range), or the two disagree"
    if found.energy_a is None or found.energy_b is None:
        return "unknown", "too few values of the matrices in question were compared"
    least, most = sorted((found.energy_a, found.energy_b))
    if found.share is None or least < policy.trained_energy:
        return (
            "unknown",
            f"one of the two is too close to its initial weights to tell (mean square {least:.2f} of the initial one)",
        )
    if found.gains is None:
        return "unknown", "there are no norm gains that vary"
    if found.share >= policy.trained_share and found.gains >= policy.trained_gains:
        return "trained", "more of what training added is shared than twins of one initialisation share"
    if not whole:
        return "unknown", "some layers show no dependence or another order of units, so this is no whole initialisation shared as it was"
    if most > policy.initial_ratio * least:
        return "unknown", "one of the two was trained so much further that a child could have lost its parent's training"
    if found.share <= policy.initial_share and found.gains <= policy.initial_gains:
        return "initial", "no more of what training added is shared than twins of one initialisation share"
    return "unknown", "what training added is shared more than between the bank's twins, less than between its relatives"
